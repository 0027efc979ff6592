//! Executing recipes: every step is made as the client itself would make it, by way of the
//! services it could call, with the metadata of its call.
//!
//! ```text
//! Lock, Campaign    a task of its own: it outlives the call's future by what is to be taken back
//! Observe           steps are taken when the client asks for more
//! all others        steps are taken within the call
//! ```
//!
//! A task ends with its call, or, if the client leaves, after at most one request under way and
//! one that takes the key back; both are among the machines' pending requests, which are bounded.

use std::future::Future;
use std::pin::pin;

use futures_util::FutureExt;
use quorate_core::error::Refusal;
use quorate_core::recipe::{Answer, Failure, Recipe, Step};
use quorate_core::{Request, Response};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::kv_server::Kv;
use quorate_proto::etcdserverpb::lease_server::Lease;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use tokio::sync::oneshot;
use tonic::metadata::MetadataMap;
use tonic::{Code, Extensions, Status};

use super::status::{failure_status, status};
use super::{Front, Shown};
use crate::driver::WatchStream;

/// Who calls a recipe, and makes its steps.
pub(super) struct Caller {
    front: Front,
    metadata: MetadataMap,
    extensions: Extensions,
    watch: Option<WatchStream>,
}

/// What a recipe with one answer finds out.
type Outcome<T> = Result<T, Failure<Status>>;

impl Caller {
    /// Whoever made this call, and what it asks.
    pub(super) fn of<T>(front: &Front, call: tonic::Request<T>) -> (Self, T) {
        let (metadata, extensions, message) = call.into_parts();
        (Self { front: front.clone(), metadata, extensions, watch: None }, message)
    }

    /// Runs a recipe that may wait, and that has something to take back when the client leaves:
    /// then this future is dropped.
    pub(super) async fn see_through<T, R>(
        self,
        begun: (R, Step<Outcome<T>>),
    ) -> Result<tonic::Response<T>, Status>
    where
        T: Send + 'static,
        R: Recipe<Status, Yield = Outcome<T>> + Send + 'static,
    {
        let (mut answer, answered) = oneshot::channel();
        tokio::spawn(async move {
            let outcome = self.run_until(begun, answer.closed()).await;
            // The client may have gone meanwhile.
            let _ = answer.send(outcome);
        });
        answered.await.unwrap_or_else(|_| Err(status(Refusal::Stopped)))
    }

    /// Runs a recipe that leaves nothing behind.
    pub(super) async fn run<T, R>(
        self,
        begun: (R, Step<Outcome<T>>),
    ) -> Result<tonic::Response<T>, Status>
    where
        R: Recipe<Status, Yield = Outcome<T>>,
    {
        self.run_until(begun, std::future::pending()).await
    }

    async fn run_until<T, R>(
        mut self,
        (mut recipe, mut step): (R, Step<Outcome<T>>),
        gone: impl Future<Output = ()>,
    ) -> Result<tonic::Response<T>, Status>
    where
        R: Recipe<Status, Yield = Outcome<T>>,
    {
        // Told once.
        let mut gone = pin!(gone.fuse());
        loop {
            let answer = match step {
                Step::Yield(outcome) => {
                    return outcome.map(tonic::Response::new).map_err(failure_status);
                }
                _ if gone.as_mut().now_or_never().is_some() => Answer::ClientGone,
                // Never abandoned: only its answer tells what there is to take back.
                step @ Step::Request(_) => self.take(step).await,
                step => tokio::select! {
                    biased;
                    () = &mut gone => Answer::ClientGone,
                    answer = self.take(step) => answer,
                },
            };
            step = recipe.handle(answer);
        }
    }

    /// Takes one step.
    pub(super) async fn take<T>(&mut self, step: Step<T>) -> Answer<Status> {
        let answer = match step {
            Step::Request(request) => self.request(request).await.map(Answer::Response),
            Step::Read(range) => {
                let found = self.front.range(self.call(range)).await;
                found.map(|found| Answer::Read(found.into_inner()))
            }
            Step::Watch(create) => match self.open(create).await {
                Ok(()) => Ok(self.listen().await),
                Err(status) => Err(status),
            },
            Step::Listen => Ok(self.listen().await),
            Step::Rest(duration) => {
                tokio::time::sleep(duration).await;
                Ok(Answer::Rested)
            }
            Step::Yield(_) => Ok(Answer::Taken),
        };
        answer.unwrap_or_else(|status| match status.code() {
            Code::Unavailable => Answer::Unavailable(status),
            _ => Answer::Refused(status),
        })
    }

    async fn request(&self, request: Request) -> Result<Response, Status> {
        Ok(match request {
            Request::Txn(txn) => Response::Txn(self.front.txn(self.call(txn)).await?.into_inner()),
            Request::DeleteRange(delete) => Response::DeleteRange(
                self.front.delete_range(self.call(delete)).await?.into_inner(),
            ),
            Request::LeaseGrant(grant) => {
                Response::LeaseGrant(self.front.lease_grant(self.call(grant)).await?.into_inner())
            }
            other => self.front.request(&self.shown(), other).await?,
        })
    }

    /// A call like the client's own.
    fn call<T>(&self, message: T) -> tonic::Request<T> {
        tonic::Request::from_parts(self.metadata.clone(), self.extensions.clone(), message)
    }

    fn shown(&self) -> Shown {
        Shown::by(&self.metadata, &self.extensions)
    }

    async fn open(&mut self, create: pb::WatchCreateRequest) -> Result<(), Status> {
        let who = self.front.identify(&self.shown()).await;
        let opened = self.front.core.open_stream(self.front.limits.message_bytes_max);
        let stream = opened.map_err(status)?;
        let request_union = Some(RequestUnion::CreateRequest(create));
        stream.entry().send(who, pb::WatchRequest { request_union }).map_err(status)?;
        self.watch = Some(stream);
        Ok(())
    }

    async fn listen(&mut self) -> Answer<Status> {
        let Some(watch) = &mut self.watch else { return Answer::WatchLost };
        watch.recv().await.map_or(Answer::WatchLost, Answer::Frame)
    }
}
