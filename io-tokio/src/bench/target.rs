//! Whom the load goes to: servers, the way to them and who one is there, as the client has it.

use std::net::SocketAddr;

use quorate_proto::etcdserverpb::StatusRequest;

use super::{Line, Outcome};
use crate::client::reach::Reach;
use crate::client::way::{Secure, Way};
use crate::client::{Client, Limits, told};
use crate::tool::Failure;
use crate::transport::Patience;

/// Servers of one cluster.
pub struct Target {
    client: Client,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.client.endpoints()).finish()
    }
}

impl Target {
    /// Servers at these ports, without TLS.
    ///
    /// # Errors
    /// There are none.
    pub fn of_ports(ports: &[SocketAddr]) -> Outcome<Self> {
        let way = Way::new(&Secure::default(), Patience::default())?;
        let endpoints: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let limits = Limits::new(Patience::default().connect);
        let client = Client::new(way, &endpoints, None, limits);
        Ok(Self { client: client.map_err(|failure| failure.text)? })
    }

    /// Those that flags name, all of which have to answer; only the leader if nobody else is
    /// meant.
    pub(super) async fn open(reach: &Reach, is_leader_only: bool) -> Result<Self, Failure> {
        let endpoints = reach.endpoints().await?;
        let client = Client::new(reach.way()?, &endpoints, reach.identity()?, reach.limits())?;
        let mut target = Self { client };
        let mut leader = None;
        for number in 0..target.count() {
            let asked = tokio::time::timeout(reach.dial_timeout, target.leads(number)).await;
            let late = || format!("no answer within {:?}", reach.dial_timeout);
            let leads = asked.map_err(|_| late()).flatten();
            let endpoint = || target.client.endpoints().nth(number).unwrap_or_default().to_owned();
            match leads {
                Ok(true) => leader = Some(endpoint()),
                Ok(false) => {}
                Err(why) => return Err(Failure::connection(format!("{}: {why}", endpoint()))),
            }
        }
        if is_leader_only {
            let leader = leader.ok_or_else(|| Failure::new("no endpoint says that it leads"))?;
            target = Self { client: target.client.at(&leader) };
        }
        let introduced = target.client.introduce().await;
        introduced.map_err(|trouble| Failure::connection(trouble.to_string()))?;
        Ok(target)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.client.endpoints().count()
    }

    /// Their names.
    pub(super) fn endpoints(&self) -> Vec<&str> {
        self.client.endpoints().collect()
    }

    /// A connection of its own to one of them, by turns, driven by the current runtime.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn line(&self, number: usize) -> Outcome<Line> {
        self.client.direct(number).await
    }

    /// Whether that one says that it is the leader.
    ///
    /// # Errors
    /// It cannot be reached, or does not answer.
    pub async fn leads(&self, number: usize) -> Outcome<bool> {
        let asked = self.line(number).await?.maintenance().status(StatusRequest {}).await;
        let status = asked.map_err(|status| told(&status))?.into_inner();
        Ok(status.header.is_some_and(|header| header.member_id == status.leader))
    }
}
