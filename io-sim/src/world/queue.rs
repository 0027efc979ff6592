//! The one event queue: what happens next is never in doubt.
//!
//! ordered by `(time, class, sequence)`: at one instant faults strike first, then disks answer,
//! then messages arrive, then timers fire, then clients act; within a class, first come.
//!
//! The heap moves small keys only; what happens lies in a slab beside it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Who goes first at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Faults begin and end.
    Fault,
    /// A disk finished something.
    Disk,
    /// A message arrives.
    Network,
    /// A machine's turn, a timer.
    Machine,
    /// A client acts.
    Client,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at: u64,
    class: Class,
    sequence: u64,
    slot: u32,
}

/// The queue.
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<Key>>,
    slab: Vec<Option<E>>,
    free: Vec<u32>,
    sequence: u64,
    now: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), slab: Vec::new(), free: Vec::new(), sequence: 0, now: 0 }
    }
}

impl<E> Queue<E> {
    /// The instant of the event taken out last, in nanoseconds.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Events waiting.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing will ever happen again.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Puts `event` in at `at`; now, if that is over.
    pub fn push(&mut self, at: u64, class: Class, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slab[slot as usize] = Some(event);
                slot
            }
            None => {
                self.slab.push(Some(event));
                self.slab.len() as u32 - 1
            }
        };
        self.sequence += 1;
        let key = Key { at: at.max(self.now), class, sequence: self.sequence, slot };
        self.heap.push(Reverse(key));
    }

    /// Takes out the next event not after `until`, and moves time to it.
    pub fn pop(&mut self, until: u64) -> Option<E> {
        if self.heap.peek()?.0.at > until {
            return None;
        }
        let Reverse(key) = self.heap.pop()?;
        self.now = key.at;
        self.free.push(key.slot);
        self.slab[key.slot as usize].take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_then_class_then_order_of_arrival() {
        let mut queue = Queue::default();
        queue.push(5, Class::Client, "client at 5");
        queue.push(5, Class::Disk, "disk at 5");
        queue.push(5, Class::Client, "second client at 5");
        queue.push(3, Class::Client, "client at 3");
        let all: Vec<_> = std::iter::from_fn(|| queue.pop(10)).collect();
        assert_eq!(all, ["client at 3", "disk at 5", "client at 5", "second client at 5"]);
    }

    #[test]
    fn stops_at_the_horizon_and_never_goes_back() {
        let mut queue = Queue::default();
        queue.push(5, Class::Fault, 'a');
        queue.push(9, Class::Fault, 'b');
        assert_eq!(queue.pop(8), Some('a'));
        assert_eq!(queue.pop(8), None);
        queue.push(1, Class::Fault, 'c');
        assert_eq!(queue.pop(8), Some('c'));
        assert_eq!(queue.now(), 5);
        assert_eq!(queue.pop(9), Some('b'));
        assert!(queue.is_empty());
    }
}
