//! Leaves out what is on a plan's lists: whole families first, then stretches, then single lines.

use std::collections::BTreeSet;

use quorate_io_sim::world::Plan;

use super::Shrinking;

/// Something a plan lists.
trait Listed: Clone {
    /// Its family.
    fn word(&self) -> &'static str;
}

macro_rules! listed {
    ($($name:ident $field:ident),*) => {$(
        impl Listed for quorate_io_sim::world::plan::$name {
            fn word(&self) -> &'static str {
                self.$field.word()
            }
        }
    )*};
}

listed!(Strike fault, Errand deed, Duty chore, Decree order);

/// One of a plan's lists.
type List<T> = fn(&mut Plan) -> &mut Vec<T>;

impl Shrinking<'_> {
    /// Without all faults, calls, chores or orders of one kind.
    pub(super) fn drop_families(&mut self) {
        self.drop_words(|plan| &mut plan.strikes);
        self.drop_words(|plan| &mut plan.duties);
        self.drop_words(|plan| &mut plan.decrees);
        self.drop_words(|plan| &mut plan.errands);
    }

    fn drop_words<T: Listed>(&mut self, list: List<T>) {
        let mut plan = self.plan.clone();
        let words: BTreeSet<_> = list(&mut plan).drain(..).map(|item| item.word()).collect();
        if self.accept(plan) {
            return;
        }
        for word in words {
            let mut plan = self.plan.clone();
            list(&mut plan).retain(|item| item.word() != word);
            self.accept(plan);
        }
    }

    /// Without every stretch of a list that is not needed (Zeller's ddmin, complements only).
    pub(super) fn thin_out(&mut self) {
        self.thin_list(|plan| &mut plan.strikes);
        self.thin_list(|plan| &mut plan.duties);
        self.thin_list(|plan| &mut plan.decrees);
        self.thin_list(|plan| &mut plan.errands);
    }

    fn thin_list<T>(&mut self, list: List<T>) {
        let length = |plan: &mut Plan| list(plan).len();
        let mut stretch = length(&mut self.plan).div_ceil(2);
        while stretch > 0 {
            let mut from = 0;
            while from < length(&mut self.plan) {
                let mut plan = self.plan.clone();
                let items = list(&mut plan);
                let to = items.len().min(from + stretch);
                items.drain(from..to);
                if !self.accept(plan) {
                    from += stretch;
                }
            }
            stretch /= 2;
        }
    }
}
