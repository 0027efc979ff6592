//! Where the time of a call on keys went: told in the log when it was much, and not recorded else.
//!
//! ```text
//! "trace[17] range"            from 100 ms: each step that took a share of it
//! "apply request took too long"   reads, from --warning-apply-duration; of writes, the loops tell
//! "request stats"              from --warning-unary-request-duration
//! ```
//!
//! Invariants
//! - A call that is fast enough costs two looks at the clock and no memory.
//! - Values are never told, only their sizes.
//!
//! Answers to: etcd v3.7.1 `pkg/traceutil/trace.go`, `server/etcdserver/txn/util.go`,
//! `server/etcdserver/api/v3rpc/interceptor.go`

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use prost::Message;
use quorate_proto::etcdserverpb as pb;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tonic::{Response, Status};
use tracing::{info, warn};

use super::replies::bytes_of;
use crate::cli::show_duration;

/// What a call may take before it is traced.
const TRACED: Duration = Duration::from_millis(100);
/// Steps of one call.
const STEPS_MAX: usize = 4;

/// What calls may take before somebody hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Applying, and reading.
    pub apply: Duration,
    /// A whole call.
    pub unary: Duration,
}

/// What there is to tell of a call that was slow.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Its request, without values.
    pub(super) request: String,
    pub(super) request_bytes: usize,
    /// What is known of its answer.
    pub(super) response: String,
    pub(super) response_count: i64,
    pub(super) response_bytes: usize,
}

