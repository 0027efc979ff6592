//! What all loops are: turns, and whoever gives them.
//!
//! ```text
//!   thread:    begin, then for ever: wait for a message or until something is due, take a turn
//!   task:      the same, and after each turn whatever else is on its thread has one
//!   stepped:   begin, then whenever asked: take a turn, if a message is there or something is due
//! ```
//!
//! Production gives every loop a thread, but one: the replica's is a task beside the streams to the
//! other members, so that what they bring, and what it sends, wakes no other thread. What has one
//! thread for everything, as a simulator of whole servers has, asks each loop in turn instead;
//! nothing in a loop knows the difference.

use std::io;
use std::pin::pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc as tasks;
use tokio::task::{unconstrained, yield_now};
use tokio::time::sleep_until;

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

    /// Runs until it is told to stop, with the guard in its hands: on a thread of its own, or as a
    /// task of that runtime.
    fn start(self: Box<Self>, beside: &Handle, guard: Guard) -> io::Result<Started>;

    /// Takes a turn if there is something to do; never waits for messages.
    fn step(&mut self) -> Next;
}

/// What is dropped when a loop ends, on its thread.
pub(super) type Guard = Box<dyn Send>;

/// A loop that runs.
pub enum Started {
    /// On a thread.
    Thread(thread::JoinHandle<()>),
    /// As a task.
    Task(tokio::task::JoinHandle<()>),
}

impl Started {
    /// Whether it has ended.
    pub(super) fn is_finished(&self) -> bool {
        match self {
            Self::Thread(handle) => handle.is_finished(),
            Self::Task(handle) => handle.is_finished(),
        }
    }

    /// Of one that has ended: nothing if it panicked.
    pub(super) fn join(self) -> Option<()> {
        match self {
            Self::Thread(handle) => handle.join().ok(),
            // It is there whatever else this task has polled.
            Self::Task(handle) => unconstrained(handle).now_or_never()?.ok(),
        }
    }
}

/// Where a loop's messages arrive.
pub(super) trait Inbox<T> {
    /// The next one, if it is there; an error if nobody can send any more.
    fn look(&mut self) -> Result<Option<T>, Gone>;
}

/// Nobody can send any more.
pub(super) struct Gone;

impl<T> Inbox<T> for Receiver<T> {
    fn look(&mut self) -> Result<Option<T>, Gone> {
        use std::sync::mpsc::TryRecvError;
        match self.try_recv() {
            Ok(message) => Ok(Some(message)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Gone),
        }
    }
}

impl<T> Inbox<T> for tasks::UnboundedReceiver<T> {
    fn look(&mut self) -> Result<Option<T>, Gone> {
        match self.try_recv() {
            Ok(message) => Ok(Some(message)),
            Err(tasks::error::TryRecvError::Empty) => Ok(None),
            Err(tasks::error::TryRecvError::Disconnected) => Err(Gone),
        }
    }
}

/// See [`Looped`].
pub(super) struct Loop<T: Turns, I> {
    name: &'static str,
    turns: T,
    inbox: I,
    turn: Vec<T::Message>,
    /// When it is to have its next turn even if nothing arrives; nothing before it has begun.
    due: Option<Option<Instant>>,
}

impl<T: Turns, I: Inbox<T::Message>> Loop<T, I> {
    pub(super) const fn new(name: &'static str, turns: T, inbox: I) -> Self {
        Self { name, turns, inbox, turn: Vec::new(), due: None }
    }

    fn look_ahead(&mut self) -> Option<Instant> {
        let due = self.turns.patience().map(|patience| Instant::now() + patience);
        self.due = Some(due);
        due
    }

    fn take_a_step(&mut self) -> Next {
        let due = match self.due {
            Some(due) => due,
            None => {
                self.turns.begin();
                self.look_ahead()
            }
        };
        match self.inbox.look() {
            Ok(Some(message)) => self.turn.push(message),
            Ok(None) if due.is_none_or(|due| Instant::now() < due) => return Next::Turn,
            Ok(None) => {}
            Err(Gone) => return Next::End,
        }
        self.take_the_rest();
        let next = self.turns.take(&mut self.turn);
        self.look_ahead();
        next
    }

    fn take_the_rest(&mut self) {
        while self.turn.len() < TURN_MESSAGES_MAX
            && let Ok(Some(message)) = self.inbox.look()
        {
            self.turn.push(message);
        }
    }
}

impl<T: Turns> Loop<T, Receiver<T::Message>> {
    fn run(mut self) {
        self.turns.begin();
        while self.receive() {
            match self.turns.take(&mut self.turn) {
                Next::Turn => {}
                Next::Rest(rest) => thread::sleep(rest),
                Next::End => return,
            }
        }
    }

