//! One script from its beginning to its end.

mod watching;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use prost::Message;
use quorate_proto::etcdserverpb as pb;

use super::call::{Answer, Call, Method, Reply};
use super::compare::{is_momentary, level, level_header};
use super::differences::{explain, explain_end};
use super::judge;
use super::script::{Known, Script, Step};
use super::side::Side;
use super::streams::WatchName;
use crate::accept::Cluster;

/// Reads sent together at most.
const TOGETHER_MAX: usize = 8;
/// Characters of a step that a report shows.
const TOLD_MAX: usize = 3_000;
/// How long both may take to agree on what comes by itself.
const SETTLE_MAX: Duration = Duration::from_secs(10);
/// How long a lease that is ended at once lives for certain.
const SHORT_LEASE: Duration = Duration::from_millis(1_500);

/// A difference nobody knew of.
pub(crate) struct Mismatch {
    pub(crate) after: usize,
    pub(crate) what: String,
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) operations: usize,
    pub(crate) hashes: usize,
    pub(crate) events: usize,
    /// How often each kind of call came to what.
    pub(crate) answers: BTreeMap<String, usize>,
    /// How often each known difference showed.
    pub(crate) known: BTreeMap<&'static str, usize>,
}

impl Tally {
    fn note(&mut self, call: &Call, answer: &Answer) {
        self.hashes += usize::from(matches!(answer, Ok(Reply::HashKv(_))));
        let words = match answer {
            Ok(_) => "ok",
            Err((_, words)) => words.split(['(', '\u{a0}']).next().unwrap_or_default(),
        };
        *self.answers.entry(format!("{:?}: {words}", call.method)).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.hashes += other.hashes;
        self.events += other.events;
        for (answer, times) in other.answers {
            *self.answers.entry(answer).or_default() += times;
        }
        for (name, times) in other.known {
            *self.known.entry(name).or_default() += times;
        }
    }
}

type Outcome<T> = Result<T, String>;

struct Run {
    clusters: [Cluster; 2],
    /// The judge, then Quorate.
    sides: [Side; 2],
    known: Known,
    tally: Tally,
    /// Revisions compacted to, and those of them from before a restart.
    compacted: BTreeSet<i64>,
    forgotten: BTreeSet<i64>,
    /// How often the sentinel was put.
    guarded: u64,
    /// Answers that both must have given, by stream.
    answers: BTreeMap<u64, usize>,
    /// Progress requests the judge did not answer, by stream.
    unanswered: BTreeMap<u64, usize>,
    /// Watches that began in the past, by stream.
    past: BTreeSet<(u64, WatchName)>,
    /// Whether one of them may still be catching up.
    is_catching_up: bool,
}

/// Runs the script of `seed`.
pub(crate) async fn run(judge: &Path, seed: u64, operations: usize) -> Result<Tally, Mismatch> {
    let mut script = Script::new(seed);
    let clusters = judge::start_both(judge, &script.flags());
    let mut run = Run {
        sides: [Side::new(&clusters[0]), Side::new(&clusters[1])],
        clusters,
        known: Known { revision: 1, compacted: -1, streams: Vec::new() },
        tally: Tally::default(),
        compacted: BTreeSet::new(),
        forgotten: BTreeSet::new(),
        guarded: 0,
        answers: BTreeMap::new(),
        unanswered: BTreeMap::new(),
        past: BTreeSet::new(),
        is_catching_up: false,
    };
    match run.carry_out(&mut script, operations).await {
        Ok(()) => Ok(run.tally),
        Err(what) => Err(Mismatch { after: run.tally.operations, what }),
    }
}

impl Run {
    async fn carry_out(&mut self, script: &mut Script, operations: usize) -> Outcome<()> {
        let mut reads = Vec::new();
        while self.tally.operations < operations || script.is_amid() {
            self.known.streams = self.live_streams();
            let step = script.next(&self.known);
            self.tally.operations += 1;
            match step {
                Step::Call(call) if call.is_read() => reads.push(call),
                step => {
                    self.ask_together(&mut reads).await?;
                    let told: String = format!("{step:?}").chars().take(TOLD_MAX).collect();
                    self.take(step).await.map_err(|what| format!("{told}\n{what}"))?;
                }
            }
            if reads.len() >= TOGETHER_MAX {
                self.ask_together(&mut reads).await?;
            }
        }
        self.ask_together(&mut reads).await?;
        self.settle().await?;
        self.close_all();
        self.compare_all_hashes().await
    }

