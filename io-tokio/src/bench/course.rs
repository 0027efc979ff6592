//! Operations over time: how many ended in each second of a run, and how long they took.
//!
//! When a run is longer than there are spans, two become one, and each is twice as long from then
//! on: `1 s x 3,600`, then `2 s x 3,600`.

use std::time::Duration;

/// Spans of a run that are told apart.
const SPANS_MAX: usize = 3_600;

/// Operations that ended within one span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) count: u64,
    pub(super) least_nanos: u64,
    pub(super) most_nanos: u64,
    pub(super) sum_nanos: u64,
}

impl Span {
    fn add(&mut self, other: Self) {
        if other.count == 0 {
            return;
        }
        let is_first = self.count == 0;
        self.least_nanos =
            if is_first { other.least_nanos } else { self.least_nanos.min(other.least_nanos) };
        self.most_nanos = self.most_nanos.max(other.most_nanos);
        self.sum_nanos = self.sum_nanos.saturating_add(other.sum_nanos);
        self.count += other.count;
    }

    /// How long its operations took on average.
    pub(super) fn average_nanos(&self) -> f64 {
        self.sum_nanos as f64 / self.count.max(1) as f64
    }
}

/// Spans from the beginning of a run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Course {
    span_seconds: u64,
    spans: Vec<Span>,
}

impl Default for Course {
    fn default() -> Self {
        Self { span_seconds: 1, spans: Vec::new() }
    }
}

impl Course {
    /// Notes an operation.
    pub(super) fn note(&mut self, since_begin: Duration, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        let one = Span { count: 1, least_nanos: nanos, most_nanos: nanos, sum_nanos: nanos };
        while since_begin.as_secs() / self.span_seconds >= SPANS_MAX as u64 {
            self.coarsen();
        }
        self.put((since_begin.as_secs() / self.span_seconds) as usize, one);
    }

    /// Adds what others saw in the same run.
    pub(super) fn add(&mut self, mut other: Self) {
        while self.span_seconds < other.span_seconds {
            self.coarsen();
        }
        while other.span_seconds < self.span_seconds {
            other.coarsen();
        }
        other.spans.into_iter().enumerate().for_each(|(at, span)| self.put(at, span));
    }

    fn put(&mut self, at: usize, span: Span) {
        if self.spans.len() <= at {
            self.spans.resize(at + 1, Span::default());
        }
        self.spans[at].add(span);
    }

    fn coarsen(&mut self) {
        let finer = std::mem::take(&mut self.spans);
        self.span_seconds *= 2;
        finer.into_iter().enumerate().for_each(|(at, span)| self.put(at / 2, span));
    }

    /// How long each span is, in seconds.
    pub(super) const fn span_seconds(&self) -> u64 {
        self.span_seconds
    }

    /// All spans, those without an operation included.
    pub(super) fn spans(&self) -> impl ExactSizeIterator<Item = &Span> {
        self.spans.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(seconds: &[u64]) -> Course {
        let mut course = Course::default();
        for second in seconds {
            course.note(Duration::from_secs(*second), Duration::from_nanos(*second));
        }
        course
    }

    #[test]
    fn long_runs_have_longer_spans_and_lose_nothing() {
        let course = noted(&[0, 1, 3_600, 9_000]);
        assert_eq!(course.span_seconds(), 4);
        assert_eq!(course.spans().map(|span| span.count).sum::<u64>(), 4);
        let first = Span { count: 2, least_nanos: 0, most_nanos: 1, sum_nanos: 1 };
        assert_eq!(course.spans().next(), Some(&first));
    }

    #[test]
    fn sums_do_not_depend_on_the_order() {
        let (short, long) = (noted(&[0, 5, 7]), noted(&[4, 8_000]));
        let (mut one, mut other) = (short.clone(), long.clone());
        one.add(long);
        other.add(short);
        assert_eq!(one, other);
        assert_eq!(one.spans().next().unwrap().count, 1);
        assert_eq!(one.span_seconds(), 4);
    }
}
