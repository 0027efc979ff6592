//! Users, roles and rights, by etcdctl and by raw calls.

mod accept;

use std::time::Duration;

use accept::ctl::Ctl;
use accept::{Cluster, Options, READY_WITHIN, assert_eventually};
use bytes::Bytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::auth_client::AuthClient;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::lease_client::LeaseClient;
use quorate_proto::etcdserverpb::watch_client::WatchClient;
use quorate_proto::etcdserverpb::watch_request::RequestUnion;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

const ROOT: &str = "--user=root:rpw";
const ALICE: &str = "--user=alice:apw";

/// Members for whom passwords are cheap: etcdctl gives up when a login takes two seconds.
fn start(size: usize) -> Cluster {
    Cluster::start_with(size, &Options { flags: vec!["--bcrypt-cost=4".to_owned()] })
}

/// Root, and alice, who may do everything below `a/` and read `shared`.
fn set_up(ctl: &Ctl) {
    ctl.run(&["user", "add", "root:rpw"]);
    ctl.run(&["role", "add", "root"]);
    ctl.run(&["user", "grant-role", "root", "root"]);
    ctl.run(&["user", "add", "alice:apw"]);
    ctl.run(&["role", "add", "app"]);
    ctl.run(&["role", "grant-permission", "app", "readwrite", "--prefix=true", "a/"]);
    ctl.run(&["role", "grant-permission", "app", "read", "shared"]);
    ctl.run(&["user", "grant-role", "alice", "app"]);
    ctl.run(&["put", "shared", "1"]);
    ctl.run(&["put", "other", "1"]);
    ctl.run(&["auth", "enable"]);
}

fn says(said: &str, words: &str) {
    assert!(said.contains(words), "{said}");
}

fn refused(ctl: &Ctl, args: &[&str]) {
    says(&ctl.fail(args), "etcdserver: permission denied");
}

#[test]
fn rights_are_asked_for_once_auth_is_on() {
    for size in [1, 3] {
        let cluster = start(size);
        let Some(ctl) = Ctl::find(&cluster) else { return };
        set_up(&ctl);
        says(&ctl.fail(&["get", "shared"]), "etcdserver: user name is empty");
        says(
            &ctl.fail(&["get", "shared", "--user=alice:no"]),
            "etcdserver: authentication failed, invalid user ID or password",
        );
        says(
            &ctl.fail(&["get", "shared", "--user=bob:apw"]),
            "etcdserver: authentication failed, invalid user ID or password",
        );
        ctl.run(&["put", "a/1", "x", ALICE]);
        assert_eq!(ctl.run(&["get", "a/1", ALICE]), "a/1\nx\n");
        assert_eq!(ctl.run(&["get", "--prefix", "a/", "--keys-only", ALICE]), "a/1\n\n");
        assert_eq!(ctl.run(&["get", "shared", ALICE, "--consistency=s"]), "shared\n1\n");
        refused(&ctl, &["put", "shared", "2", ALICE]);
        refused(&ctl, &["get", "other", ALICE]);
        refused(&ctl, &["get", "--prefix", "", ALICE]);
        refused(&ctl, &["get", "a/", "b", ALICE]);
        refused(&ctl, &["del", "other", ALICE]);
        refused(&ctl, &["del", "a/", "b", ALICE]);
        refused(&ctl, &["compaction", "2", ALICE]);
        refused(&ctl, &["user", "list", ALICE]);
        refused(&ctl, &["member", "add", "m9", "--peer-urls=http://127.0.0.1:1", ALICE]);
        assert_eq!(ctl.run(&["get", "other", ROOT]), "other\n1\n");
        assert_eq!(ctl.run(&["user", "list", ROOT]), "alice\nroot\n");
        says(&ctl.run(&["user", "get", "alice", ALICE]), "Roles: app");
        says(&ctl.run(&["role", "get", "app", ALICE]), "[a/, a0)");
        refused(&ctl, &["role", "get", "root", ALICE]);
        ctl.run(&["member", "list", ALICE]);
    }
}

