//! Who a client's certificate says it is, in front of a real member: the extension that a listener
//! sets, the gRPC services and the gateway.
#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use quorate_core::View;
use quorate_io_tokio::cli::{self, Called, Outcome, Settings};
use quorate_io_tokio::driver::Core;
use quorate_io_tokio::gateway::Gateway;
use quorate_io_tokio::grpc::{Arrivals, Front, Limits, Passwords, Replies, Services};
use quorate_io_tokio::member;
use quorate_io_tokio::metrics::Metrics;
use quorate_io_tokio::server::Member;
use quorate_io_tokio::tls::{Keyring, Security};
use quorate_io_tokio::tokens::Tokens;
use quorate_io_tokio::transport::{CertifiedName, Dialer, IoThreads};
use quorate_proto::authpb::UserAddOptions;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::auth_client::AuthClient;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::lease_client::LeaseClient;
use quorate_proto::etcdserverpb::watch_client::WatchClient;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use tempfile::TempDir;
use tonic::body::Body;
use tonic::{Code, Request, Status};
use tower_service::Service;

/// The services, as one connection's client sees them.
#[derive(Clone)]
struct Connection {
    services: Services,
    name: Option<CertifiedName>,
}

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = <Services as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        request.extensions_mut().extend(extensions(&self.name));
        Service::<http::Request<Body>>::call(&mut self.services, request)
    }
}

fn extensions(name: &Option<CertifiedName>) -> http::Extensions {
    let mut extensions = http::Extensions::new();
    name.clone().map(|name| extensions.insert(name));
    extensions
}

fn settings(dir: &TempDir) -> Settings {
    let data_dir = format!("--data-dir={}", dir.path().display());
    let words = [
        "--listen-client-urls=http://127.0.0.1:0",
        "--advertise-client-urls=http://127.0.0.1:0",
        "--listen-peer-urls=http://127.0.0.1:0",
        &data_dir,
    ];
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let Ok(Outcome::Run { flags, .. }) = cli::parse(&words, []) else { panic!() };
    cli::understand(&flags, Called::Etcd).unwrap()
}

/// A member, and the services in front of it.
fn open(dir: &TempDir, peer_threads: &IoThreads) -> (Services, Member) {
    let settings = settings(dir);
    let metrics = Arc::new(Metrics::new(settings.quota_backend_bytes));
    let dialer = Dialer::new(Arc::new(Keyring::open("peer", Security::default()).unwrap()));
    let member = member::open(&settings, &metrics, peer_threads, &dialer).unwrap();
    let limits = Limits {
        message_bytes_max: settings.message_bytes_max(),
        request_bytes_max: 1 << 20,
        election_timeout: settings.election_timeout,
        quota_backend_bytes: settings.quota_backend_bytes,
        txn_ops_max: settings.txn_ops_max,
        patience: settings.patience,
    };
    let core = member.core.clone();
    let (passwords, tokens) = (Passwords::new(4), Tokens::Simple);
    let (replies, arrivals) = (Replies::default(), Arrivals::default());
    let front = Front { core, metrics, passwords, tokens, spans: None, replies, arrivals, limits };
    (Services::new(front), member)
}

