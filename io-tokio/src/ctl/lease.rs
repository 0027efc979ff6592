//! `lease`.

use std::ffi::OsString;

use clap::Subcommand;
use quorate_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseLeasesRequest,
    LeaseRevokeRequest, LeaseTimeToLiveRequest,
};
use tonic::{Response, Status};

use super::Session;
use super::client::{Line, Repeat, Trouble};
use super::number::{lease_of, parse_decimal};
use super::print::{Leases, Living, Remaining, Said};
use super::session_lease::INTERVALS_PER_TTL;
use crate::tool::format::Format;
use crate::tool::{self, Failure};

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Words {
    /// Makes a lease
    Grant {
        #[arg(value_name = "<ttl>")]
        words: Vec<OsString>,
    },
    /// Ends a lease, and its keys with it
    Revoke {
        #[arg(value_name = "<leaseID>")]
        words: Vec<OsString>,
    },
    /// Tells how long a lease lives on
    Timetolive {
        /// tell which keys live with it
        #[arg(long)]
        keys: bool,
        #[arg(value_name = "<leaseID> [options]")]
        words: Vec<OsString>,
    },
    /// Lists all leases
    List {
        #[arg(value_name = "")]
        words: Vec<OsString>,
    },
    /// Keeps a lease alive
    KeepAlive {
        /// only once
        #[arg(long)]
        once: bool,
        #[arg(value_name = "[options] <leaseID>")]
        words: Vec<OsString>,
    },
}

/// Does it.
pub(super) async fn run(words: Words, session: &Session) -> Result<(), Failure> {
    match words {
        Words::Grant { words } => grant(&words, session).await,
        Words::Revoke { words } => revoke(&words, session).await,
        Words::Timetolive { keys, words } => time_to_live(&words, keys, session).await,
        Words::List { .. } => list(session).await,
        Words::KeepAlive { once, words } => keep_alive(&words, once, session).await,
    }
}

async fn grant(words: &[OsString], session: &Session) -> Result<(), Failure> {
    let [ttl] = words else {
        return Err(Failure::words("lease grant command needs TTL argument"));
    };
    let ttl = parse_decimal(ttl).map_err(|why| Failure::words(format!("bad TTL ({why})")))?;
    let client = session.client().await?;
    let request = LeaseGrantRequest { ttl, id: 0 };
    let asked = async |line: Line| line.lease().lease_grant(request).await;
    let answer = client.call(session.within(), Repeat::IfLost, asked).await;
    let failed = |trouble| Failure::new(format!("failed to grant lease ({trouble})"));
    session.printer()?.print(&Living::from(answer.map_err(failed)?))
}

async fn revoke(words: &[OsString], session: &Session) -> Result<(), Failure> {
    let [id] = words else {
        return Err(Failure::words("lease revoke command needs 1 argument"));
    };
    let id = lease_of(id)?;
    let client = session.client().await?;
    let request = LeaseRevokeRequest { id };
    let asked = async |line: Line| line.lease().lease_revoke(request).await;
    let answer = client.call(session.within(), Repeat::IfLost, asked).await;
    let failed = |trouble| Failure::new(format!("failed to revoke lease ({trouble})"));
    let words = format!("lease {id:016x} revoked\n");
    session.printer()?.print(&Said::with_header(&answer.map_err(failed)?, words))
}

fn unreachable(trouble: Trouble) -> Failure {
    Failure::connection(trouble.to_string())
}

async fn time_to_live(words: &[OsString], keys: bool, session: &Session) -> Result<(), Failure> {
    let [id] = words else {
        return Err(Failure::words("lease timetolive command needs lease ID as argument"));
    };
    let client = session.client().await?;
    let request = LeaseTimeToLiveRequest { id: lease_of(id)?, keys };
    let asked = async |line: Line| line.lease().lease_time_to_live(request).await;
    let reply = client.call(None, Repeat::IfLost, asked).await.map_err(unreachable)?;
    session.printer()?.print(&Remaining { reply, has_keys: keys })
}

async fn list(session: &Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let asked = async |line: Line| line.lease().lease_leases(LeaseLeasesRequest {}).await;
    let answer = client.call(None, Repeat::IfLost, asked).await;
    session.printer()?.print(&Leases(answer.map_err(unreachable)?))
}

async fn keep_alive(words: &[OsString], once: bool, session: &Session) -> Result<(), Failure> {
    let [id] = words else {
        return Err(Failure::words("lease keep-alive command needs lease ID as argument"));
    };
    let id = lease_of(id)?;
    let client = session.client().await?;
    let printer = session.printer()?;
    let asked = async |line: Line| renew(&line, id).await;
    loop {
        let answer = client.call(None, Repeat::IfLost, asked).await.map_err(unreachable)?;
        let ttl = u64::try_from(answer.ttl).unwrap_or(0);
        if ttl == 0 && once {
            return Err(Failure::connection("etcdserver: requested lease not found"));
        }
        if ttl == 0 {
            break;
        }
        printer.print(&Living::from(answer))?;
        if once {
            return Ok(());
        }
        let interval = std::time::Duration::from_secs(ttl) / INTERVALS_PER_TTL;
        tokio::time::sleep(interval).await;
    }
    if printer.format == Format::Simple {
        tool::print(format!("lease {id:016x} expired or revoked.\n").as_bytes())?;
    }
    Ok(())
}

/// Keeps a lease alive once.
pub(super) async fn renew(
    line: &Line,
    id: i64,
) -> Result<Response<LeaseKeepAliveResponse>, Status> {
    let requests = tokio_stream::once(LeaseKeepAliveRequest { id });
    let mut answers = line.lease().lease_keep_alive(requests).await?.into_inner();
    let answer = answers.message().await?;
    answer.map(Response::new).ok_or_else(|| Status::unavailable("the stream ended"))
}