    async fn take(&mut self, step: Step) -> Outcome<()> {
        match step {
            Step::Call(call) if call.method == Method::Compact => self.compact(call).await,
            Step::Call(call) => self.ask(&call).await.map(|_| ()),
            Step::ShortLease(grant) => self.lease_shortly(&grant).await,
            Step::LostLease(grant) => self.lose_lease(&grant).await,
            Step::PickedLease(grant) => self.pick_lease(&grant).await,
            Step::KeepAlive(ids) => self.keep_alive(&ids).await,
            Step::Watch(step) => self.watch(step).await,
            Step::Stray(path, bodies) => self.stray(path, &bodies).await,
            Step::Restart => self.restart().await,
        }
    }

    async fn stray(&mut self, path: &'static str, bodies: &[Bytes]) -> Outcome<()> {
        let [judge, ours] = &self.sides;
        let (judge, ours) = tokio::join!(judge.stray(path, bodies), ours.stray(path, bodies));
        if judge == ours {
            return Ok(());
        }
        let name = explain_end(&judge, &ours).ok_or_else(|| difference(&judge, &ours))?;
        *self.tally.known.entry(name).or_default() += 1;
        Ok(())
    }

    /// Power is cut on both sides: streams end, and what was remembered only in memory is gone.
    async fn restart(&mut self) -> Outcome<()> {
        self.settle().await?;
        self.close_all();
        self.forgotten.clone_from(&self.compacted);
        judge::restart_both(&mut self.clusters);
        for (side, cluster) in self.sides.iter_mut().zip(&self.clusters) {
            side.reconnect(cluster);
        }
        self.compare_all_hashes().await
    }

    /// Asks both; if they agree, whether they did as they were asked.
    async fn ask(&mut self, call: &Call) -> Outcome<bool> {
        let answers = self.both(call).await;
        self.judge(call, answers)
    }

    async fn ask_together(&mut self, reads: &mut Vec<Call>) -> Outcome<()> {
        let reads = core::mem::take(reads);
        let answers = join_all(reads.iter().map(|call| self.both(call))).await;
        for (call, answers) in reads.iter().zip(answers) {
            self.judge(call, answers).map_err(|what| format!("{call:?}\n{what}"))?;
        }
        Ok(())
    }