async fn lead(core: &Core) {
    let leads =
        |view: &View| view.facts.role.leader.is_some() && !view.facts.cluster_version.is_empty();
    while !core.look(leads) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Root and `client`, who has no password and may do everything below `a/`; auth is on.
async fn set_up(services: &Services) {
    let mut auth = AuthClient::new(Connection { services: services.clone(), name: None });
    let add = |name: &str| {
        let options = Some(UserAddOptions { no_password: true });
        pb::AuthUserAddRequest { name: name.into(), options, ..Default::default() }
    };
    let grant = |user: &str, role: &str| pb::AuthUserGrantRoleRequest {
        user: user.into(),
        role: role.into(),
    };
    auth.user_add(add("root")).await.unwrap();
    auth.user_add(add("client")).await.unwrap();
    auth.role_add(pb::AuthRoleAddRequest { name: "app".into() }).await.unwrap();
    let perm = quorate_proto::authpb::Permission {
        perm_type: 2,
        key: "a/".into(),
        range_end: "a0".into(),
    };
    let name = "app".to_owned();
    let permit = pb::AuthRoleGrantPermissionRequest { name, perm: Some(perm) };
    auth.role_grant_permission(permit).await.unwrap();
    auth.user_grant_role(grant("root", "root")).await.unwrap();
    auth.user_grant_role(grant("client", "app")).await.unwrap();
    auth.auth_enable(pb::AuthEnableRequest {}).await.unwrap();
}

fn put(key: &str) -> pb::PutRequest {
    pb::PutRequest { key: key.to_owned().into(), ..Default::default() }
}

fn refused<T>(outcome: Result<T, Status>) -> (Code, String) {
    let status = outcome.map(|_| ()).unwrap_err();
    (status.code(), status.message().to_owned())
}

#[test]
fn a_certificates_name_is_a_user() {
    let (dir, threads) = (TempDir::new().unwrap(), IoThreads::start("peer", 1).unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let entered = runtime.enter();
    let (services, member) = open(&dir, &threads);
    drop(entered);
    runtime.block_on(async {
        lead(&member.core).await;
        set_up(&services).await;
        calls_are_judged_by_names(&services).await;
        gateway_refuses_names(&services).await;
    });
    (member.stop)();
    threads.stop();
}

async fn calls_are_judged_by_names(services: &Services) {
    let named = |name: &str| Connection {
        services: services.clone(),
        name: Some(CertifiedName(name.into())),
    };
    let denied = (Code::PermissionDenied, "etcdserver: permission denied".to_owned());
    let empty = (Code::InvalidArgument, "etcdserver: user name is empty".to_owned());
    let mut kv = KvClient::new(named("client"));
    kv.put(put("a/1")).await.unwrap();
    assert_eq!(refused(kv.put(put("b")).await), denied);
    let read = pb::RangeRequest { key: "a/1".into(), ..Default::default() };
    assert_eq!(kv.range(read.clone()).await.unwrap().into_inner().count, 1);
    KvClient::new(named("root")).put(put("b")).await.unwrap();
    assert_eq!(refused(KvClient::new(named("stranger")).put(put("a/1")).await), denied);
    // A certificate without a name names a user that is not there.
    assert_eq!(refused(KvClient::new(named("")).put(put("a/1")).await), denied);
    let grant = pb::LeaseGrantRequest { ttl: 60, id: 0 };
    LeaseClient::new(named("")).lease_grant(grant).await.unwrap();
    let mut auth = AuthClient::new(named("client"));
    let own = pb::AuthUserGetRequest { name: "client".into() };
    assert_eq!(auth.user_get(own).await.unwrap().into_inner().roles, ["app"]);
    assert_eq!(refused(auth.user_list(pb::AuthUserListRequest {}).await), denied);
    // A token counts before a name, and is not made up for by one.
    let mut call = Request::new(put("a/1"));
    call.metadata_mut().insert("token", "nonsense".parse().unwrap());
    assert_eq!(refused(kv.put(call).await).1, "etcdserver: invalid auth token");
    // Whoever comes by a gateway has the gateway's certificate.
    let mut call = Request::new(put("a/1"));
    call.metadata_mut().insert("grpcgateway-accept", "*/*".parse().unwrap());
    assert_eq!(refused(kv.put(call).await), empty);
    let create = pb::WatchCreateRequest { key: "b".into(), ..Default::default() };
    let request_union = Some(RequestUnion::CreateRequest(create));
    let messages = tokio_stream::iter([pb::WatchRequest { request_union }]);
    let mut watch = WatchClient::new(named("client")).watch(messages).await.unwrap().into_inner();
    let reason = watch.message().await.unwrap().unwrap().cancel_reason;
    assert_eq!(reason, "rpc error: code = PermissionDenied desc = etcdserver: permission denied");
}

/// What the gateway answers to a client with that certificate.
async fn posted(services: &Services, name: Option<CertifiedName>, path: &str) -> (u16, String) {
    let gateway = Gateway::new(services.clone(), 1 << 20);
    let (near, far) = tokio::io::duplex(1 << 16);
    let served = service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().extend(extensions(&name));
        let gateway = gateway.clone();
        async move { Ok::<_, Infallible>(gateway.answer(request).await) }
    });
    let http1 = hyper::server::conn::http1::Builder::new();
    let serving = tokio::spawn(http1.serve_connection(TokioIo::new(far), served));
    let io = TokioIo::new(near);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let body = Full::new(bytes::Bytes::from_static(b"{}"));
    let request = http::Request::post(path).header("host", "x").body(body).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let code = answer.status().as_u16();
    let text = answer.into_body().collect().await.unwrap().to_bytes();
    serving.abort();
    (code, String::from_utf8(text.to_vec()).unwrap())
}

async fn gateway_refuses_names(services: &Services) {
    let name = |name: &str| Some(CertifiedName(name.into()));
    let words = "CommonName of client sending a request against gateway will be ignored and not \
                 used as expected\n";
    let refused = posted(services, name("client"), "/v3/kv/range").await;
    assert_eq!(refused, (400, words.to_owned()));
    let nobody = r#"{"code":3,"message":"etcdserver: user name is empty"}"#;
    for name in [None, name("")] {
        assert_eq!(posted(services, name, "/v3/lease/leases").await, (400, nobody.to_owned()));
    }
}
