//! What is asked in several messages, or about what an earlier answer named.

use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use quorate_proto::v3electionpb as election;

use super::words::{key, names};
use super::{Said, Side};

impl Side {
    /// Creates a watch, asks for progress, and cancels it.
    pub(super) fn converse(&self, who: &str, name: &str) -> Said {
        let message = |union| pb::WatchRequest { request_union: Some(union) };
        let create = pb::WatchCreateRequest { key: key(name), ..<_>::default() };
        let cancel =
            |watch_id| message(RequestUnion::CancelRequest(pb::WatchCancelRequest { watch_id }));
        let progress = message(RequestUnion::ProgressRequest(pb::WatchProgressRequest {}));
        let messages = [message(RequestUnion::CreateRequest(create)), progress, cancel(0)];
        let path = "/etcdserverpb.Watch/Watch";
        let answers = self.answers::<pb::WatchResponse>(who, path, &messages)?;
        Ok(format!("{answers:?}"))
    }

    /// Asks for a learner, whom later words call so.
    pub(super) fn add_learner(&mut self, who: &str, url: &str) -> Said {
        let peer_ur_ls = vec![url.to_owned()];
        let request = pb::MemberAddRequest { peer_ur_ls, is_learner: true };
        let path = "/etcdserverpb.Cluster/MemberAdd";
        let told = self.unary::<pb::MemberAddResponse>(who, path, &request)?;
        self.learner = told.member.map_or(0, |member| member.id);
        Ok(names(&told.members))
    }

    /// Words about the seat that the last successful campaign won.
    pub(super) fn ask_seat(&self, who: &str, words: &[&str]) -> Said {
        let leader = self.seat.clone();
        match *words {
            ["proclaim", value] => {
                let request = election::ProclaimRequest { leader, value: key(value) };
                let path = "/v3electionpb.Election/Proclaim";
                let told = self.unary::<election::ProclaimResponse>(who, path, &request);
                told.map(|told| format!("{told:?}"))
            }
            _ => {
                let request = election::ResignRequest { leader };
                let path = "/v3electionpb.Election/Resign";
                let told = self.unary::<election::ResignResponse>(who, path, &request);
                told.map(|told| format!("{told:?}"))
            }
        }
    }

    pub(super) fn observe(&self, who: &str, name: &str) -> Said {
        let request = election::LeaderRequest { name: key(name) };
        let path = "/v3electionpb.Election/Observe";
        let told = self.streamed::<election::LeaderResponse>(who, path, &request);
        told.map(|told| format!("{told:?}"))
    }

    pub(super) fn ask_health(&self, who: &str, words: &[&str]) -> Said {
        let request = HealthCheckRequest::default();
        match *words {
            ["list"] => {
                let path = "/grpc.health.v1.Health/List";
                let told = self.unary::<HealthListResponse>(who, path, &HealthListRequest {});
                told.map(|told| format!("{told:?}"))
            }
            ["watch"] => {
                let path = "/grpc.health.v1.Health/Watch";
                let told = self.streamed::<HealthCheckResponse>(who, path, &request);
                told.map(|told| format!("{told:?}"))
            }
            _ => {
                let path = "/grpc.health.v1.Health/Check";
                let told = self.unary::<HealthCheckResponse>(who, path, &request);
                told.map(|told| format!("{told:?}"))
            }
        }
    }
}
