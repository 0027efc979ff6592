//! What all loops are: turns, and whoever gives them.
//!
//! ```text
//!   thread:    begin, then for ever: wait for a message or until something is due, take a turn
//!   stepped:   begin, then whenever asked: take a turn, if a message is there or something is due
//! ```
//!
//! Production gives every loop a thread. What has one thread for everything, as a simulator of
//! whole servers has, asks each loop in turn instead; nothing in a loop knows the difference.

use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use crate::channels::TURN_MESSAGES_MAX;

/// What a loop does with what arrives.
pub(super) trait Turns: Send + 'static {
    /// What arrives.
    type Message: Send + 'static;

    /// Does what there is to do before anything arrives.
    fn begin(&mut self) {}

    /// How long it may wait for messages; for ever if nothing will be due. Asked once a turn.
    fn patience(&mut self) -> Option<Duration>;

    /// Takes what has arrived and does what is due.
    fn take(&mut self, messages: &mut Vec<Self::Message>) -> Next;
}

/// What a loop wants after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next one, as soon as there is something to do.
    Turn,
    /// The same, but not before it has rested for so long.
    Rest(Duration),
    /// No further one.
    End,
}

/// A loop, ready to run.
pub trait Looped: Send {
    /// Which one.
    fn name(&self) -> &'static str;

    /// Runs on this thread until it is told to stop.
    fn run(self: Box<Self>);

    /// Takes a turn if there is something to do; never waits for messages.
    fn step(&mut self) -> Next;
}

/// See [`Looped`].
pub(super) struct Loop<T: Turns> {
    name: &'static str,
    turns: T,
    inbox: Receiver<T::Message>,
    turn: Vec<T::Message>,
    /// When it is to have its next turn even if nothing arrives; nothing before it has begun.
    due: Option<Option<Instant>>,
}

impl<T: Turns> Loop<T> {
    pub(super) const fn new(name: &'static str, turns: T, inbox: Receiver<T::Message>) -> Self {
        Self { name, turns, inbox, turn: Vec::new(), due: None }
    }

    fn look_ahead(&mut self) -> Option<Instant> {
        let due = self.turns.patience().map(|patience| Instant::now() + patience);
        self.due = Some(due);
        due
    }
}

impl<T: Turns> Looped for Loop<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(mut self: Box<Self>) {
        self.turns.begin();
        loop {
            let patience = self.turns.patience();
            if !receive(&self.inbox, patience, &mut self.turn) {
                return;
            }
            match self.turns.take(&mut self.turn) {
                Next::Turn => {}
                Next::Rest(rest) => thread::sleep(rest),
                Next::End => return,
            }
        }
    }

    fn step(&mut self) -> Next {
        let due = match self.due {
            Some(due) => due,
            None => {
                self.turns.begin();
                self.look_ahead()
            }
        };
        match self.inbox.try_recv() {
            Ok(message) => self.turn.push(message),
            Err(TryRecvError::Empty) if due.is_none_or(|due| Instant::now() < due) => {
                return Next::Turn;
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Next::End,
        }
        take_the_rest(&self.inbox, &mut self.turn);
        let next = self.turns.take(&mut self.turn);
        self.look_ahead();
        next
    }
}

/// Waits for a message, at most `patience`, then takes what else is there. False when nobody can
/// send any more.
fn receive<T>(inbox: &Receiver<T>, patience: Option<Duration>, turn: &mut Vec<T>) -> bool {
    let first = match patience {
        Some(patience) => inbox.recv_timeout(patience),
        None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
    };
    match first {
        Ok(message) => turn.push(message),
        Err(RecvTimeoutError::Timeout) => return true,
        Err(RecvTimeoutError::Disconnected) => return false,
    }
    take_the_rest(inbox, turn);
    true
}

fn take_the_rest<T>(inbox: &Receiver<T>, turn: &mut Vec<T>) {
    turn.extend(inbox.try_iter().take(TURN_MESSAGES_MAX - turn.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::mpsc::channel;

    /// Tells what each turn took; is due after a while, rests after a pair, ends with a zero.
    struct Told(Vec<Vec<u8>>, Option<Duration>);

    impl Turns for Told {
        type Message = u8;

        fn begin(&mut self) {
            self.0.push(vec![255]);
        }

        fn patience(&mut self) -> Option<Duration> {
            self.1
        }

        fn take(&mut self, messages: &mut Vec<u8>) -> Next {
            self.0.push(std::mem::take(messages));
            match self.0.last().map(Vec::as_slice) {
                Some([0]) => Next::End,
                Some([_, _]) => Next::Rest(Duration::from_millis(5)),
                _ => Next::Turn,
            }
        }
    }

    #[test]
    fn a_stepped_loop_takes_what_is_there_and_never_waits() {
        let (sender, inbox) = channel();
        let mut stepped = Loop::new("told", Told(Vec::new(), None), inbox);
        assert_eq!(stepped.step(), Next::Turn);
        assert_eq!(stepped.turns.0, [vec![255]], "nothing arrived and nothing is due");
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        assert_eq!(stepped.step(), Next::Rest(Duration::from_millis(5)));
        sender.send(0).unwrap();
        assert_eq!(stepped.step(), Next::End);
        assert_eq!(stepped.turns.0, [vec![255], vec![1, 2], vec![0]]);
    }

    #[test]
    fn a_stepped_loop_has_its_turn_when_something_is_due() {
        let (sender, inbox) = channel();
        let mut stepped = Loop::new("told", Told(Vec::new(), Some(Duration::ZERO)), inbox);
        assert_eq!(stepped.step(), Next::Turn);
        assert_eq!(stepped.turns.0, [vec![255], vec![]]);
        drop(sender);
        assert_eq!(stepped.step(), Next::End, "nobody can send any more");
    }
}