#[test]
fn transactions_are_judged_whole() {
    let cluster = start(1);
    let Some(ctl) = Ctl::find(&cluster) else { return };
    set_up(&ctl);
    let txn = |body: &str| ctl.try_with_input(&["txn", ALICE], body);
    assert_eq!(txn("\nput a/k v\n\n\n").expect("hers"), "SUCCESS\n\nOK\n");
    // The branch that is not taken counts, and so does what is compared.
    let bodies = [
        "value(\"other\") = \"1\"\n\nput a/k v\n\n\n",
        "\nput a/k v\n\nput other v\n\n",
        "\nget a/k\n\nget other\n\n",
    ];
    for body in bodies {
        says(&txn(body).expect_err("not hers"), "etcdserver: permission denied");
    }
}

#[test]
fn users_and_roles_change_while_auth_is_on() {
    let cluster = start(3);
    let Some(ctl) = Ctl::find(&cluster) else { return };
    set_up(&ctl);
    let cases: [(&[&str], &str); 9] = [
        (&["user", "add", "alice:x", ROOT], "etcdserver: user name already exists"),
        (&["user", "delete", "bob", ROOT], "etcdserver: user name not found"),
        (&["user", "grant-role", "alice", "no", ROOT], "etcdserver: role name not found"),
        (&["user", "revoke-role", "alice", "root", ROOT], "etcdserver: role is not granted"),
        (&["role", "add", "app", ROOT], "etcdserver: role name already exists"),
        (&["role", "delete", "no", ROOT], "etcdserver: role name not found"),
        (
            &["role", "revoke-permission", "app", "zz", ROOT],
            "etcdserver: permission is not granted",
        ),
        (&["user", "delete", "root", ROOT], "etcdserver: invalid auth management"),
        (&["user", "revoke-role", "root", "root", ROOT], "etcdserver: invalid auth management"),
    ];
    for (args, words) in cases {
        says(&ctl.fail(args), words);
    }
    ctl.run(&["role", "revoke-permission", "app", "shared", ROOT]);
    refused(&ctl, &["get", "shared", ALICE]);
    ctl.run(&["role", "grant-permission", "app", "write", "shared", ROOT]);
    refused(&ctl, &["get", "shared", ALICE]);
    ctl.run(&["put", "shared", "2", ALICE]);
    ctl.run_with_input(&["user", "passwd", "alice", "--interactive=false", ROOT], "new\n");
    says(&ctl.fail(&["get", "a/1", ALICE]), "authentication failed");
    ctl.run(&["get", "a/1", "--user=alice:new"]);
    ctl.run(&["role", "delete", "app", ROOT]);
    refused(&ctl, &["get", "a/1", "--user=alice:new"]);
    ctl.run(&["auth", "disable", ROOT]);
    assert_eq!(ctl.run(&["get", "shared", "--print-value-only"]), "2\n");
}

#[test]
fn auth_outlives_a_restart_and_reaches_a_member_that_was_down() {
    let mut cluster = start(3);
    let Some(ctl) = Ctl::find(&cluster) else { return };
    cluster.members[0].kill();
    let two = ctl.at(format!("{},{}", cluster.members[1].url(), cluster.members[2].url()));
    set_up(&two);
    cluster.members[0].start();
    let late = ctl.at(cluster.members[0].url());
    let read = || late.output(&["get", "shared", "--print-value-only", ALICE]).stdout;
    assert_eventually(READY_WITHIN, &b"1\n".to_vec(), read);
    says(&late.fail(&["get", "shared"]), "user name is empty");
    for member in &mut cluster.members {
        member.kill();
    }
    for member in &mut cluster.members {
        member.spawn();
    }
    for member in &mut cluster.members {
        member.wait_until_ready();
    }
    refused(&ctl, &["get", "other", ALICE]);
    ctl.run(&["put", "a/2", "y", ALICE]);
}

/// A client that shows a token.
struct Caller {
    runtime: Runtime,
    channels: Vec<Channel>,
    token: String,
}

impl Caller {
    fn log_in(cluster: &Cluster, name: &str, password: &str) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let channels: Vec<Channel> = runtime.block_on(async {
            cluster.members.iter().map(|member| accept::api::channel(member.client)).collect()
        });
        let ask = pb::AuthenticateRequest { name: name.into(), password: password.into() };
        let mut auth = AuthClient::new(channels[0].clone());
        let answer = runtime.block_on(auth.authenticate(ask)).expect("the right password");
        Self { runtime, channels, token: answer.into_inner().token }
    }

    fn call<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("token", self.token.parse().expect("letters and numbers"));
        request
    }

    fn put(&self, member: usize, request: pb::PutRequest) -> Result<pb::PutResponse, Status> {
        let mut kv = KvClient::new(self.channels[member].clone());
        Ok(self.runtime.block_on(kv.put(self.call(request)))?.into_inner())
    }
}

