//! What is known of a cluster at one moment.

use std::time::{Duration, Instant};

use quorate_proto::etcdserverpb::{
    LeaseLeasesRequest, Member, MemberListRequest, StatusRequest, StatusResponse,
};

use crate::ctl::Session;
use crate::ctl::client::{Client, Line, Repeat};
use crate::ctl::metrics::{self, Page};
use crate::tool::Failure;

/// How long one member may take to answer: one that is down must not hold up the others.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// One look.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) cluster: u64,
    pub(super) leases: Option<usize>,
    pub(super) members: Vec<Seen>,
}

/// A member, and what it says.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) member: Member,
    pub(super) said: Result<Said, String>,
}

/// What a member says of itself.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) status: StatusResponse,
    /// Its page of metrics, if it shows one there.
    pub(super) page: Option<Page>,
}

/// Where samples come from.
pub(super) struct Source<'a> {
    session: &'a Session,
    client: Client,
}

impl<'a> Source<'a> {
    pub(super) async fn new(session: &'a Session) -> Result<Self, Failure> {
        Ok(Self { session, client: session.client().await?.quiet() })
    }

    /// Asks all members, at the same time.
    pub(super) async fn look(&self) -> Result<Sample, Failure> {
        let request = MemberListRequest { linearizable: false };
        let asked = async |line: Line| line.cluster().member_list(request).await;
        let listed = self.client.call(self.session.within(), Repeat::IfLost, asked).await?;
        let asked = async |line: Line| line.lease().lease_leases(LeaseLeasesRequest {}).await;
        let leases = self.client.call(Some(ANSWER_MAX), Repeat::Never, asked).await;
        let members = listed.members.into_iter().map(|member| self.see(member));
        Ok(Sample {
            at: Instant::now(),
            cluster: listed.header.map_or(0, |header| header.cluster_id),
            leases: leases.ok().map(|answer| answer.leases.len()),
            members: futures_util::future::join_all(members).await,
        })
    }

    async fn see(&self, member: Member) -> Seen {
        let said = match member.client_ur_ls.first() {
            Some(endpoint) => self.ask(endpoint).await,
            None => Err("not started".to_owned()),
        };
        Seen { member, said }
    }

    async fn ask(&self, endpoint: &str) -> Result<Said, String> {
        let client = self.client.at(endpoint);
        let asked = async |line: Line| line.maintenance().status(StatusRequest {}).await;
        let status = client.call(Some(ANSWER_MAX), Repeat::Never, asked);
        let (status, page) =
            tokio::join!(status, metrics::fetch(client.way(), endpoint, ANSWER_MAX));
        Ok(Said { status: status.map_err(|_| "no answer".to_owned())?, page: page.ok() })
    }
}