/// A call under way.
pub(super) struct Trace {
    operation: &'static str,
    method: &'static str,
    /// How etcd begins to speak of it, if it is a read.
    prefix: Option<&'static str>,
    since: Instant,
    steps: [Option<(&'static str, Instant)>; STEPS_MAX],
}

impl Trace {
    /// A read begins.
    pub(super) fn of_read(
        operation: &'static str,
        method: &'static str,
        prefix: &'static str,
    ) -> Self {
        Self { prefix: Some(prefix), ..Self::of_write(operation, method) }
    }

    /// A write begins.
    pub(super) fn of_write(operation: &'static str, method: &'static str) -> Self {
        Self { operation, method, prefix: None, since: Instant::now(), steps: Default::default() }
    }

    /// A step of it is done.
    pub(super) fn step(&mut self, name: &'static str) {
        if let Some(free) = self.steps.iter_mut().find(|step| step.is_none()) {
            *free = Some((name, Instant::now()));
        }
    }

    /// The call is over; `tell` is asked if it took long, and told how many bytes its answer has.
    pub(super) fn end<T: Message>(
        &self,
        patience: Patience,
        answer: &Result<Response<T>, Status>,
        tell: impl FnOnce(Option<&T>, usize) -> Told,
    ) {
        let took = self.since.elapsed();
        if took <= TRACED.min(patience.apply).min(patience.unary) {
            return;
        }
        let answered = answer.as_ref().ok();
        let told = tell(answered.map(Response::get_ref), answered.map_or(0, bytes_of));
        if took > patience.unary {
            self.tell_stats(took, &told);
        }
        if let Some(prefix) = self.prefix.filter(|_| took > patience.apply) {
            let error = answer.as_ref().err().map_or("", Status::message);
            let expected = show_duration(patience.apply);
            warn!(
                took = show_duration(took),
                "expected-duration" = expected,
                prefix,
                request = told.request,
                response = told.response,
                error,
                "apply request took too long"
            );
        }
        if took > TRACED {
            self.tell_steps(took, &told);
        }
    }

    fn tell_stats(&self, took: Duration, told: &Told) {
        warn!(
            "start time" = moment(took),
            "time spent" = show_duration(took),
            "response type" = self.method,
            "request size" = told.request_bytes,
            "response count" = told.response_count,
            "response size" = told.response_bytes,
            "request content" = told.request,
            "request stats"
        );
    }

    fn tell_steps(&self, took: Duration, told: &Told) {
        let number = rand::random::<u32>() >> 1;
        let (steps, step_count) = self.slow_steps(number);
        let Self { operation, .. } = self;
        info!(
            detail = format!("{{request:{}; response:{}; }}", told.request, told.response),
            duration = show_duration(took),
            start = moment(took),
            end = moment(Duration::ZERO),
            steps,
            step_count,
            "trace[{number}] {operation}"
        );
    }

    /// Steps that took their share of what is too long, one behind the other, and how many.
    fn slow_steps(&self, number: u32) -> (String, usize) {
        let done = self.steps.iter().flatten();
        let share = TRACED / u32::try_from(done.clone().count() + 1).unwrap_or(1);
        let (mut text, mut count, mut last) = (String::new(), 0, self.since);
        for (name, at) in done {
            let took = at.saturating_duration_since(last);
            last = *at;
            if took > share {
                count += 1;
                let gap = if count > 1 { " " } else { "" };
                let took = show_duration(took);
                // Writing to a string cannot fail.
                let _ = write!(text, "{gap}trace[{number}] '{name}' (duration: {took})");
            }
        }
        (text, count)
    }
}

/// A moment so long ago.
fn moment(ago: Duration) -> String {
    OffsetDateTime::from(SystemTime::now() - ago).format(&Rfc3339).unwrap_or_default()
}

fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}

/// What there is to tell of a range.
pub(super) fn of_range(
    request: &pb::RangeRequest,
    answer: Option<&pb::RangeResponse>,
    bytes: usize,
) -> Told {
    let mut text = format!("key:{}", quoted(&request.key));
    if !request.range_end.is_empty() {
        let _ = write!(text, " range_end:{}", quoted(&request.range_end));
    }
    for (name, value) in [("limit", request.limit), ("revision", request.revision)] {
        if value != 0 {
            let _ = write!(text, " {name}:{value}");
        }
    }
    for (name, is_set) in [
        ("serializable", request.serializable),
        ("keys_only", request.keys_only),
        ("count_only", request.count_only),
    ] {
        if is_set {
            let _ = write!(text, " {name}:true");
        }
    }
    let count = answer.map_or(0, |answer| answer.count);
    // A large answer's keys are on their way already.
    let found = match answer {
        Some(answer) if !answer.kvs.is_empty() => answer.kvs.len() as i64,
        _ if request.count_only => 0,
        _ if request.limit > 0 => count.min(request.limit),
        _ => count,
    };
    Told {
        request: text,
        request_bytes: request.encoded_len(),
        response: format!("range_response_count:{found} size:{bytes}"),
        response_count: count,
        response_bytes: bytes,
    }
}

/// What there is to tell of a transaction; how large it was is not asked of each.
pub(super) fn of_txn(parts: [usize; 3], bytes: usize) -> Told {
    let [compares, success, failure] = parts;
    Told {
        request: format!("compare:{compares} success:{success} failure:{failure}"),
        response: format!("size:{bytes}"),
        response_bytes: bytes,
        ..Told::default()
    }
}

/// How many parts of each kind a transaction has.
pub(super) fn parts(request: &pb::TxnRequest) -> [usize; 3] {
    [request.compare.len(), request.success.len(), request.failure.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_told_as_etcd_tells_it() {
        let request = pb::RangeRequest {
            key: "a\"".into(),
            range_end: vec![0xff].into(),
            limit: 5,
            serializable: true,
            ..Default::default()
        };
        let told = of_range(&request, None, 0);
        assert_eq!(told.request, "key:\"a\\\"\" range_end:\"\\xff\" limit:5 serializable:true");
        assert_eq!(told.response, "range_response_count:0 size:0");
    }

    #[test]
    fn steps_are_told_that_took_their_share() {
        let mut trace = Trace::of_read("range", "/x", "read-only range ");
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        trace.since = begin;
        trace.steps = [Some(("one", at(10))), Some(("two", at(90))), None, None];
        let expected = "trace[7] 'two' (duration: 80ms)";
        assert_eq!(trace.slow_steps(7), (expected.to_owned(), 1));
        trace.step("three");
        trace.step("four");
        trace.step("five");
        assert_eq!(trace.steps[3].map(|(name, _)| name), Some("four"));
    }

    #[test]
    fn only_a_slow_call_is_asked_for_more() {
        let patience = Patience { apply: Duration::ZERO, unary: Duration::from_secs(9) };
        let answer: Result<Response<()>, Status> = Ok(Response::new(()));
        let mut asked = 0;
        for patience in [patience, Patience { apply: Duration::from_secs(9), ..patience }] {
            Trace::of_write("put", "/x").end(patience, &answer, |_, _| {
                asked += 1;
                Told::default()
            });
        }
        assert_eq!(asked, 1);
    }
}
