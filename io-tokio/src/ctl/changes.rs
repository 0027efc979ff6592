//! Changes as a server tells them, from one server after the other.
//!
//! A watch whose connection breaks, or whose member has lost its leader, goes on where it was with
//! the next server that answers: nothing is missed, and nothing comes twice.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{
    WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::client::{Client, Trouble, plain};
use crate::channels::TOOL_INPUTS_MAX;

/// How long to rest before a broken watch goes on.
const RESUME_INTERVAL: Duration = Duration::from_millis(100);

/// A watch, until the server has enough of it.
pub(super) struct Changes<'a> {
    client: &'a Client,
    /// What is asked for when it goes on.
    create: WatchCreateRequest,
    answers: Option<Streaming<WatchResponse>>,
    asking: Asking,
}

/// The way to ask a running watch how far it is; another one after its connection broke.
#[derive(Clone, Default)]
pub(super) struct Asking(Rc<RefCell<Option<mpsc::Sender<WatchRequest>>>>);

impl Asking {
    /// Asks. A watch that does not run has nothing to say.
    pub(super) async fn progress(&self) {
        let request_union = Some(RequestUnion::ProgressRequest(WatchProgressRequest {}));
        let requests = self.0.borrow().clone();
        if let Some(requests) = requests {
            let _ = requests.send(WatchRequest { request_union }).await;
        }
    }
}

impl<'a> Changes<'a> {
    pub(super) fn new(client: &'a Client, create: WatchCreateRequest, asking: Asking) -> Self {
        Self { client, create, answers: None, asking }
    }

    /// What comes next: events, progress, or that the watch is over.
    pub(super) async fn next(&mut self) -> Result<WatchResponse, Trouble> {
        loop {
            match self.receive().await {
                Ok(answer) => {
                    self.note(&answer);
                    if answer.canceled || !answer.created {
                        return Ok(answer);
                    }
                }
                Err(status) => {
                    let trouble = Trouble::from(plain(status));
                    if !trouble.is_lost() {
                        return Err(trouble);
                    }
                    self.answers = None;
                    self.client.hang_up().await;
                    tokio::time::sleep(RESUME_INTERVAL).await;
                }
            }
        }
    }

    async fn receive(&mut self) -> Result<WatchResponse, Status> {
        let answers = match &mut self.answers {
            Some(answers) => answers,
            answers => answers.insert(Self::start(self.client, &self.create, &self.asking).await?),
        };
        let answer = answers.message().await?;
        answer.ok_or_else(|| Status::unavailable("the stream ended"))
    }

    async fn start(
        client: &Client,
        create: &WatchCreateRequest,
        asking: &Asking,
    ) -> Result<Streaming<WatchResponse>, Status> {
        let (requests, outgoing) = mpsc::channel(TOOL_INPUTS_MAX);
        let request_union = Some(RequestUnion::CreateRequest(create.clone()));
        let sent = requests.send(WatchRequest { request_union }).await;
        sent.map_err(|_| Status::unavailable("the watch ended before it began"))?;
        asking.0.replace(Some(requests));
        let line = client.line_with_leader().await;
        Ok(line.watch().watch(ReceiverStream::new(outgoing)).await?.into_inner())
    }

    /// Notes from where on the watch would go on.
    fn note(&mut self, answer: &WatchResponse) {
        let last = answer.events.iter().filter_map(|event| event.kv.as_ref()).next_back();
        let seen = match (last, &answer.header) {
            (Some(kv), _) => kv.mod_revision,
            (None, Some(header)) => header.revision,
            (None, None) => return,
        };
        let wanted = &mut self.create.start_revision;
        // What was asked for may still have to come when the watch begins.
        if !answer.created || *wanted == 0 {
            *wanted = (*wanted).max(seen + 1);
        }
    }
}
