//! `etcdserverpb.Maintenance`.

use std::time::Instant;

use quorate_core::View;
use quorate_core::auth::Book;
use quorate_core::error::Refusal;
use quorate_core::ids::Revision;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::downgrade_request::DowngradeAction;
use quorate_proto::etcdserverpb::maintenance_server::Maintenance;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};

use super::status::{self, code_and_text};
use super::{Answers, Front, ask, reads, snapshot};
use crate::version;

#[tonic::async_trait]
impl Maintenance for Front {
    type SnapshotStream = Answers<pb::SnapshotResponse>;

    async fn alarm(
        &self,
        request: Request<pb::AlarmRequest>,
    ) -> Result<Response<pb::AlarmResponse>, Status> {
        ask!(self, Alarm, request)
    }

    async fn status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let view = self.check_call(&request, Book::check_somebody).await?;
        Ok(Response::new(tell(&view, self.limits.quota_backend_bytes)))
    }

    async fn hash_kv(
        &self,
        request: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        let view = self.check_call(&request, Book::check_root).await?;
        let (since, revision) = (Instant::now(), Revision(request.into_inner().revision));
        let answer = in_turn(move || reads::hash_kv(&view, revision)).await?;
        self.metrics.disk.hash_kv.observe(since.elapsed());
        Ok(Response::new(answer))
    }

    async fn move_leader(
        &self,
        request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        ask!(self, MoveLeader, request)
    }

    /// Answered when it has begun. Nobody has to wait for it, so nobody is made to.
    async fn defragment(
        &self,
        request: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        self.check_call(&request, Book::check_root).await?;
        self.core.defragment().map_err(status::status)?;
        Ok(Response::new(pb::DefragmentResponse::default()))
    }

    async fn downgrade(
        &self,
        request: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        if DowngradeAction::try_from(request.get_ref().action).is_err() {
            self.check_call(&request, Book::check_root).await?;
            return Err(Status::unknown("etcdserver: unknown method"));
        }
        ask!(self, Downgrade, request)
    }

    async fn hash(
        &self,
        request: Request<pb::HashRequest>,
    ) -> Result<Response<pb::HashResponse>, Status> {
        let view = self.check_call(&request, Book::check_root).await?;
        let since = Instant::now();
        let answer = in_turn(move || reads::hash(&view)).await?;
        self.metrics.disk.hash.observe(since.elapsed());
        Ok(Response::new(answer))
    }

    async fn snapshot(
        &self,
        request: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        self.check_call(&request, Book::check_root).await?;
        let image = snapshot::pin(&self.core).await?;
        let messages = snapshot::stream(self.clone(), image)?;
        Ok(Response::new(Box::pin(messages)))
    }
}

/// Hashes that are taken at once: each reads the whole store and keeps a core busy.
const HASHES_AT_ONCE_MAX: usize = 2;
static HASHING: Semaphore = Semaphore::const_new(HASHES_AT_ONCE_MAX);

/// Takes a hash when it is its turn; who waits is bounded as streams are.
async fn in_turn<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let _turn = HASHING.acquire().await.map_err(|_| status::status(Refusal::Stopped))?;
    reads::off_loop(work).await
}

/// What a member says of itself.
fn tell(view: &View, quota_backend_bytes: u64) -> pb::StatusResponse {
    let facts = &view.facts;
    pb::StatusResponse {
        header: Some(view.header(reads::revision(view))),
        version: version::ETCD.to_owned(),
        db_size: signed(facts.db_size),
        leader: facts.role.leader.map_or(0, |leader| leader.get()),
        raft_index: facts.committed.get(),
        raft_term: facts.role.term.get(),
        raft_applied_index: facts.applied.get(),
        errors: troubles(view),
        db_size_in_use: signed(facts.db_size_in_use),
        is_learner: facts.members.iter().any(|m| m.id == facts.member.get() && m.is_learner),
        storage_version: version::storage(facts).to_owned(),
        // None is a negative number on the command line.
        db_size_quota: if quota_backend_bytes == 0 { -1 } else { signed(quota_backend_bytes) },
        downgrade_info: Some(pb::DowngradeInfo {
            enabled: facts.downgrade.is_some(),
            target_version: facts.downgrade.as_deref().unwrap_or_default().to_owned(),
        }),
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A line for a missing leader, one for each alarm.
fn troubles(view: &View) -> Vec<String> {
    let leaderless = match view.facts.role.leader {
        Some(_) => None,
        None => Some(code_and_text(Refusal::NoLeader).1.to_owned()),
    };
    leaderless.into_iter().chain(view.facts.alarms.iter().map(words)).collect()
}

/// An alarm as protobuf's text form has it: zeros left out, unknown kinds as numbers.
fn words(alarm: &pb::AlarmMember) -> String {
    let member = (alarm.member_id != 0).then(|| format!("memberID:{}", alarm.member_id));
    let kind = match pb::AlarmType::try_from(alarm.alarm) {
        Ok(pb::AlarmType::None) => None,
        Ok(kind) => Some(format!("alarm:{}", kind.as_str_name())),
        Err(_) => Some(format!("alarm:{}", alarm.alarm)),
    };
    member.into_iter().chain(kind).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use quorate_core::ids::{LogIndex, MemberId, Term};
    use quorate_core::input::Role;
    use quorate_core::view::Facts;

    use super::*;

    #[test]
    fn status_repeats_the_facts() {
        let view = reads::view_of(Facts {
            member: MemberId(5),
            applied: LogIndex(7),
            committed: LogIndex(9),
            role: Role { term: Term(2), leader: Some(MemberId(6)), is_leader: false },
            db_size: 100,
            db_size_in_use: 60,
            cluster_version: "3.6.0".into(),
            downgrade: Some("3.6.0".into()),
            ..Facts::default()
        });
        let found = tell(&view, 1 << 31);
        assert_eq!(found.header.as_ref().map(|h| (h.member_id, h.raft_term)), Some((5, 2)));
        assert_eq!((found.leader, found.raft_index, found.raft_applied_index), (6, 9, 7));
        assert_eq!((found.db_size, found.db_size_in_use), (100, 60));
        assert_eq!((found.version.as_str(), found.storage_version.as_str()), ("3.7.1", "3.6.0"));
        let target_version = "3.6.0".to_owned();
        let downgrade = pb::DowngradeInfo { enabled: true, target_version };
        assert_eq!(found.downgrade_info, Some(downgrade));
        assert_eq!(found.db_size_quota, 2_147_483_648);
        assert_eq!(tell(&view, 0).db_size_quota, -1);
        assert_eq!(found.errors, [""; 0]);
    }

    #[test]
    fn troubles_are_listed_as_etcd_words_them() {
        let alarm = |member_id, alarm| pb::AlarmMember { member_id, alarm };
        let alarms = [alarm(12, 1), alarm(0, 2), alarm(3, 7)].into();
        let view = reads::view_of(Facts { alarms, ..Facts::default() });
        let expected = [
            "etcdserver: no leader",
            "memberID:12 alarm:NOSPACE",
            "alarm:CORRUPT",
            "memberID:3 alarm:7",
        ];
        assert_eq!(troubles(&view), expected);
    }
}
