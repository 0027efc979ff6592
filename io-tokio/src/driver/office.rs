//! Post offices: what one I/O thread and the state's loop have for each other travels in lots.
//!
//! ```text
//! I/O thread:  call, call, call --> lot --(when all that were ready have run)--> state
//!              call, call, call <-- office <-- lot of answers --(end of a turn)-- state
//! ```
//!
//! Waking a thread costs a system call on this side and a switch on the other, more than most
//! calls cost otherwise: so it is done once a lot. A thread without an office hands each call in
//! by itself and is woken for each answer. Frames of watch streams travel as answers do.
//!
//! Invariants:
//! - Nothing waits in a lot but for tasks that are ready: no timer, no minimum size.
//! - What is in lots is bounded: calls and answers took their place in the clients' share, and of a
//!   stream's frames there are no more than the machine gives away before it is told of room.
//! - An office that closes answers nobody: whoever waits learns that the server is stopping.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use quorate_core::error::Refusal;
use quorate_core::ids::StreamId;
use quorate_core::{Response, StateInput, View};
use quorate_proto::etcdserverpb::WatchResponse;
use tokio::sync::{mpsc, oneshot};

use super::post::{Shares, ToState};

/// Where a thread's answers go.
pub(super) type Mailbox = mpsc::UnboundedSender<Vec<Delivery>>;

/// The way back to a caller.
pub(super) struct Answer<T> {
    pub(super) caller: oneshot::Sender<Result<T, Refusal>>,
    /// The caller's thread's, if it has an office.
    pub(super) mailbox: Option<Mailbox>,
}

/// The way to a watch stream.
pub(super) struct Listener {
    pub(super) frames: Arc<mpsc::Sender<WatchResponse>>,
    /// The stream's thread's, if it has an office.
    pub(super) mailbox: Option<Mailbox>,
}

/// An answer and its caller, or a frame and its stream.
pub(super) enum Delivery {
    Call(oneshot::Sender<Result<Response, Refusal>>, Result<Response, Refusal>),
    Read(oneshot::Sender<Result<View, Refusal>>, Result<View, Refusal>),
    Frame(StreamId, Arc<mpsc::Sender<WatchResponse>>, WatchResponse),
}

impl Delivery {
    /// A caller that is gone wants no answer. A stream that takes no frame, because it is full or
    /// gone, is to be closed: comes back with what the state has to hear of that.
    fn make(self) -> Option<ToState> {
        match self {
            Self::Call(caller, answer) => drop(caller.send(answer)),
            Self::Read(caller, answer) => drop(caller.send(answer)),
            Self::Frame(stream, frames, frame) => {
                let lost = frames.try_send(frame).is_err();
                return lost.then_some(ToState::After(StateInput::StreamClosed { stream }));
            }
        }
        None
    }
}

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

/// The office of this thread.
struct Here {
    /// Tells whose it is.
    shares: Arc<Shares>,
    mailbox: Mailbox,
    lot: Vec<ToState>,
    waker: Waker,
}

fn with_here<T>(shares: &Arc<Shares>, work: impl FnOnce(&mut Here) -> T) -> Option<T> {
    let of_core = |here: &mut Option<Here>| {
        here.as_mut().filter(|here| Arc::ptr_eq(&here.shares, shares)).map(work)
    };
    // A thread that is ending has none any more.
    HERE.try_with(|here| of_core(&mut here.borrow_mut())).ok().flatten()
}

/// This thread's mailbox, if it has an office.
pub(super) fn mailbox(shares: &Arc<Shares>) -> Option<Mailbox> {
    with_here(shares, |here| here.mailbox.clone())
}

/// Adds a message to this thread's lot; without an office it comes back.
pub(super) fn hand_in(shares: &Arc<Shares>, message: ToState) -> Option<ToState> {
    let mut message = Some(message);
    with_here(shares, |here| {
        if here.lot.is_empty() {
            here.waker.wake_by_ref();
        }
        here.lot.extend(message.take());
    });
    message
}

