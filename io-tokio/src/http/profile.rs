//! Where processors' time goes, in the format that `go tool pprof` and its kind read.
//!
//! Many times a second of its processors' time the process is interrupted and looks where it is;
//! what was seen is counted, and written with the names of functions in it.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use pprof::{Frames, ProfilerGuardBuilder};
use prost::Message as _;

/// Looks in a second of a processor's time, as Go has it.
const FREQUENCY: i32 = 100;
/// Where looking would wait for what it interrupts.
const NOT_INSIDE: [&str; 4] = ["libc", "libgcc", "pthread", "vdso"];

/// Looks for so long; the profile, compressed. One at a time.
pub(super) async fn profile(length: Duration) -> Result<Vec<u8>, String> {
    let told = |error: pprof::Error| match error {
        pprof::Error::Running => "cpu profiling already in use".to_owned(),
        error => error.to_string(),
    };
    let guard = ProfilerGuardBuilder::default().frequency(FREQUENCY).blocklist(&NOT_INSIDE);
    let guard = guard.build().map_err(told)?;
    let since = SystemTime::now();
    tokio::time::sleep(length).await;
    let written = tokio::task::spawn_blocking(move || {
        let report = guard.report().build().map_err(told)?;
        let mut book = Book::new(since, length);
        for (frames, count) in &report.data {
            book.note(frames, i64::try_from(*count).unwrap_or(i64::MAX));
        }
        compress(&book.profile.encode_to_vec()).map_err(|error| error.to_string())
    });
    written.await.unwrap_or_else(|error| Err(error.to_string()))
}

fn compress(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// A profile that is being written, and what stands in it already.
struct Book {
    profile: Profile,
    texts: HashMap<String, i64>,
    /// By function's name, file and line.
    places: BTreeMap<(i64, i64, i64), u64>,
}

impl Book {
    fn new(since: SystemTime, length: Duration) -> Self {
        let mut book =
            Self { profile: Profile::default(), texts: HashMap::new(), places: BTreeMap::new() };
        // The first text is the empty one.
        book.text("");
        let [samples, count] = ["samples", "count"].map(|text| book.text(text));
        let [cpu, nanoseconds] = ["cpu", "nanoseconds"].map(|text| book.text(text));
        let time = ValueType { r#type: cpu, unit: nanoseconds };
        book.profile.sample_type = vec![ValueType { r#type: samples, unit: count }, time];
        book.profile.period_type = Some(time);
        book.profile.period = 1_000_000_000 / i64::from(FREQUENCY);
        let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
        book.profile.time_nanos = i64::try_from(since.as_nanos()).unwrap_or(i64::MAX);
        book.profile.duration_nanos = i64::try_from(length.as_nanos()).unwrap_or(i64::MAX);
        book
    }

    fn text(&mut self, text: &str) -> i64 {
        if let Some(place) = self.texts.get(text) {
            return *place;
        }
        let place = i64::try_from(self.profile.string_table.len()).unwrap_or(i64::MAX);
        self.profile.string_table.push(text.to_owned());
        self.texts.insert(text.to_owned(), place);
        place
    }

    /// This was seen so often: the innermost frame first.
    fn note(&mut self, frames: &Frames, count: i64) {
        let symbols = frames.frames.iter().flatten();
        let location_id = symbols.map(|symbol| {
            let file = symbol.filename.as_ref().map(|path| path.display().to_string());
            let line = symbol.lineno.map_or(0, i64::from);
            self.place(&symbol.name(), &file.unwrap_or_default(), line)
        });
        let location_id = location_id.collect();
        let thread = Label { key: self.text("thread"), str: self.text(&frames.thread_name) };
        let value = vec![count, count.saturating_mul(self.profile.period)];
        self.profile.sample.push(Sample { location_id, value, label: vec![thread] });
    }

    fn place(&mut self, name: &str, file: &str, line: i64) -> u64 {
        let (name, filename) = (self.text(name), self.text(file));
        let id = self.places.len() as u64 + 1;
        let known = *self.places.entry((name, filename, line)).or_insert(id);
        if known == id {
            self.profile.function.push(Function { id, name, system_name: name, filename });
            let line = vec![Line { function_id: id, line }];
            self.profile.location.push(Location { id, line });
        }
        known
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    time_nanos: i64,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    r#type: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "3")]
    system_name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A name to find again.
    #[inline(never)]
    fn keep_a_processor_busy(is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            std::hint::black_box((0..10_000).fold(0_u64, |sum, n| std::hint::black_box(sum + n)));
        }
    }

    fn read(written: &[u8]) -> Profile {
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(written).read_to_end(&mut bytes).unwrap();
        Profile::decode(&bytes[..]).unwrap()
    }

    /// Where other tests keep all processors busy as well, a second may be too short.
    #[tokio::test]
    async fn what_is_busy_is_seen() {
        let is_over = Arc::new(AtomicBool::new(false));
        let seen_over = is_over.clone();
        let busy = std::thread::spawn(move || keep_a_processor_busy(&seen_over));
        let mut has_seen = false;
        for _ in 0..30 {
            let profile = read(&profile(Duration::from_secs(1)).await.unwrap());
            let text = |place: i64| profile.string_table[usize::try_from(place).unwrap()].as_str();
            let unit = profile.sample_type.last().map(|it| text(it.unit));
            assert_eq!(unit, Some("nanoseconds"));
            has_seen |=
                profile.function.iter().any(|it| text(it.name).contains("keep_a_processor"));
            if has_seen {
                assert!(profile.sample.iter().all(|sample| sample.value[0] > 0));
                break;
            }
        }
        is_over.store(true, Ordering::Relaxed);
        busy.join().unwrap();
        assert!(has_seen, "thirty seconds of work were not seen");
    }
}
