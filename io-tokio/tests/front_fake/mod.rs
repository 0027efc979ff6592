//! A member that answers from a script, for tests of what stands in front of it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use quorate_core::View;
use quorate_core::ids::{ClusterId, LogIndex, MemberId, Term};
use quorate_core::input::Role;
use quorate_core::view::Facts;
use quorate_io_tokio::driver::{Call, Core};
use quorate_io_tokio::grpc::{Front, Limits, Services, reads};
use quorate_io_tokio::http::{Pages, Surface};
use quorate_io_tokio::metrics::Metrics;
use quorate_io_tokio::transport::IoThreads;
use quorate_io_tokio::transport::listen::{Bound, Connections, Grpc, Http2, Port, bind};
use tokio::sync::mpsc;

/// Facts of a member that leads a cluster of one.
pub fn leading() -> Facts {
    Facts {
        member: MemberId(0xa),
        cluster: ClusterId(0xc),
        applied: LogIndex(4),
        committed: LogIndex(4),
        role: Role { term: Term(2), leader: Some(MemberId(0xa)), is_leader: true },
        cluster_version: "3.7.0".to_owned(),
        published: true,
        ..Facts::default()
    }
}

/// A member and its ends.
pub struct Fake {
    pub core: Core,
    pub calls: mpsc::UnboundedReceiver<Call>,
    pub published: Arc<ArcSwap<View>>,
    pub metrics: Arc<Metrics>,
}

impl Fake {
    pub fn new(facts: Facts) -> Self {
        let (sender, calls) = mpsc::unbounded_channel();
        let published = Arc::new(ArcSwap::from_pointee(view(facts)));
        let core = Core::new(sender, published.clone());
        Self { core, calls, published, metrics: Arc::new(Metrics::new(1 << 31)) }
    }

    pub fn front(&self) -> Front {
        let limits = Limits {
            message_bytes_max: 4_096,
            election_timeout: Duration::from_millis(20),
            quota_backend_bytes: 1 << 31,
        };
        Front { core: self.core.clone(), metrics: self.metrics.clone(), limits }
    }

    pub fn pages(&self, surface: Surface) -> Pages {
        Pages::new(surface, self.core.clone(), self.metrics.clone())
    }

    pub fn services(&self) -> Option<Services> {
        Some(Services::new(self.front()))
    }
}

pub fn view(facts: Facts) -> View {
    let mut view = reads::empty_view();
    view.facts = Arc::new(facts);
    view
}

/// A served port on loopback; dropping it ends it.
pub struct Served {
    pub authority: String,
    pub connections: Arc<Connections>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Served {
    pub fn url(&self) -> String {
        format!("http://{}", self.authority)
    }
}

/// A loopback port.
pub fn loopback() -> Bound {
    bind(&quorate_io_tokio::cli::Url { host: "127.0.0.1".to_owned(), port: 0 }).unwrap()
}

/// Serves a port on threads of its own.
pub fn serve<G: Grpc>(bound: Bound, grpc: Option<G>, pages: Pages) -> Served {
    let authority = bound.address.to_string();
    let port = Arc::new(Port { grpc, pages, http2: Http2::with_streams(100) });
    let connections = Arc::new(Connections::default());
    let open = connections.clone();
    let accepting = tokio::spawn(async move {
        let threads = IoThreads::start("test-io", 1).unwrap();
        open.accept(bound, port, &threads).await;
        // Connections go on until the test is over.
        std::future::pending::<()>().await;
    });
    Served { authority, connections, accepting }
}