/// Keeps an office for the thread it is polled on, which must be the only one of its runtime;
/// `pass_on` takes the lots.
pub(super) async fn keep(shares: Arc<Shares>, pass_on: impl Fn(Vec<ToState>)) {
    let (mailbox, mut answers) = mpsc::unbounded_channel::<Vec<Delivery>>();
    let waker = poll_fn(|cx: &mut Context<'_>| Poll::Ready(cx.waker().clone())).await;
    let here = Here { shares: Arc::clone(&shares), mailbox, lot: Vec::new(), waker };
    HERE.set(Some(here));
    let _closing = Closing(Arc::clone(&shares));
    poll_fn(|cx| {
        while let Poll::Ready(Some(lot)) = answers.poll_recv(cx) {
            let back: Vec<ToState> = lot.into_iter().filter_map(Delivery::make).collect();
            if !back.is_empty() {
                pass_on(back);
            }
        }
        let lot = with_here(&shares, |here| {
            here.waker.clone_from(cx.waker());
            std::mem::take(&mut here.lot)
        });
        lot.into_iter().filter(|lot| !lot.is_empty()).for_each(&pass_on);
        Poll::Pending
    })
    .await
}

/// Closes the office, unless the thread has another's by now.
struct Closing(Arc<Shares>);

impl Drop for Closing {
    fn drop(&mut self) {
        // A thread that is ending has none any more.
        let _ = HERE
            .try_with(|here| here.borrow_mut().take_if(|here| Arc::ptr_eq(&here.shares, &self.0)));
    }
}

/// Answers gathered during a turn, by mailbox. They leave at its end, when the view that shows
/// what they tell of is published: who was answered reads what it wrote.
#[derive(Default)]
pub(super) struct Outgoing {
    lots: Vec<(Mailbox, Vec<Delivery>)>,
    /// Those of threads without an office.
    single: Vec<Delivery>,
}

impl Outgoing {
    /// Notes a delivery for the end of the turn.
    pub(super) fn add(&mut self, mailbox: Option<&Mailbox>, delivery: Delivery) {
        let Some(mailbox) = mailbox else { return self.single.push(delivery) };
        match self.lots.iter_mut().find(|(known, _)| known.same_channel(mailbox)) {
            Some((_, lot)) => lot.push(delivery),
            None => self.lots.push((mailbox.clone(), vec![delivery])),
        }
    }

    /// Sends each mailbox its lot. What could not be delivered comes back as what the state has to
    /// hear of that.
    pub(super) fn send(&mut self, back: &mut Vec<ToState>) {
        back.extend(self.single.drain(..).filter_map(Delivery::make));
        for (mailbox, lot) in self.lots.drain(..) {
            if let Err(returned) = mailbox.send(lot) {
                back.extend(returned.0.into_iter().filter_map(Delivery::make));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use quorate_core::Request;
    use quorate_core::auth::Identity;
    use quorate_core::ids::Token;
    use quorate_proto::etcdserverpb::{PutRequest, PutResponse};
    use tokio::task::yield_now;

    fn call(token: u64, shares: &Arc<Shares>) -> (ToState, oneshot::Receiver<Answered>) {
        let (caller, answered) = oneshot::channel();
        let answer = Answer { caller, mailbox: mailbox(shares) };
        let request = Request::Put(PutRequest::default());
        let (token, who) = (Token(token), Ok(Identity::default()));
        (ToState::Call { token, who, request, answer }, answered)
    }

    type Answered = Result<Response, Refusal>;

    fn tokens(lot: &[ToState]) -> Vec<u64> {
        let token = |message: &ToState| match message {
            ToState::Call { token, .. } => token.0,
            _ => 0,
        };
        lot.iter().map(token).collect()
    }

    #[tokio::test]
    async fn calls_leave_in_one_lot_and_their_answers_come_back_in_one() {
        let shares = Arc::new(Shares::default());
        let (passed, lots) = std::sync::mpsc::channel();
        let pass_on = move |lot| passed.send(lot).expect("the test listens");
        let office = tokio::spawn(keep(Arc::clone(&shares), pass_on));
        yield_now().await;

        let (one, mut first) = call(1, &shares);
        let (two, mut second) = call(2, &shares);
        assert!(hand_in(&shares, one).is_none() && hand_in(&shares, two).is_none());
        assert!(lots.try_recv().is_err(), "the office has not run yet");
        yield_now().await;
        let lot: Vec<ToState> = lots.try_recv().expect("the office has run");
        assert_eq!(tokens(&lot), [1, 2]);

        let mut outgoing = Outgoing::default();
        for message in lot {
            let ToState::Call { answer, .. } = message else { continue };
            let good = Ok(Response::Put(PutResponse::default()));
            outgoing.add(answer.mailbox.as_ref(), Delivery::Call(answer.caller, good));
        }
        assert_eq!(outgoing.lots.len(), 1);
        outgoing.send(&mut Vec::new());
        assert!(first.try_recv().is_err(), "the office has not run yet");
        yield_now().await;
        assert!(first.try_recv().is_ok() && second.try_recv().is_ok());
        office.abort();
    }

    #[tokio::test]
    async fn frames_travel_in_lots_and_a_stream_that_takes_none_is_to_be_closed() {
        let shares = Arc::new(Shares::default());
        let (passed, lots) = std::sync::mpsc::channel();
        let pass_on = move |lot| passed.send(lot).expect("the test listens");
        let office = tokio::spawn(keep(Arc::clone(&shares), pass_on));
        yield_now().await;

        let mailbox = mailbox(&shares);
        let (frames, mut received) = mpsc::channel(2);
        let frames = Arc::new(frames);
        let mut outgoing = Outgoing::default();
        for watch_id in 1..=3 {
            let frame = WatchResponse { watch_id, ..WatchResponse::default() };
            let delivery = Delivery::Frame(StreamId(7), Arc::clone(&frames), frame);
            outgoing.add(mailbox.as_ref(), delivery);
        }
        let mut undelivered = Vec::new();
        outgoing.send(&mut undelivered);
        assert!(undelivered.is_empty() && received.try_recv().is_err());
        yield_now().await;
        let taken = [received.try_recv(), received.try_recv()].map(|frame| frame.unwrap().watch_id);
        assert_eq!(taken, [1, 2]);
        let back: Vec<ToState> = lots.try_recv().expect("the third found no room");
        let [ToState::After(StateInput::StreamClosed { stream: StreamId(7) })] = &back[..] else {
            panic!("the state hears that stream 7 is closed, and nothing else")
        };
        office.abort();
    }

    #[tokio::test]
    async fn without_an_office_of_that_core_a_call_comes_back() {
        let (shares, others) = (Arc::new(Shares::default()), Arc::new(Shares::default()));
        let office = tokio::spawn(keep(Arc::clone(&others), drop));
        yield_now().await;
        let (message, _answered) = call(1, &shares);
        assert_eq!(tokens(hand_in(&shares, message).as_slice()), [1]);
        office.abort();
        let _ = office.await;
        let (message, _answered) = call(2, &others);
        assert_eq!(tokens(hand_in(&others, message).as_slice()), [2]);
    }

    #[tokio::test]
    async fn a_closed_office_leaves_answers_to_whoever_has_them() {
        let shares = Arc::new(Shares::default());
        let office = tokio::spawn(keep(Arc::clone(&shares), drop));
        yield_now().await;
        let (message, mut answered) = call(1, &shares);
        office.abort();
        let _ = office.await;
        let ToState::Call { answer, .. } = message else { return };
        let mut outgoing = Outgoing::default();
        let refused = Err(Refusal::Stopped);
        outgoing.add(answer.mailbox.as_ref(), Delivery::Call(answer.caller, refused));
        outgoing.send(&mut Vec::new());
        assert!(matches!(answered.try_recv(), Ok(Err(Refusal::Stopped))));
    }
}
