//! `etcdserverpb.Cluster`.

use std::time::{SystemTime, UNIX_EPOCH};

use quorate_core::auth::Book;
use quorate_core::error::Refusal;
use quorate_core::ids::Revision;
use quorate_core::input::MemberAddition;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::cluster_server::Cluster;
use tonic::{Request, Response, Status};

use super::status::status;
use super::{Front, ask};
use crate::bootstrap;
use crate::cli::Url;

#[tonic::async_trait]
impl Cluster for Front {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let is_serializable = !request.get_ref().linearizable;
        let view = self.admit(is_serializable, &request, Book::check_somebody).await?;
        Ok(Response::new(pb::MemberListResponse {
            // Membership has no revision.
            header: Some(view.header(Revision(0))),
            members: view.facts.members.to_vec(),
        }))
    }

    async fn member_add(
        &self,
        request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        let addition = addition(request.get_ref().clone()).map_err(status)?;
        ask!(self, MemberAdd, request.map(|_| addition))
    }

    async fn member_remove(
        &self,
        request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        ask!(self, MemberRemove, request)
    }

    async fn member_update(
        &self,
        request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        ask!(self, MemberUpdate, request)
    }

    async fn member_promote(
        &self,
        request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        let answer = ask!(self, MemberPromote, request);
        match &answer {
            Ok(_) => self.metrics.promotions.add(1),
            Err(status) => self.metrics.note_promotion_failure(status.message()),
        }
        answer
    }
}

/// A new member: its URLs as etcd writes them, and its id from them and the wall clock.
fn addition(request: pb::MemberAddRequest) -> Result<MemberAddition, Refusal> {
    let urls: Result<Vec<Url>, _> = request.peer_ur_ls.iter().map(|url| Url::parse(url)).collect();
    let mut peer_ur_ls: Vec<String> =
        urls.map_err(|_| Refusal::MemberBadUrls)?.iter().map(Url::to_string).collect();
    if peer_ur_ls.is_empty() {
        return Err(Refusal::MemberBadUrls);
    }
    peer_ur_ls.sort();
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let id = bootstrap::member_id(&peer_ur_ls, &since_epoch.as_secs().to_string());
    Ok(MemberAddition { id, request: pb::MemberAddRequest { peer_ur_ls, ..request } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_new_members_are_judged_and_sorted() {
        let added = |urls: &[&str]| {
            let peer_ur_ls = urls.iter().map(|url| (*url).to_owned()).collect();
            addition(pb::MemberAddRequest { peer_ur_ls, is_learner: true })
        };
        let found = added(&["http://127.0.0.1:3", "http://127.0.0.1:2"]).unwrap();
        assert_eq!(found.request.peer_ur_ls, ["http://127.0.0.1:2", "http://127.0.0.1:3"]);
        assert!(found.request.is_learner && found.id.get() != 0);
        for bad in [&[][..], &[""], &["127.0.0.1:2"], &["http://127.0.0.1"], &["ftp://a:1"]] {
            assert_eq!(added(bad), Err(Refusal::MemberBadUrls), "{bad:?}");
        }
    }
}
