//! Where Quorate means to differ: exactly what `docs/differences.md` lists for this test.

use tonic::Code;

use super::call::{Answer, Call};

/// One difference: its heading in the list, and how it shows.
pub(crate) struct Difference {
    pub(crate) name: &'static str,
    /// Whether these answers to the call, the judge's first, differ in just this way.
    pub(crate) explains: fn(&Call, &Answer, &Answer) -> bool,
}

/// All of them.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference { name: "Words about a body that is no message", explains: is_no_message },
    Difference { name: "A known field of another wire type", explains: is_of_another_type },
    Difference { name: LATE_PROGRESS, explains: |_, _, _| false },
];

/// Shows on streams, not in answers.
pub(crate) const LATE_PROGRESS: &str = "Progress that cannot be told at once";

/// The difference these answers show, if it is a known one.
pub(crate) fn explain(call: &Call, judge: &Answer, ours: &Answer) -> Option<&'static str> {
    let known = DIFFERENCES.iter().find(|known| (known.explains)(call, judge, ours));
    known.map(|known| known.name)
}

fn is_no_message(_: &Call, judge: &Answer, ours: &Answer) -> bool {
    match (judge, ours) {
        (Err((Code::Internal, judge)), Err((Code::Internal, _))) => {
            judge.starts_with("grpc: error unmarshalling request: ")
        }
        _ => false,
    }
}

fn is_of_another_type(call: &Call, judge: &Answer, ours: &Answer) -> bool {
    let is_seen = matches!(ours, Err((Code::Internal, text)) if text.contains("invalid wire type"));
    call.is_read() && is_seen && judge != ours
}