fn put(key: &'static str, lease: i64) -> pb::PutRequest {
    pb::PutRequest { key: Bytes::from_static(key.as_bytes()), lease, ..Default::default() }
}

#[test]
fn a_token_is_good_at_every_member_until_its_user_changes() {
    let cluster = start(3);
    let Some(ctl) = Ctl::find(&cluster) else { return };
    set_up(&ctl);
    let alice = Caller::log_in(&cluster, "alice", "apw");
    let (letters, index) = alice.token.split_once('.').expect("a dot");
    assert!(letters.len() == 16 && index.parse::<u64>().is_ok(), "{}", alice.token);
    for member in 0..3 {
        alice.put(member, put("a/k", 0)).expect("her token");
    }
    let wrong = Caller { token: "nonsense".into(), ..Caller::log_in(&cluster, "alice", "apw") };
    let refused = wrong.put(1, put("a/k", 0)).expect_err("no token");
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(refused.message(), "etcdserver: invalid auth token");
    ctl.run_with_input(&["user", "passwd", "alice", "--interactive=false", ROOT], "new\n");
    assert_eventually(Duration::from_secs(5), &Some(Code::Unauthenticated), || {
        alice.put(2, put("a/k", 0)).err().map(|status| status.code())
    });
}

#[test]
fn a_lease_with_somebody_elses_keys_is_not_hers() {
    let cluster = start(1);
    let Some(ctl) = Ctl::find(&cluster) else { return };
    set_up(&ctl);
    let root = Caller::log_in(&cluster, "root", "rpw");
    let alice = Caller::log_in(&cluster, "alice", "apw");
    let mut leases = LeaseClient::new(root.channels[0].clone());
    let grant = pb::LeaseGrantRequest { ttl: 60, id: 7 };
    let nobody = root.runtime.block_on(leases.lease_grant(grant)).expect_err("without a token");
    assert_eq!(nobody.message(), "etcdserver: user name is empty");
    root.runtime.block_on(leases.lease_grant(alice.call(grant))).expect("anybody known may");
    alice.put(0, put("a/k", 7)).expect("her key");
    root.put(0, put("other", 7)).expect("root's key");
    let denied = |status: Status| assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    denied(alice.put(0, put("a/l", 7)).expect_err("a lease she could not end"));
    let revoke = pb::LeaseRevokeRequest { id: 7 };
    denied(root.runtime.block_on(leases.lease_revoke(alice.call(revoke))).expect_err("not hers"));
    let ask = pb::LeaseTimeToLiveRequest { id: 7, keys: true };
    let told = root.runtime.block_on(leases.lease_time_to_live(alice.call(ask)));
    denied(told.expect_err("keys she may not see"));
    root.runtime.block_on(leases.lease_revoke(root.call(revoke))).expect("root may");
}

#[test]
fn a_watch_of_keys_that_may_not_be_read_is_refused() {
    let cluster = start(1);
    let Some(ctl) = Ctl::find(&cluster) else { return };
    set_up(&ctl);
    let alice = Caller::log_in(&cluster, "alice", "apw");
    alice.runtime.block_on(async {
        let (requests, outgoing) = tokio::sync::mpsc::channel(4);
        for key in ["other", "a/k"] {
            let create = pb::WatchCreateRequest { key: key.into(), ..Default::default() };
            let request_union = Some(RequestUnion::CreateRequest(create));
            requests.send(pb::WatchRequest { request_union }).await.expect("room");
        }
        let mut client = WatchClient::new(alice.channels[0].clone());
        let call = alice.call(ReceiverStream::new(outgoing));
        let mut answers = client.watch(call).await.expect("a stream").into_inner();
        let first = answers.message().await.expect("an answer").expect("of the first");
        assert!(first.created && first.canceled, "{first:?}");
        let reason = "rpc error: code = PermissionDenied desc = etcdserver: permission denied";
        assert_eq!((first.watch_id, first.cancel_reason.as_str()), (-1, reason));
        let second = answers.message().await.expect("an answer").expect("of the second");
        assert!(second.created && !second.canceled, "{second:?}");
    });
}