    /// Waits for a message or until something is due, then takes what else is there. False when
    /// nobody can send any more.
    fn receive(&mut self) -> bool {
        let first = match self.turns.patience() {
            Some(patience) => self.inbox.recv_timeout(patience),
            None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match first {
            Ok(message) => self.turn.push(message),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        self.take_the_rest();
        true
    }
}

impl<T: Turns> Looped for Loop<T, Receiver<T::Message>> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn start(self: Box<Self>, _: &Handle, guard: Guard) -> io::Result<Started> {
        let thread = thread::Builder::new().name(self.name.into());
        let body = move || {
            let _guard = guard;
            self.run();
        };
        thread.spawn(body).map(Started::Thread)
    }

    fn step(&mut self) -> Next {
        self.take_a_step()
    }
}

impl<T: Turns> Loop<T, tasks::UnboundedReceiver<T::Message>> {
    async fn run(mut self) {
        self.turns.begin();
        let mut alarm = pin!(sleep_until(Instant::now().into()));
        loop {
            let due = self.look_ahead();
            due.inspect(|due| alarm.as_mut().reset((*due).into()));
            let arrived = tokio::select! {
                biased;
                count = self.inbox.recv_many(&mut self.turn, TURN_MESSAGES_MAX) => count > 0,
                () = alarm.as_mut(), if due.is_some() => true,
            };
            if !arrived {
                return;
            }
            match self.turns.take(&mut self.turn) {
                Next::Turn => yield_now().await,
                Next::Rest(rest) => tokio::time::sleep(rest).await,
                Next::End => return,
            }
        }
    }
}

impl<T: Turns> Looped for Loop<T, tasks::UnboundedReceiver<T::Message>> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn start(self: Box<Self>, beside: &Handle, guard: Guard) -> io::Result<Started> {
        Ok(Started::Task(beside.spawn(async move {
            let _guard = guard;
            self.run().await;
        })))
    }

    fn step(&mut self) -> Next {
        self.take_a_step()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::mpsc::channel;
    use std::sync::{Arc, Mutex};

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
                Some([.., 0]) => Next::End,
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

    /// The same, to whoever holds it.
    struct Shared(Arc<Mutex<Told>>);

    impl Turns for Shared {
        type Message = u8;

        fn begin(&mut self) {
            self.0.lock().unwrap().begin();
        }

        fn patience(&mut self) -> Option<Duration> {
            self.0.lock().unwrap().patience()
        }

        fn take(&mut self, messages: &mut Vec<u8>) -> Next {
            self.0.lock().unwrap().take(messages)
        }
    }

    /// A loop as a task of this runtime: what it is told by, what it tells, and itself.
    fn task(patience: Option<Duration>) -> (tasks::UnboundedSender<u8>, Arc<Mutex<Told>>, Started) {
        let (sender, inbox) = tasks::unbounded_channel();
        let told = Arc::new(Mutex::new(Told(Vec::new(), patience)));
        let looped = Box::new(Loop::new("told", Shared(told.clone()), inbox));
        let started = looped.start(&Handle::current(), Box::new(())).unwrap();
        (sender, told, started)
    }

    #[tokio::test]
    async fn a_task_takes_all_that_is_there_and_others_have_a_turn_after_each_of_its_own() {
        let (sender, told, started) = task(None);
        (1..=3).for_each(|message| sender.send(message).unwrap());
        yield_now().await;
        assert_eq!(told.lock().unwrap().0, [vec![255], vec![1, 2, 3]]);
        let many = TURN_MESSAGES_MAX + 3;
        (0..many).for_each(|_| sender.send(4).unwrap());
        sender.send(0).unwrap();
        yield_now().await;
        let turns = |told: &Mutex<Told>| {
            told.lock().unwrap().0[2..].iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(turns(&told), [TURN_MESSAGES_MAX], "it went on without asking others");
        while !started.is_finished() {
            yield_now().await;
        }
        assert_eq!(turns(&told), [TURN_MESSAGES_MAX, 4]);
        assert_eq!(started.join(), Some(()));
    }

    #[tokio::test]
    async fn a_task_has_its_turn_when_something_is_due_and_ends_with_its_senders() {
        let (sender, told, started) = task(Some(Duration::from_millis(2)));
        tokio::time::timeout(Duration::from_secs(10), async {
            while told.lock().unwrap().0.len() < 3 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            drop(sender);
            while !started.is_finished() {
                yield_now().await;
            }
        })
        .await
        .unwrap();
        assert_eq!(told.lock().unwrap().0[..3], [vec![255], vec![], vec![]]);
        assert_eq!(started.join(), Some(()));
    }

    #[tokio::test]
    async fn a_task_that_panicked_is_joined_to_nothing() {
        struct Wrong;

        impl Turns for Wrong {
            type Message = u8;

            fn patience(&mut self) -> Option<Duration> {
                None
            }

            fn take(&mut self, _: &mut Vec<u8>) -> Next {
                panic!("as the test wants");
            }
        }

        let (sender, inbox) = tasks::unbounded_channel();
        let looped = Box::new(Loop::new("wrong", Wrong, inbox));
        let started = looped.start(&Handle::current(), Box::new(())).unwrap();
        sender.send(1).unwrap();
        while !started.is_finished() {
            yield_now().await;
        }
        assert_eq!(started.join(), None);
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
