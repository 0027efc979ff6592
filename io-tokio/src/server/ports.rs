//! Places bound before anything else happens, and the keys that are shown there.

use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::warn;

use crate::cli::{Place, Settings, Url};
use crate::tls::{Keyring, Security};
use crate::transport::bind::{Bound, bind};
use crate::transport::{Entrance, Kind};

/// Bound ports with the URLs they were named by.
pub struct Ports {
    pub(super) client: Vec<Bound>,
    /// Where clients speak HTTP, if that is not where they speak gRPC.
    pub(super) client_http: Vec<Bound>,
    pub(super) peer: Vec<Bound>,
    pub(super) metrics: Vec<Bound>,
}

impl Ports {
    /// Binds all ports, or none.
    pub fn bind(settings: &Settings, keyrings: &Keyrings) -> Result<Self, String> {
        let of_clients = |urls| bind_all(urls, Kind::Client, keyrings.client.as_ref());
        Ok(Self {
            client: of_clients(&settings.listen_client)?,
            client_http: of_clients(&settings.listen_client_http)?,
            peer: bind_all(&settings.listen_peer, Kind::Peer, Some(&keyrings.peer))?,
            metrics: of_clients(&settings.listen_metrics)?,
        })
    }

    /// Places for clients and for members that are bound already.
    pub const fn of(client: Vec<Bound>, peer: Vec<Bound>) -> Self {
        Self { client, client_http: Vec::new(), peer, metrics: Vec::new() }
    }

    /// Where clients will be served.
    pub fn client_addresses(&self) -> Vec<std::net::SocketAddr> {
        self.client.iter().filter_map(Bound::socket_address).collect()
    }
}

/// Binds to the places of all URLs. URLs that differ only in their scheme are one place.
fn bind_all(
    urls: &[Url],
    kind: Kind,
    keyring: Option<&Arc<Keyring>>,
) -> Result<Vec<Bound>, String> {
    let places: BTreeSet<&Place> = urls.iter().map(|url| &url.place).collect();
    let one = |place: &Place| {
        let has = |is_secure| urls.contains(&Url { is_secure, place: place.clone() });
        let keyring = keyring.filter(|_| has(true)).cloned();
        let url = urls.iter().find(|url| url.place == *place);
        let named = url.map_or_else(String::new, Url::to_string);
        let bound = bind(place).map_err(|error| format!("listen {named}: {error}"))?;
        Ok(bound.with_entrance(Entrance::new(kind, has(false), keyring)))
    };
    places.into_iter().map(one).collect()
}

/// What TLS needs of files, for clients and for members.
pub struct Keyrings {
    /// Nothing where clients are served without TLS.
    pub(super) client: Option<Arc<Keyring>>,
    pub(super) peer: Arc<Keyring>,
}

impl Keyrings {
    /// Reads all files.
    ///
    /// # Errors
    /// Which of them cannot be used, and how to mend it.
    pub fn open(settings: &Settings) -> Result<Self, String> {
        for remark in &settings.security_remarks {
            warn!("{remark}");
        }
        let open = |what, security: &Security| Keyring::open(what, security.clone()).map(Arc::new);
        let client = &settings.client_security;
        Ok(Self {
            client: client.can_serve().then(|| open("client", client)).transpose()?,
            peer: open("peer", &settings.peer_security)?,
        })
    }
}
