//! Key ranges that are granted, merged: what touches becomes one.

use alloc::vec::Vec;

use bytes::Bytes;

/// The keys from `start` on and before `end`; none: to the end of all keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: Bytes,
    end: Option<Bytes>,
}

/// Spans in order, with a gap between any two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges(Vec<Span>);

impl Span {
    /// A range as requests write it: no end for one key, a zero byte for all keys from `start` on.
    pub(super) fn parse(start: &Bytes, range_end: &Bytes) -> Self {
        let end = match range_end.as_ref() {
            [] => Some([start.as_ref(), &[0]].concat().into()),
            [0] => None,
            _ => Some(range_end.clone()),
        };
        Self { start: start.clone(), end }
    }

    /// Whether it has no key at all.
    pub(super) fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    fn reaches(&self, key: &Bytes) -> bool {
        self.end.as_ref().is_none_or(|end| key <= end)
    }

    fn includes(&self, other: &Self) -> bool {
        let ends_later = match (&self.end, &other.end) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => others <= own,
        };
        self.start <= other.start && ends_later
    }
}

impl Ranges {
    /// The union of spans in any order.
    pub(super) fn merge(mut spans: Vec<Span>) -> Self {
        spans.retain(|span| !span.is_empty());
        spans.sort_by(|one, two| one.start.cmp(&two.start));
        let mut merged: Vec<Span> = Vec::new();
        for span in spans {
            match merged.last_mut() {
                Some(last) if last.reaches(&span.start) => {
                    if !last.includes(&span) {
                        last.end = span.end;
                    }
                }
                _ => merged.push(span),
            }
        }
        Self(merged)
    }

    /// Whether all of a span is inside. One without keys is, wherever it would begin inside.
    pub(super) fn contain(&self, span: &Span) -> bool {
        let after = self.0.partition_point(|known| known.start <= span.start);
        let Some(last) = after.checked_sub(1).map(|place| &self.0[place]) else { return false };
        last.end.as_ref().is_none_or(|end| span.start < *end) && last.includes(span)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn span(start: &'static str, range_end: &'static str) -> Span {
        Span::parse(&start.into(), &range_end.into())
    }

    #[test]
    fn what_touches_becomes_one() {
        let ranges =
            Ranges::merge(vec![span("x", ""), span("b", "c"), span("a", "b"), span("a", "aa")]);
        assert_eq!(ranges.0.len(), 2);
        for inside in [span("a", "c"), span("ab", "bb"), span("x", ""), span("b", "")] {
            assert!(ranges.contain(&inside), "{inside:?}");
        }
        for outside in
            [span("a", "d"), span("a", "\0"), span("x", "y"), span("A", ""), span("c", "")]
        {
            assert!(!ranges.contain(&outside), "{outside:?}");
        }
    }

    #[test]
    fn an_open_end_reaches_everything() {
        let ranges = Ranges::merge(vec![span("m", "\0"), span("n", "o")]);
        assert_eq!(ranges.0.len(), 1);
        assert!(ranges.contain(&span("z", "\0")) && ranges.contain(&span("m", "")));
        assert!(!ranges.contain(&span("l", "\0")));
    }

    #[test]
    fn no_keys_at_all_are_where_they_would_begin() {
        let ranges = Ranges::merge(vec![span("b", "d"), span("x", "\0")]);
        assert!(ranges.contain(&span("c", "b")) && ranges.contain(&span("y", "c")));
        assert!(!ranges.contain(&span("d", "c")) && !ranges.contain(&span("a", "A")));
    }

    #[test]
    fn nothing_contains_anything() {
        assert!(!Ranges::default().contain(&span("a", "")));
    }
}
