//! Where Quorate means to differ: exactly what `docs/differences.md` lists for this test.

use prost::encoding::decode_varint;
use quorate_core::limits::TXN_DEPTH_MAX;
use tonic::Code;

use super::call::{Answer, Call, Method, Refused};

/// One difference: its heading in the list, and how it shows.
pub(crate) struct Difference {
    pub(crate) name: &'static str,
    /// Whether these answers to the call, the judge's first, differ in just this way.
    pub(crate) explains: fn(&Call, &Answer, &Answer) -> bool,
}

/// All of them.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference { name: NO_MESSAGE, explains: is_no_message },
    Difference { name: "A known field of another wire type", explains: is_of_another_type },
    Difference { name: "Transactions nested more than 48 deep", explains: is_too_deep },
    Difference { name: LATE_PROGRESS, explains: |_, _, _| false },
];

/// Tags of a transaction's first branch, and of an operation that is a transaction.
const SUCCESS: u8 = 0x12;
const TXN: u8 = 0x22;

const NO_MESSAGE: &str = "Words about a body that is no message";
/// Shows on streams, not in answers.
pub(crate) const LATE_PROGRESS: &str = "Progress that cannot be told at once";

/// The difference these answers show, if it is a known one.
pub(crate) fn explain(call: &Call, judge: &Answer, ours: &Answer) -> Option<&'static str> {
    let known = DIFFERENCES.iter().find(|known| (known.explains)(call, judge, ours));
    known.map(|known| known.name)
}

/// The difference these ends of streams show, answers counted, if it is a known one.
pub(crate) fn explain_end(
    judge: &(usize, Refused),
    ours: &(usize, Refused),
) -> Option<&'static str> {
    (judge.0 == ours.0 && is_no_message_to(&judge.1, &ours.1)).then_some(NO_MESSAGE)
}

fn is_no_message(_: &Call, judge: &Answer, ours: &Answer) -> bool {
    matches!((judge, ours), (Err(judge), Err(ours)) if is_no_message_to(judge, ours))
}

fn is_no_message_to(judge: &Refused, ours: &Refused) -> bool {
    const WORDS: [&str; 2] =
        ["grpc: error unmarshalling request: ", "grpc: failed to unmarshal the received message: "];
    let is_told = WORDS.iter().any(|words| judge.1.starts_with(words));
    is_told && judge.0 == Code::Internal && ours.0 == Code::Internal
}

fn is_of_another_type(call: &Call, judge: &Answer, ours: &Answer) -> bool {
    let is_seen = matches!(ours, Err((Code::Internal, text)) if text.contains("invalid wire type"));
    call.is_read() && is_seen && judge != ours
}

fn is_too_deep(call: &Call, _: &Answer, ours: &Answer) -> bool {
    const WORDS: [&str; 2] = ["recursion limit", "too many operations in txn request"];
    let is_told = |text: &String| WORDS.iter().any(|words| text.contains(words));
    let is_deep = call.method == Method::Txn && depth(&call.body) > TXN_DEPTH_MAX;
    is_deep && matches!(ours, Err((_, text)) if is_told(text))
}

/// How deep transactions are nested that have one operation in one branch each, read by hand.
fn depth(mut body: &[u8]) -> usize {
    let mut depth = 0;
    while let [SUCCESS, rest @ ..] = body {
        let Some((op, _)) = part(rest) else { break };
        let [TXN, rest @ ..] = op else { break };
        let Some((nested, _)) = part(rest) else { break };
        depth += 1;
        body = nested;
    }
    depth
}

/// What has its length before it, and what comes behind it.
fn part(mut bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = decode_varint(&mut bytes).ok()?;
    bytes.split_at_checked(usize::try_from(length).ok()?)
}
