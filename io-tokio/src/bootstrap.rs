//! Who starts a cluster: ids from URLs, and the refusal of memberships that cannot work.
//!
//! ```text
//! member id  = sha1(sorted peer URLs, joined ++ token)[..8]
//! cluster id = sha1(all member ids ascending, 8 bytes each)[..8]      both big endian
//! ```
//!
//! Every initial member computes the same numbers from the same flags; nothing is agreed upon over
//! the network.
//!
//! Invariants
//! - Members come back sorted by id, without duplicates.
//! - This member is among them, with exactly the URLs it advertises.
//!
//! A member that joins a running cluster asks its members instead (`join`); one whose flags name
//! nobody meets the others at a discovery service (`discovery`), or finds them in DNS (`srv`); one
//! that is left of a cluster goes on without the others when it is forced to (`alone`).
//!
//! Answers to: etcd v3.7.1 `server/etcdserver/bootstrap.go`, `server/config/config.go`,
//! `server/etcdserver/api/membership/member.go`

pub mod alone;
mod discovery;
mod join;
mod srv;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};

use quorate_core::config::Peer;
use quorate_core::ids::{ClusterId, MemberId};
use sha1::{Digest, Sha1};

use crate::cli::{Place, Settings, Url};
use crate::transport::Dialer;

/// The initial cluster, as this member sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// This member.
    pub member: MemberId,
    /// The cluster.
    pub cluster: ClusterId,
    /// All members: the initial ones by id, or those of the cluster that is joined.
    pub peers: Vec<Peer>,
    /// Whether the cluster begins with this start.
    pub is_new: bool,
}

/// Why no cluster can start like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// This member's name is not among the initial ones.
    #[error(
        "couldn't find local name \"{0}\" in the initial cluster configuration; add it to \
         --initial-cluster or change --name"
    )]
    LocalNameMissing(String),
    /// Two members share a URL.
    #[error("initial cluster {0} has duplicate url; give every member peer URLs of its own")]
    DuplicateUrl(String),
    /// A URL is listed for this member but not advertised.
    #[error(
        "--initial-cluster has {0} but missing from --initial-advertise-peer-urls={1}; make both \
         name the same URLs"
    )]
    NotAdvertised(String, String),
    /// A URL is advertised by this member but not listed.
    #[error(
        "--initial-advertise-peer-urls has {0} but missing from --initial-cluster={1}; make both \
         name the same URLs"
    )]
    NotListed(String, String),
    /// No member of the running cluster answers.
    #[error(
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from \
         the given URLs ({0}); check that a member of --initial-cluster runs and can be reached"
    )]
    CannotAsk(String),
    /// The running cluster has more or fewer members.
    #[error(
        "error validating peerURLs {1}: member count is unequal; --initial-cluster is {0}: make \
         it name the members that `member list` shows"
    )]
    CountMismatch(String, String),
    /// The running cluster has no such member.
    #[error(
        "error validating peerURLs: no member of the running cluster has {0}; add this member \
         with `member add` first, and give every member the URLs that `member list` shows"
    )]
    NoMatch(String),
    /// The discovery service does not let this member in.
    #[error(
        "discovery failed: {0}; do not reuse a discovery token: generate a new one, and write the \
         cluster's size to /_etcd/registry/<token>/_config/size before its members start"
    )]
    Discovery(String),
    /// DNS does not name the members.
    #[error("{0}; check the records of --discovery-srv, and --discovery-srv-name")]
    NoRecords(String),
    /// DNS names members, and this one is not among them.
    #[error(
        "cannot find local etcd member \"{0}\" in SRV records; add one that leads to a URL of \
         --initial-advertise-peer-urls, for the service of that URL's scheme"
    )]
    NotInRecords(String),
    /// The members that met at the discovery service share a URL.
    #[error("discovery cluster {0} has duplicate url; give every member peer URLs of its own")]
    DuplicateDiscovered(String),
}

/// A member's id: its peer URLs and the cluster's token, hashed.
pub fn member_id(peer_urls: &[String], token: &str) -> MemberId {
    let mut sorted = peer_urls.to_vec();
    sorted.sort();
    let mut hash = Sha1::new();
    for url in sorted {
        hash.update(url.as_bytes());
    }
    hash.update(token.as_bytes());
    MemberId(first_eight(hash))
}

/// A cluster's id: its first members' ids, hashed.
pub fn cluster_id(members: impl IntoIterator<Item = MemberId>) -> ClusterId {
    let sorted: BTreeSet<MemberId> = members.into_iter().collect();
    let mut hash = Sha1::new();
    for member in sorted {
        hash.update(member.get().to_be_bytes());
    }
    ClusterId(first_eight(hash))
}

