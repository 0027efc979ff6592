//! Meeting the other members at a discovery service: any etcd that runs already.
//!
//! ```text
//!   /_etcd/registry/<token>/_config/size      "3"            written by whoever plans the cluster
//!   /_etcd/registry/<token>/members/<id>      name=URL,...   written by each member
//! ```
//!
//! The first `size` members in the order in which their keys were created are the cluster. Each
//! writes its own key, then waits until there are so many.
//!
//! Invariants
//! - A member that finds the cluster full writes nothing; one that wrote and was too late is told.
//! - What cannot be asked for now is asked for again, ever less often, for ever: the service may
//!   start later than the members do. What can never be is an error.
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/api/v3discovery/discovery.go`

use std::time::Duration;

use bytes::Bytes;
use quorate_core::ids::MemberId;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use quorate_proto::etcdserverpb::{
    PutRequest, RangeRequest, RangeResponse, WatchCreateRequest, WatchRequest,
};
use tokio_stream::StreamExt as _;
use tonic::{Response, Status};
use tracing::{info, warn};

use super::BootstrapError;
use crate::cli::{Discovery, Url, parse_members};
use crate::client::way::Way;
use crate::client::{Client, Identity, Limits, Line, Repeat, Trouble};
use crate::transport::Patience;

/// The longest rest between two attempts is 2 to the power of this, in seconds.
const RETRIES_DOUBLED_MAX: u32 = 8;

/// Members, each with its URLs.
type Members = Vec<(String, Vec<Url>)>;

/// Writes this member down as `name=URL,...` and waits for the others.
pub(super) async fn meet(
    service: &Discovery,
    own: MemberId,
    written: &str,
) -> Result<Members, BootstrapError> {
    info!(token = service.token, "bootstrapping cluster using v3 discovery");
    let mut registry = Registry::open(service, own).await?;
    // Whoever comes too late leaves no trace.
    registry.look().await?;
    registry.register(written).await;
    loop {
        let found = registry.look().await?;
        if found.members.len() >= found.size {
            let all = found.members[..found.size].join(",");
            return parse_members(&all)
                .map_err(|_| refused(format!("invalid peer URL among {all}")));
        }
        info!(size = found.size, found = found.members.len(), "waiting for peers from discovery");
        registry.wait_for_change(found.revision).await;
    }
}

fn refused(why: impl Into<String>) -> BootstrapError {
    BootstrapError::Discovery(why.into())
}

/// What stands in the registry.
struct Found {
    size: usize,
    /// What members wrote, in the order in which they did.
    members: Vec<String>,
    revision: i64,
}

/// The registry of one cluster, as one member sees it.
struct Registry {
    client: Client,
    prefix: String,
    own_key: String,
    request_timeout: Duration,
    retries: u32,
}

impl Registry {
    /// Says who one is there, as soon as somebody hears it.
    async fn open(service: &Discovery, own: MemberId) -> Result<Self, BootstrapError> {
        let patience = Patience::of_client(
            service.dial_timeout,
            service.keepalive_time,
            service.keepalive_timeout,
        );
        let way = Way::new(&service.secure, patience).map_err(refused)?;
        let identity =
            service.user.clone().map(|(name, password)| Identity::Password { name, password });
        let limits = Limits::new(service.request_timeout);
        let client = Client::new(way, &service.endpoints, identity, limits);
        let client = client.map_err(|failure| refused(failure.text))?.quiet();
        let prefix = format!("/_etcd/registry/{}", service.token);
        let mut registry = Self {
            client,
            own_key: format!("{prefix}/members/{own}"),
            prefix,
            request_timeout: service.request_timeout,
            retries: 0,
        };
        while let Err(trouble) = registry.client.introduce().await {
            if !matches!(trouble, Trouble::Late) && !trouble.is_lost() {
                return Err(refused(trouble.to_string()));
            }
            registry.rest("authentication", &trouble).await;
        }
        Ok(registry)
    }

    /// Reads the size and the members, until that succeeds.
    async fn look(&mut self) -> Result<Found, BootstrapError> {
        let size = loop {
            let key = format!("{}/_config/size", self.prefix);
            match self.range(key, false).await {
                Ok(found) => break parse_size(&found)?,
                Err(trouble) => self.rest("cluster status check", &trouble).await,
            }
        };
        let found = loop {
            match self.range(format!("{}/members", self.prefix), true).await {
                Ok(found) => break found,
                Err(trouble) => self.rest("cluster status check", &trouble).await,
            }
        };
        self.retries = 0;
        place(&self.own_key, size, found)
    }

    async fn register(&mut self, written: &str) {
        let (key, value) =
            (self.own_key.clone().into(), Bytes::copy_from_slice(written.as_bytes()));
        let put = PutRequest { key, value, ..PutRequest::default() };
        while let Err(trouble) = self.ask(async |line: Line| line.kv().put(put.clone()).await).await
        {
            self.rest("register member itself", &trouble).await;
        }
        self.retries = 0;
    }

    async fn ask<R>(
        &self,
        ask: impl AsyncFn(Line) -> Result<Response<R>, Status>,
    ) -> Result<R, Trouble> {
        self.client.call(Some(self.request_timeout), Repeat::Never, ask).await
    }

    async fn range(&self, key: String, is_prefix: bool) -> Result<RangeResponse, Trouble> {
        let range_end = if is_prefix { end_of(&key) } else { Bytes::new() };
        let request = RangeRequest { key: key.into(), range_end, ..RangeRequest::default() };
        self.ask(async |line: Line| line.kv().range(request.clone()).await).await
    }

    /// Returns when somebody wrote after this revision, or when it may be so.
    async fn wait_for_change(&mut self, revision: i64) {
        match self.watch(revision + 1).await {
            Ok(()) => self.retries = 0,
            Err(trouble) => self.rest("waiting for peers", &trouble).await,
        }
    }

    async fn watch(&self, start_revision: i64) -> Result<(), Trouble> {
        let key = format!("{}/members", self.prefix);
        let range_end = end_of(&key);
        let create =
            WatchCreateRequest { key: key.into(), range_end, start_revision, ..Default::default() };
        let create = WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) };
        let asked = async |line: Line| {
            // The stream of requests stays open, as long as answers are waited for.
            let requests = tokio_stream::once(create.clone()).chain(tokio_stream::pending());
            line.watch().watch(requests).await
        };
        let mut answers = self.ask(asked).await?;
        while let Some(answer) = answers.message().await? {
            if answer.canceled {
                return Err(Status::aborted(answer.cancel_reason).into());
            }
            if !answer.events.is_empty() {
                return Ok(());
            }
        }
        Err(Status::unavailable("the watch ended").into())
    }

    /// Rests before the next attempt, which goes to another endpoint.
    async fn rest(&mut self, step: &str, trouble: &Trouble) {
        self.client.hang_up().await;
        self.retries = (self.retries + 1).min(RETRIES_DOUBLED_MAX);
        let rest = Duration::from_secs(1 << self.retries);
        let reason = self.client.reason(trouble);
        warn!(step, reason, ?rest, "retry connecting to discovery service");
        tokio::time::sleep(rest).await;
    }
}

/// The members in order; refused if this one is not among the first of them, nor can be.
fn place(own_key: &str, size: usize, mut found: RangeResponse) -> Result<Found, BootstrapError> {
    found.kvs.sort_by_key(|kv| kv.create_revision);
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).trim().to_owned();
    let members = found.kvs.iter().map(|kv| (text(&kv.key), text(&kv.value)));
    let members: Vec<_> = members.filter(|(_, value)| value.contains('=')).collect();
    let is_full = members.len() >= size;
    if is_full && !members[..size].iter().any(|(key, _)| *key == own_key) {
        return Err(refused("cluster is full"));
    }
    let members = members.into_iter().map(|(_, value)| value).collect();
    Ok(Found { size, members, revision: found.header.map_or(0, |header| header.revision) })
}

fn parse_size(found: &RangeResponse) -> Result<usize, BootstrapError> {
    let kv = found.kvs.first().ok_or_else(|| refused("size key not found"))?;
    let size = std::str::from_utf8(&kv.value).ok().and_then(|text| text.parse().ok());
    size.filter(|size| *size > 0).ok_or_else(|| refused("size key is bad"))
}

/// The end of the range of keys that begin with this one.
fn end_of(prefix: &str) -> Bytes {
    let mut end = prefix.as_bytes().to_vec();
    // What begins with a slash and ends with a letter has a next one.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

#[cfg(test)]
mod tests;
