//! Leases.

use quorate_core::Request;
use quorate_proto::etcdserverpb as pb;

use super::words::answer;
use super::{Client, Error, Result, unpack};

/// How to grant.
#[derive(Clone, Debug, Default)]
pub struct LeaseGrantOptions(pb::LeaseGrantRequest);

impl LeaseGrantOptions {
    /// As usual.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With that id, not one of the member's choice.
    #[must_use]
    pub fn with_id(mut self, id: i64) -> Self {
        self.0.id = id;
        self
    }
}

/// How to look at a lease.
#[derive(Clone, Debug, Default)]
pub struct LeaseTimeToLiveOptions(pb::LeaseTimeToLiveRequest);

impl LeaseTimeToLiveOptions {
    /// As usual.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With its keys.
    #[must_use]
    pub fn with_keys(mut self) -> Self {
        self.0.keys = true;
        self
    }
}

answer! {
    /// A lease was granted.
    LeaseGrantResponse, LeaseGrantResponse
}
answer! {
    /// A lease was revoked.
    LeaseRevokeResponse, LeaseRevokeResponse
}
answer! {
    /// A lease was renewed; or not, if its TTL is 0.
    LeaseKeepAliveResponse, LeaseKeepAliveResponse
}
answer! {
    /// How a lease is.
    LeaseTimeToLiveResponse, LeaseTimeToLiveResponse
}
answer! {
    /// All leases.
    LeaseLeasesResponse, LeaseLeasesResponse
}

/// The id and the TTL of a lease.
macro_rules! lease {
    ($name:ident) => {
        impl $name {
            /// The lease.
            #[must_use]
            pub const fn id(&self) -> i64 {
                self.0.id
            }

            /// How long it lives, in seconds.
            #[must_use]
            pub const fn ttl(&self) -> i64 {
                self.0.ttl
            }
        }
    };
}
lease!(LeaseGrantResponse);
lease!(LeaseKeepAliveResponse);
lease!(LeaseTimeToLiveResponse);

impl LeaseTimeToLiveResponse {
    /// How long it was granted for, in seconds.
    #[must_use]
    pub const fn granted_ttl(&self) -> i64 {
        self.0.granted_ttl
    }

    /// Its keys, if they were asked for.
    #[must_use]
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.0.keys.iter().map(|key| key.to_vec()).collect()
    }
}

impl LeaseLeasesResponse {
    /// The leases.
    #[must_use]
    pub fn leases(&self) -> Vec<LeaseStatus> {
        self.0.leases.iter().map(|lease| LeaseStatus(lease.id)).collect()
    }
}

/// One of all leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseStatus(i64);

impl LeaseStatus {
    /// The lease.
    #[must_use]
    pub const fn id(&self) -> i64 {
        self.0
    }
}

/// Asks for renewals.
#[derive(Debug)]
pub struct LeaseKeeper {
    id: i64,
    wishes: tokio::sync::mpsc::Sender<()>,
}

/// Tells of renewals.
#[derive(Debug)]
pub struct LeaseKeepAliveStream {
    id: i64,
    client: Client,
    wishes: tokio::sync::mpsc::Receiver<()>,
}

/// Renewals that were asked for and not told of yet.
const WISHES_MAX: usize = 100;

impl LeaseKeeper {
    /// The lease.
    #[must_use]
    pub const fn id(&self) -> i64 {
        self.id
    }

    /// Asks for a renewal; the stream tells of it.
    ///
    /// # Errors
    /// If the stream is gone.
    pub async fn keep_alive(&mut self) -> Result<()> {
        let gone = |_| Error::LeaseKeepAliveError(String::from("the stream is gone"));
        self.wishes.send(()).await.map_err(gone)
    }
}

impl LeaseKeepAliveStream {
    /// The next renewal; none once the keeper is gone.
    ///
    /// # Errors
    /// As `Client::put`.
    pub async fn message(&mut self) -> Result<Option<LeaseKeepAliveResponse>> {
        match self.wishes.recv().await {
            Some(()) => self.client.renew(self.id).await.map(Some),
            None => Ok(None),
        }
    }
}

impl Client {
    /// Grants a lease of so many seconds.
    ///
    /// # Errors
    /// As `put`, here and in what follows.
    pub async fn lease_grant(
        &mut self,
        ttl: i64,
        options: Option<LeaseGrantOptions>,
    ) -> Result<LeaseGrantResponse> {
        let request = pb::LeaseGrantRequest { ttl, ..options.unwrap_or_default().0 };
        unpack!(self.request(Request::LeaseGrant(request)).await?, LeaseGrant)
            .map(LeaseGrantResponse)
    }

    /// Ends a lease, and its keys with it.
    ///
    /// # Errors
    /// As `put`.
    pub async fn lease_revoke(&mut self, id: i64) -> Result<LeaseRevokeResponse> {
        let request = Request::LeaseRevoke(pb::LeaseRevokeRequest { id });
        unpack!(self.request(request).await?, LeaseRevoke).map(LeaseRevokeResponse)
    }

    /// Begins to keep a lease alive: it is renewed once.
    ///
    /// # Errors
    /// As `put`; and if there is no such lease.
    pub async fn lease_keep_alive(
        &mut self,
        id: i64,
    ) -> Result<(LeaseKeeper, LeaseKeepAliveStream)> {
        let first = self.renew(id).await?;
        if first.ttl() <= 0 {
            return Err(Error::LeaseKeepAliveError(String::from("there is no such lease")));
        }
        let (sender, wishes) = tokio::sync::mpsc::channel(WISHES_MAX);
        let stream = LeaseKeepAliveStream { id, client: self.clone(), wishes };
        Ok((LeaseKeeper { id, wishes: sender }, stream))
    }

    async fn renew(&mut self, id: i64) -> Result<LeaseKeepAliveResponse> {
        let request = Request::LeaseKeepAlive(pb::LeaseKeepAliveRequest { id });
        unpack!(self.request(request).await?, LeaseKeepAlive).map(LeaseKeepAliveResponse)
    }

    /// How long a lease will live.
    ///
    /// # Errors
    /// As `put`.
    pub async fn lease_time_to_live(
        &mut self,
        id: i64,
        options: Option<LeaseTimeToLiveOptions>,
    ) -> Result<LeaseTimeToLiveResponse> {
        let request = pb::LeaseTimeToLiveRequest { id, ..options.unwrap_or_default().0 };
        unpack!(self.request(Request::LeaseTimeToLive(request)).await?, LeaseTimeToLive)
            .map(LeaseTimeToLiveResponse)
    }

    /// All leases.
    ///
    /// # Errors
    /// As `put`.
    pub async fn leases(&mut self) -> Result<LeaseLeasesResponse> {
        let request = Request::LeaseLeases(pb::LeaseLeasesRequest {});
        unpack!(self.request(request).await?, LeaseLeases).map(LeaseLeasesResponse)
    }
}
