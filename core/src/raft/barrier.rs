//! Read barriers under way: which context belongs to which question.
//!
//! A context is member, boot and a counter: no two attempts ever share one, so a late answer to a
//! question that was given up cannot be taken for another's.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::ids::{BarrierId, MemberId};

/// Barriers asked for and not answered.
pub(crate) struct Barriers {
    member: MemberId,
    boot: u64,
    asked: u64,
    waiting: BTreeMap<u64, BarrierId>,
}

impl Barriers {
    pub(crate) fn new(member: MemberId, boot: u64) -> Self {
        Self { member, boot, asked: 0, waiting: BTreeMap::new() }
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Notes a barrier; returns the context to ask raft with.
    pub(crate) fn ask(&mut self, barrier: BarrierId) -> Bytes {
        self.asked += 1;
        self.waiting.insert(self.asked, barrier);
        let words = [self.member.get(), self.boot, self.asked];
        Bytes::from_iter(words.into_iter().flat_map(u64::to_be_bytes))
    }

    /// Takes out what an answer to `context` settles: that barrier and all asked before it, for
    /// whom the later read index is as good.
    pub(crate) fn take_reached(&mut self, context: &[u8]) -> Vec<BarrierId> {
        let Some(asked) = self.own_counter(context) else { return Vec::new() };
        if !self.waiting.contains_key(&asked) {
            return Vec::new();
        }
        let later = self.waiting.split_off(&(asked + 1));
        core::mem::replace(&mut self.waiting, later).into_values().collect()
    }

    /// Takes out all: none will be answered.
    pub(crate) fn take_lost(&mut self) -> Vec<BarrierId> {
        core::mem::take(&mut self.waiting).into_values().collect()
    }

    fn own_counter(&self, context: &[u8]) -> Option<u64> {
        let words = context.as_chunks::<8>();
        let ([member, boot, asked], []) = words else { return None };
        let is_own = u64::from_be_bytes(*member) == self.member.get()
            && u64::from_be_bytes(*boot) == self.boot;
        is_own.then(|| u64::from_be_bytes(*asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn an_answer_settles_it_and_all_before_it_once() {
        let mut barriers = Barriers::new(MemberId(1), 7);
        let contexts: Vec<_> = (10..14).map(|id| barriers.ask(BarrierId(id))).collect();
        assert_eq!(barriers.take_reached(&contexts[2]), [10, 11, 12].map(BarrierId));
        assert_eq!(barriers.take_reached(&contexts[1]), vec![]);
        assert_eq!(barriers.take_reached(b"short"), vec![]);
        assert_eq!(barriers.take_lost(), [BarrierId(13)]);
        assert_eq!(barriers.take_reached(&contexts[3]), vec![]);
    }

    #[test]
    fn another_boot_has_other_contexts() {
        let context = Barriers::new(MemberId(1), 7).ask(BarrierId(1));
        let mut later = Barriers::new(MemberId(1), 8);
        later.ask(BarrierId(2));
        assert_eq!(later.take_reached(&context), vec![]);
        assert_eq!(later.waiting(), 1);
    }
}
