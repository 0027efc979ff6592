//! `etcdserverpb.Cluster`.

use quorate_core::ids::Revision;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::cluster_server::Cluster;
use tonic::{Request, Response, Status};

use super::{Front, service};

service! {
    impl Cluster for Front {
        {
            async fn member_list(
                &self,
                request: Request<pb::MemberListRequest>,
            ) -> Result<Response<pb::MemberListResponse>, Status> {
                let view = self.view(!request.into_inner().linearizable).await?;
                Ok(Response::new(pb::MemberListResponse {
                    // Membership has no revision.
                    header: Some(view.header(Revision(0))),
                    members: view.facts.members.to_vec(),
                }))
            }
        }
        absent member_add(pb::MemberAddRequest) -> pb::MemberAddResponse;
        absent member_remove(pb::MemberRemoveRequest) -> pb::MemberRemoveResponse;
        absent member_update(pb::MemberUpdateRequest) -> pb::MemberUpdateResponse;
        absent member_promote(pb::MemberPromoteRequest) -> pb::MemberPromoteResponse;
    }
}
