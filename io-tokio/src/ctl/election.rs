//! `elect`: to take part in an election, or to see who wins it.

use std::ffi::OsString;

use clap::Args;
use quorate_proto::etcdserverpb::{RangeRequest, RangeResponse};
use quorate_proto::v3electionpb::{CampaignRequest, LeaderRequest, ResignRequest};

use super::client::{Client, Line, Repeat, Trouble};
use super::get::bytes;
use super::session_lease::SessionLease;
use super::{Session, signals};
use crate::tool::Failure;

/// Seconds a candidate outlives the command.
const TTL: i64 = 60;

/// Which election.
#[derive(Args, Debug)]
pub(super) struct Words {
    /// only observe
    #[arg(short, long)]
    listen: bool,
    #[arg(value_name = "<election-name> [proposal]")]
    words: Vec<OsString>,
}

/// Does it.
pub(super) async fn elect(words: Words, session: &Session) -> Result<(), Failure> {
    let (name, proposal) = match (words.words.as_slice(), words.listen) {
        ([name], true) => (name, None),
        ([name, proposal], false) => (name, Some(proposal)),
        ([_], false) => return Err(Failure::words("no proposal argument but -l not set")),
        ([_, _], true) => return Err(Failure::words("proposal given but -l is set")),
        _ => {
            return Err(Failure::words(
                "elect takes one election name argument and an optional proposal argument",
            ));
        }
    };
    let client = session.client().await?;
    let Some(proposal) = proposal else { return observe(name, &client, session).await };
    let lease = SessionLease::grant(&client, TTL).await?;
    tokio::select! {
        biased;
        done = campaign(name, proposal, &lease, &client, session) => done,
        () = lease.keep() => Err(Failure::new("elect: session expired")),
    }
}

async fn observe(name: &OsString, client: &Client, session: &Session) -> Result<(), Failure> {
    let mut ended = signals::ended()?;
    let printer = session.printer()?;
    let observed = async {
        let line = client.line().await;
        let request = LeaderRequest { name: bytes(name) };
        let answer = line.election().observe(request).await.map_err(Trouble::from)?;
        let mut leaders = answer.into_inner();
        while let Ok(Some(leader)) = leaders.message().await {
            let kvs = leader.kv.into_iter().collect();
            printer.print(&RangeResponse { header: leader.header, kvs, more: false, count: 0 })?;
        }
        Err(Failure::new("elect: observer lost"))
    };
    tokio::select! {
        biased;
        () = ended.wait() => Ok(()),
        lost = observed => lost,
    }
}

async fn campaign(
    name: &OsString,
    proposal: &OsString,
    lease: &SessionLease<'_>,
    client: &Client,
    session: &Session,
) -> Result<(), Failure> {
    let mut ended = signals::ended()?;
    let request = CampaignRequest { name: bytes(name), lease: lease.id, value: bytes(proposal) };
    let asked = async |line: Line| line.election().campaign(request.clone()).await;
    let won = tokio::select! {
        biased;
        () = ended.wait() => return Err(Failure::new("context canceled")),
        won = client.call(None, Repeat::Never, asked) => won?,
    };
    let key = won.leader.clone().unwrap_or_default().key;
    let request = RangeRequest { key, ..RangeRequest::default() };
    let asked = async |line: Line| line.kv().range(request.clone()).await;
    let found = client.call(None, Repeat::IfLost, asked).await?;
    session.printer()?.print(&found)?;
    ended.wait().await;
    let request = ResignRequest { leader: won.leader };
    let asked = async |line: Line| line.election().resign(request.clone()).await;
    Ok(client.call(None, Repeat::IfLost, asked).await.map(|_| ())?)
}
