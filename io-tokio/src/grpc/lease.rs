//! `etcdserverpb.Lease`.

use futures_util::stream;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::lease_server::Lease;
use tonic::{Request, Response, Status, Streaming};

use super::status::message_status;
use super::{Answers, Front, Shown, ask, span};
use crate::metrics::Calls;

#[tonic::async_trait]
impl Lease for Front {
    type LeaseKeepAliveStream = Answers<pb::LeaseKeepAliveResponse>;

    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        let _part = self.part("lease_grant", &request, span::of_grant);
        let answer = ask!(self, LeaseGrant, request)?;
        self.metrics.work.note_lease(answer.get_ref().ttl);
        Ok(answer)
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        let _part = self.part("lease_revoke", &request, span::of_revoke);
        ask!(self, LeaseRevoke, request)
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let shown = Shown::of(&request);
        let beats = Beats { front: self.clone(), shown, messages: request.into_inner() };
        Ok(Response::new(Box::pin(stream::unfold(Some(beats), |beats| async {
            let mut beats = beats?;
            match beats.next().await {
                Ok(Some(answer)) => Some((Ok(answer), Some(beats))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        }))))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        ask!(self, LeaseTimeToLive, request)
    }

    async fn lease_leases(
        &self,
        request: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        ask!(self, LeaseLeases, request)
    }
}

/// One keep-alive stream: an answer for each message, in order.
struct Beats {
    front: Front,
    shown: Shown,
    messages: Streaming<pb::LeaseKeepAliveRequest>,
}

impl Beats {
    /// The next answer; `None` when the client has no more to ask.
    async fn next(&mut self) -> Result<Option<pb::LeaseKeepAliveResponse>, Status> {
        let method = Calls::find("/etcdserverpb.Lease/LeaseKeepAlive");
        let message = self.messages.message().await.map_err(|end| {
            self.front.metrics.note_stream_failure("receive", "lease-keepalive");
            message_status(end)
        })?;
        let Some(message) = message else { return Ok(None) };
        method.inspect(|method| self.front.metrics.calls.received(*method));
        let answer = ask!(self.front, LeaseKeepAlive, message, &self.shown)?.into_inner();
        method.inspect(|method| self.front.metrics.calls.sent(*method));
        Ok(Some(answer))
    }
}
