//! What the front knows of who asks: the name in a certificate, where names are asked for.
#![allow(clippy::unwrap_used, reason = "in tests an unwrap is an assertion")]

mod front_fake;
#[path = "accept/pki.rs"]
#[allow(dead_code, reason = "acceptance tests use the rest")]
mod pki;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;

use front_fake::{Fake, leading, loopback, serve};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pki::{Authority, Issued, Wish};
use quorate_io_tokio::http::Surface;
use quorate_io_tokio::tls::{Keyring, Pair, Security, Source};
use quorate_io_tokio::transport::{CertifiedName, Entrance, Kind};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::body::Body;

/// Answers with the name it is asked by.
struct Namer;

impl Service<Request<Incoming>> for Namer {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let name = request.extensions().get::<CertifiedName>();
        let name = name.map_or("nobody", |name| &*name.0);
        ready(Ok(Response::builder().header("name", name).body(Body::empty()).unwrap()))
    }
}

fn keyring(own: &Issued, authority: &Authority, asks_clients: bool) -> Arc<Keyring> {
    let source = |path| Source::new("file", path);
    let security = Security {
        pair: Some(Pair { cert: source(&own.cert), key: source(&own.key) }),
        trusted_ca: Some(source(&authority.cert())),
        asks_clients,
        ..Security::default()
    };
    Arc::new(Keyring::open("client", security).unwrap())
}

/// By what name a member that asks for names, or does not, knows this client.
async fn name_of(common_name: &str, asks_clients: bool) -> String {
    let dir = TempDir::new().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    let server = authority.issue("server", &Wish::default());
    let client = authority.issue("client", &Wish { common_name, ..Wish::default() });
    let keys = keyring(&server, &authority, asks_clients);
    let bound = loopback().with_entrance(Entrance::new(Kind::Client, false, Some(keys)));
    let address = bound.socket_address().unwrap();
    let _served = serve(bound, Some(Namer), Fake::new(leading()).pages(Surface::Client));
    let config = keyring(&client, &authority, false).fresh().await.client.clone();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::post("https://localhost/").header("content-type", "application/grpc");
    let answer = sender.send_request(request.body(Body::empty()).unwrap()).await.unwrap();
    answer.headers()["name"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_call_has_the_name_in_its_connections_certificate() {
    assert_eq!(name_of("alice", true).await, "alice");
    assert_eq!(name_of("", true).await, "nobody");
    // As in etcd, who must be trusted is not who is known by name.
    assert_eq!(name_of("alice", false).await, "nobody");
}
