//! A lease that lives as long as a command does.

use std::time::Duration;

use quorate_proto::etcdserverpb::LeaseGrantRequest;
use tokio::time::Instant;

use super::client::{Client, Line, Repeat};
use super::lease::renew;
use crate::tool::Failure;

/// How often a lease is renewed while it would live.
pub(super) const INTERVALS_PER_TTL: u32 = 3;

/// A lease.
pub(super) struct SessionLease<'a> {
    client: &'a Client,
    pub(super) id: i64,
    ttl: Duration,
}

impl<'a> SessionLease<'a> {
    /// Makes one.
    pub(super) async fn grant(client: &'a Client, ttl: i64) -> Result<Self, Failure> {
        let request = LeaseGrantRequest { ttl, id: 0 };
        let asked = async |line: Line| line.lease().lease_grant(request).await;
        let granted = client.call(None, Repeat::IfLost, asked).await?;
        let ttl = Duration::from_secs(u64::try_from(granted.ttl).unwrap_or(0));
        Ok(Self { client, id: granted.id, ttl })
    }

    /// Keeps it alive; ends when it did not live on.
    pub(super) async fn keep(&self) {
        let mut lives_until = Instant::now() + self.ttl;
        while Instant::now() < lives_until {
            tokio::time::sleep(self.ttl / INTERVALS_PER_TTL).await;
            let left = lives_until.saturating_duration_since(Instant::now());
            let asked = async |line: Line| renew(&line, self.id).await;
            match self.client.call(Some(left), Repeat::IfLost, asked).await {
                Ok(answer) if answer.ttl > 0 => lives_until = Instant::now() + self.ttl,
                // Somebody else ended it.
                Ok(_) => return,
                Err(_) => {}
            }
        }
    }
}