fn first_eight(hash: Sha1) -> u64 {
    let digest = hash.finalize();
    digest.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// Judges the initial cluster of a member that holds no data yet; asks the cluster if it runs, or a
/// service who is in it.
pub async fn bootstrap(settings: &Settings, dialer: &Dialer) -> Result<Bootstrap, BootstrapError> {
    let settings = &*with_records(settings).await?;
    let own = check_initial(settings)?;
    if !settings.is_new_cluster {
        return join::join(settings, dialer).await;
    }
    let Some(service) = &settings.discovery else {
        return Ok(begin(settings, own, &settings.initial_cluster));
    };
    let met = discovery::meet(service, own, &show(&settings.initial_cluster)).await?;
    check_urls_differ(&met).map_err(|_| BootstrapError::DuplicateDiscovered(show(&met)))?;
    Ok(begin(settings, own, &met))
}

/// The settings, with the members that DNS names where the flags say so.
async fn with_records(settings: &Settings) -> Result<Cow<'_, Settings>, BootstrapError> {
    let Some(names) = &settings.srv_names else { return Ok(Cow::Borrowed(settings)) };
    let initial_cluster = srv::members(settings, names).await?;
    Ok(Cow::Owned(Settings { initial_cluster, ..settings.clone() }))
}

/// Judges the initial cluster the flags name, and computes what it is when it begins.
pub fn found(settings: &Settings) -> Result<Bootstrap, BootstrapError> {
    let own = check_initial(settings)?;
    Ok(begin(settings, own, &settings.initial_cluster))
}

/// Whether the flags agree about this member; its id.
fn check_initial(settings: &Settings) -> Result<MemberId, BootstrapError> {
    let local = settings
        .initial_cluster
        .iter()
        .find(|(name, _)| *name == settings.name)
        .ok_or_else(|| BootstrapError::LocalNameMissing(settings.name.clone()))?;
    check_urls_differ(&settings.initial_cluster)?;
    check_advertised(settings, &local.1)?;
    Ok(member_id(&texts(&local.1), &settings.token))
}

fn begin(settings: &Settings, member: MemberId, members: &[(String, Vec<Url>)]) -> Bootstrap {
    let mut peers: Vec<Peer> = members
        .iter()
        .map(|(name, urls)| {
            let peer_urls = texts(urls);
            Peer { id: member_id(&peer_urls, &settings.token), name: name.clone(), peer_urls }
        })
        .collect();
    peers.sort_by_key(|peer| peer.id);
    let cluster = cluster_id(peers.iter().map(|peer| peer.id));
    Bootstrap { member, cluster, peers, is_new: true }
}

fn check_urls_differ(members: &[(String, Vec<Url>)]) -> Result<(), BootstrapError> {
    let mut seen = BTreeSet::new();
    if members.iter().flat_map(|(_, urls)| urls).all(|url| seen.insert(url)) {
        return Ok(());
    }
    Err(BootstrapError::DuplicateUrl(show(members)))
}

/// Both sides must name the same addresses; names may differ if they resolve alike.
fn check_advertised(settings: &Settings, listed: &[Url]) -> Result<(), BootstrapError> {
    let advertised = &settings.advertise_peer;
    if let Some(url) = first_missing(listed, advertised) {
        return Err(BootstrapError::NotAdvertised(url, texts(advertised).join(",")));
    }
    if let Some(url) = first_missing(advertised, listed) {
        let listed: Vec<String> =
            listed.iter().map(|url| format!("{}={url}", settings.name)).collect();
        return Err(BootstrapError::NotListed(url, listed.join(",")));
    }
    Ok(())
}

fn first_missing(wanted: &[Url], present: &[Url]) -> Option<String> {
    let literal = |url: &Url| present.contains(url);
    let resolved = |url: &Url| {
        resolve(url)
            .is_some_and(|one| present.iter().any(|url| resolve(url).as_ref() == Some(&one)))
    };
    wanted.iter().find(|url| !literal(url) && !resolved(url)).map(Url::to_string)
}

fn resolve(url: &Url) -> Option<SocketAddr> {
    match &url.place {
        Place::Port { host, port } => (host.as_str(), *port).to_socket_addrs().ok()?.min(),
        Place::File(_) => None,
    }
}

fn texts(urls: &[Url]) -> Vec<String> {
    urls.iter().map(Url::to_string).collect()
}

/// Members as the command line writes them.
pub fn show(members: &[(String, Vec<Url>)]) -> String {
    let parts: Vec<String> = members
        .iter()
        .flat_map(|(name, urls)| urls.iter().map(move |url| format!("{name}={url}")))
        .collect();
    parts.join(",")
}

#[cfg(test)]
mod tests;