    async fn both(&self, call: &Call) -> [Answer; 2] {
        let deadline = Instant::now() + SETTLE_MAX;
        loop {
            let [judge, ours] = &self.sides;
            let (mut judge, mut ours) = tokio::join!(judge.call(call), ours.call(call));
            level(call, &mut judge);
            level(call, &mut ours);
            let may_agree = is_momentary(call) && Instant::now() < deadline;
            if judge == ours || !may_agree {
                return [judge, ours];
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn judge(&mut self, call: &Call, [mut judge, ours]: [Answer; 2]) -> Outcome<bool> {
        if judge != ours && !self.is_open(call) {
            let known = explain(call, &judge, &ours);
            let name = known.ok_or_else(|| difference(&judge, &ours))?;
            *self.tally.known.entry(name).or_default() += 1;
        }
        self.tally.note(call, &judge);
        if let Ok(reply) = &mut judge {
            let revision = reply.header_mut().map_or(0, |header| header.revision);
            self.known.revision = self.known.revision.max(revision);
        }
        Ok(judge.is_ok())
    }

    /// Whether there are two right answers.
    fn is_open(&self, call: &Call) -> bool {
        let request = pb::HashKvRequest::decode(call.body.clone());
        call.method == Method::HashKv
            && request.is_ok_and(|request| self.forgotten.contains(&request.revision))
    }

    /// Compacts, and waits for the end of it: what `HashKV` tells depends on that.
    async fn compact(&mut self, call: Call) -> Outcome<()> {
        self.settle().await?;
        if self.ask(&call).await? {
            let request = pb::CompactionRequest::decode(call.body).map_err(|e| e.to_string())?;
            self.known.compacted = request.revision;
            self.compacted.insert(request.revision);
            if request.revision > 0 {
                self.await_compaction(request.revision).await?;
            }
        }
        Ok(())
    }

    async fn await_compaction(&mut self, revision: i64) -> Outcome<()> {
        let call = Call::new(Method::HashKv, &pb::HashKvRequest { revision });
        let is_over = |answer: &Answer| match answer {
            Ok(Reply::HashKv(reply)) => reply.compact_revision != revision,
            _ => true,
        };
        self.ask_until(&call, is_over).await
    }

    /// Asks both until both answers are of this kind, and compares those.
    async fn ask_until(&mut self, call: &Call, is_it: impl Fn(&Answer) -> bool) -> Outcome<()> {
        let deadline = Instant::now() + SETTLE_MAX;
        loop {
            let answers = self.both(call).await;
            if answers.iter().all(&is_it) || Instant::now() > deadline {
                return self.judge(call, answers).map(|_| ());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn compare_all_hashes(&mut self) -> Outcome<()> {
        let (compacted, now) = (self.known.compacted, self.known.revision);
        for revision in [0, now, now - 1, compacted, compacted + 1, compacted - 1, now / 2] {
            let call = Call::new(Method::HashKv, &pb::HashKvRequest { revision });
            self.ask(&call).await.map_err(|what| format!("{call:?}\n{what}"))?;
        }
        Ok(())
    }

    async fn lease_shortly(&mut self, grant: &pb::LeaseGrantRequest) -> Outcome<()> {
        let begin = Instant::now();
        if self.ask(&Call::new(Method::Grant, grant)).await? {
            let call = Call::new(Method::Revoke, &pb::LeaseRevokeRequest { id: grant.id });
            let answers = self.both(&call).await;
            // Later than this it may have run out on either side, or on both.
            if begin.elapsed() < SHORT_LEASE {
                self.judge(&call, answers)?;
            }
        }
        Ok(())
    }

    /// Attaches a key to a lease and waits until both are gone.
    async fn lose_lease(&mut self, grant: &pb::LeaseGrantRequest) -> Outcome<()> {
        self.ask(&Call::new(Method::Grant, grant)).await?;
        let key = Bytes::from_static(b"s/lost");
        let put = pb::PutRequest { key: key.clone(), lease: grant.id, ..Default::default() };
        self.ask(&Call::new(Method::Put, &put)).await?;
        let call = Call::new(Method::Range, &pb::RangeRequest { key, ..Default::default() });
        let is_gone = |answer: &Answer| match answer {
            Ok(Reply::Range(reply)) => reply.count == 0,
            _ => true,
        };
        self.ask_until(&call, is_gone).await
    }

    async fn pick_lease(&mut self, grant: &pb::LeaseGrantRequest) -> Outcome<()> {
        let call = Call::new(Method::Grant, grant);
        let mut answers = self.both(&call).await;
        for (side, answer) in self.sides.iter_mut().zip(&mut answers) {
            if let Ok(Reply::Grant(reply)) = answer {
                side.note_picked(reply);
            }
        }
        self.judge(&call, answers).map(|_| ())
    }

    async fn keep_alive(&mut self, ids: &[i64]) -> Outcome<()> {
        let [judge, ours] = &self.sides;
        let (mut judge, mut ours) = tokio::join!(judge.keep_alive(ids), ours.keep_alive(ids));
        for answers in judge.iter_mut().chain(&mut ours) {
            answers.iter_mut().filter_map(|it| it.header.as_mut()).for_each(level_header);
        }
        if judge == ours { Ok(()) } else { Err(difference(&judge, &ours)) }
    }
}

/// The place where two things begin to differ, in words.
pub(crate) fn difference(judge: &impl Debug, ours: &impl Debug) -> String {
    const BEFORE: usize = 300;
    const AFTER: usize = 1_500;
    let [judge, ours] = [format!("{judge:?}"), format!("{ours:?}")];
    let same = judge.chars().zip(ours.chars()).take_while(|(one, other)| one == other).count();
    let from = same.saturating_sub(BEFORE);
    let part = |text: &str| text.chars().skip(from).take(BEFORE + AFTER).collect::<String>();
    format!("etcd:    {}\nquorate: {}", part(&judge), part(&ours))
}
