//! Snapshots from Quorate to etcd and back: everything they hold arrives, and nothing that was
//! damaged on the way is taken.

mod accept;
#[path = "compat/judge.rs"]
#[allow(dead_code, reason = "only the judge's place is asked for")]
mod judge;

use std::fs;
use std::path::{Path, PathBuf};

use accept::offline::{Asked, Contents, Tool, text};
use accept::{Cluster, Options};
use quorate_proto::authpb::Permission;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::auth_client::AuthClient;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use rustix::process::Signal;

const END_MAX: std::time::Duration = std::time::Duration::from_secs(20);

/// A member of ours with something in it, and its snapshot.
fn saved() -> (Cluster, Contents, PathBuf) {
    let cluster = Cluster::start(1);
    let asked = Asked::new(cluster.members[0].client);
    asked.fill();
    let file = cluster.dir().join("ours.db");
    asked.save(&file);
    let contents = asked.contents();
    (cluster, contents, file)
}

/// What a new cluster of one holds that was restored from `file`.
fn restored(by: &Tool, program: Option<&Path>, file: &Path, more: &[&str]) -> (Cluster, Contents) {
    let mut cluster = Cluster::prepare(1, &Options::default());
    by.restore(file, &cluster.members[0], &cluster.members, more);
    let member = &mut cluster.members[0];
    if let Some(program) = program {
        member.program = program.to_owned();
    }
    member.start();
    let asked = Asked::new(member.client);
    let (peer, (_, members)) = (format!("http://{}", member.peer), asked.members());
    assert_eq!(members.len(), 1);
    assert_eq!(members[0].1, [peer]);
    let contents = asked.contents();
    (cluster, contents)
}

#[test]
fn a_snapshot_goes_to_etcd_and_back() {
    let (Some(judge), Some(etcdutl)) = (judge::find(), Tool::etcds()) else { return };
    let (_ours, before, file) = saved();
    let (etcd, there) = restored(&etcdutl, Some(&judge), &file, &[]);
    assert_eq!(there, before);

    let asked = Asked::new(etcd.members[0].client);
    asked.put("written by etcd");
    let back = etcd.dir().join("etcds.db");
    asked.save(&back);
    let there = asked.contents();
    let (ours, here) = restored(&Tool::ours(), None, &back, &[]);
    assert_eq!(here, there);
    assert_eq!(ours.members.len(), 1);
}

/// A server in which nobody does anything without root's token.
struct Guarded {
    runtime: tokio::runtime::Runtime,
    channel: tonic::transport::Channel,
}

impl Guarded {
    fn new(cluster: &Cluster) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let server = cluster.members[0].client;
        let channel = runtime.block_on(async { accept::api::channel(server) });
        Self { runtime, channel }
    }

    fn set_up(&self) {
        let mut auth = AuthClient::new(self.channel.clone());
        self.runtime.block_on(async {
            for (name, password) in [("root", "rpw"), ("alice", "apw")] {
                let (name, password) = (name.to_owned(), password.to_owned());
                let add = pb::AuthUserAddRequest { name, password, ..Default::default() };
                auth.user_add(add).await.expect("a user");
            }
            let name = "app".to_owned();
            auth.role_add(pb::AuthRoleAddRequest { name }).await.expect("a role");
            let (name, key) = ("app".to_owned(), "a".into());
            let perm = Some(Permission { perm_type: 2, key, range_end: "b".into() });
            let permit = pb::AuthRoleGrantPermissionRequest { name, perm };
            auth.role_grant_permission(permit).await.expect("a permission");
            for (user, role) in [("root", "root"), ("alice", "app")] {
                let (user, role) = (user.to_owned(), role.to_owned());
                let grant = pb::AuthUserGrantRoleRequest { user, role };
                auth.user_grant_role(grant).await.expect("a grant");
            }
            auth.auth_enable(pb::AuthEnableRequest {}).await.expect("users");
        });
    }

    fn as_root<T>(&self, message: T) -> tonic::Request<T> {
        let (name, password) = ("root".to_owned(), "rpw".to_owned());
        let ask = pb::AuthenticateRequest { name, password };
        let mut auth = AuthClient::new(self.channel.clone());
        let answer = self.runtime.block_on(auth.authenticate(ask)).expect("a token");
        let mut call = tonic::Request::new(message);
        let token = answer.into_inner().token.parse().expect("letters");
        call.metadata_mut().insert("token", token);
        call
    }

    fn save(&self, file: &Path) {
        let call = self.as_root(pb::SnapshotRequest {});
        let mut maintenance = MaintenanceClient::new(self.channel.clone());
        let bytes = self.runtime.block_on(async {
            let mut pieces = maintenance.snapshot(call).await.expect("a snapshot").into_inner();
            let mut bytes = Vec::new();
            while let Some(piece) = pieces.message().await.expect("a piece") {
                bytes.extend_from_slice(&piece.blob);
            }
            bytes
        });
        fs::write(file, bytes).expect("room");
    }

    /// Everything that is said of users and roles, and that nobody else gets in.
    fn told(&self) -> String {
        let mut auth = AuthClient::new(self.channel.clone());
        let status = self.runtime.block_on(auth.auth_status(pb::AuthStatusRequest {}));
        let status = status.expect("an answer").into_inner();
        let call = self.as_root(pb::AuthUserListRequest {});
        let users = self.runtime.block_on(auth.user_list(call)).expect("root may").into_inner();
        let call = self.as_root(pb::AuthRoleGetRequest { role: "app".to_owned() });
        let role = self.runtime.block_on(auth.role_get(call)).expect("root may").into_inner();
        let call = self.as_root(pb::AuthUserGetRequest { name: "alice".to_owned() });
        let alice = self.runtime.block_on(auth.user_get(call)).expect("root may").into_inner();
        let put = pb::PutRequest { key: "a".into(), ..Default::default() };
        let refused = self.runtime.block_on(KvClient::new(self.channel.clone()).put(put));
        let refused = refused.expect_err("nobody may").message().to_owned();
        let (revision, users) = (status.auth_revision, users.users);
        format!("{revision} {users:?} {:?} {:?} {refused}", role.perm, alice.roles)
    }
}

#[test]
fn users_go_to_etcd_and_back() {
    let (Some(judge), Some(etcdutl)) = (judge::find(), Tool::etcds()) else { return };
    let ours = Cluster::start(1);
    let before = Guarded::new(&ours);
    before.set_up();
    let there = ours.dir().join("ours.db");
    before.save(&there);
    let mut etcd = Cluster::prepare(1, &Options::default());
    etcdutl.restore(&there, &etcd.members[0], &etcd.members, &[]);
    etcd.members[0].program = judge;
    etcd.members[0].start();
    let between = Guarded::new(&etcd);
    assert_eq!(between.told(), before.told());
    let back = etcd.dir().join("etcds.db");
    between.save(&back);
    let mut again = Cluster::prepare(1, &Options::default());
    Tool::ours().restore(&back, &again.members[0], &again.members, &[]);
    again.members[0].start();
    assert_eq!(Guarded::new(&again).told(), before.told());
}

#[test]
fn revisions_are_lifted_as_etcdutl_lifts_them() {
    let (Some(judge), Some(etcdutl)) = (judge::find(), Tool::etcds()) else { return };
    let (_cluster, before, file) = saved();
    let lift = ["--bump-revision=1000", "--mark-compacted"];
    let (_etcd, there) = restored(&etcdutl, Some(&judge), &file, &lift);
    let (_ours, here) = restored(&Tool::ours(), None, &file, &lift);
    assert_eq!(here, there);
    assert_eq!(here.revision, before.revision + 1_000);
    assert_eq!(here.kvs, before.kvs);
}

#[test]
fn the_tools_print_the_same() {
    let Some(etcdutl) = Tool::etcds() else { return };
    let (cluster, before, file) = saved();
    // etcdutl's hashkv writes into the file, whose checksum is wrong from then on.
    let copy = cluster.dir().join("copy.db");
    fs::copy(&file, &copy).expect("a copy");
    for format in ["simple", "fields", "json", "table"] {
        let status = ["snapshot", "status", text(&file), "-w", format];
        assert_eq!(Tool::ours().run(&status).0, etcdutl.run(&status).0);
        for revision in [0, before.revision - 20] {
            let rev = format!("--rev={revision}");
            let hash = |file| ["hashkv", text(file), "-w", format, &rev].map(str::to_owned);
            let printed = |tool: &Tool, file| {
                let words = hash(file);
                tool.run(&words.each_ref().map(String::as_str)).0
            };
            assert_eq!(printed(&Tool::ours(), &file), printed(&etcdutl, &copy));
        }
    }
    for words in [
        &["snapshot", "status", text(&file), "-w", "protobuf"][..],
        &["snapshot", "status", text(&file), "-w", "nonsense"],
        &["snapshot", "restore", text(&file), "--bump-revision=5"],
        &["snapshot", "status", "no such file"],
        &["hashkv", text(&file), "--rev=9999"],
        &["defrag"],
        &["nonsense"],
    ] {
        assert_eq!(Tool::ours().fail(words).0, etcdutl.fail(words).0, "{words:?}");
    }
    assert_eq!(Tool::ours().run(&["version"]), etcdutl.run(&["version"]));
}

#[test]
fn three_members_restore_one_snapshot() {
    let (_before, before, file) = saved();
    let mut cluster = Cluster::prepare(3, &Options::default());
    for member in &cluster.members {
        Tool::ours().restore(&file, member, &cluster.members, &[]);
        let again = ["snapshot", "restore", text(&file), "--data-dir", text(&member.data_dir)];
        let (code, complaint) = Tool::ours().fail(&again);
        assert_eq!(code, 1);
        assert!(complaint.contains("not empty or could not be read"), "{complaint}");
    }
    cluster.members.iter_mut().for_each(accept::Member::spawn);
    cluster.members.iter_mut().for_each(accept::Member::wait_until_ready);
    for member in &cluster.members {
        let asked = Asked::new(member.client);
        assert_eq!(asked.contents(), before);
        assert_eq!(asked.members().1.len(), 3);
    }
    Asked::new(cluster.members[1].client).put("and it goes on");
}

#[test]
fn damaged_snapshots_are_refused_and_leave_nothing_behind() {
    let (cluster, _, file) = saved();
    let good = fs::read(&file).expect("the snapshot");
    let (bad, target) = (cluster.dir().join("bad.db"), cluster.dir().join("target"));
    let refuse = |content: &[u8], flags: &[&str]| {
        fs::write(&bad, content).expect("a file");
        let restore = ["snapshot", "restore", text(&bad), "--data-dir", text(&target)];
        let (code, complaint) = Tool::ours().fail(&[&restore, flags].concat());
        assert_eq!(code, 1, "{complaint}");
        assert!(complaint.starts_with("Error: ") && !target.exists(), "{complaint}");
        complaint
    };
    for at in (0..good.len()).step_by(good.len() / 15) {
        let mut changed = good.clone();
        changed[at] ^= 0x10;
        refuse(&changed, &[]);
        refuse(&good[..at], &[]);
    }
    let mut changed = good.clone();
    *changed.last_mut().expect("a byte") ^= 1;
    assert!(refuse(&changed, &[]).contains("expected sha256"));
    let database = &good[..good.len() - 32];
    assert!(refuse(database, &[]).contains("snapshot missing hash but --skip-hash-check=false"));
    refuse(&database[..database.len() - 4_096], &["--skip-hash-check"]);

    fs::write(&bad, database).expect("a file");
    let (_again, _) = restored(&Tool::ours(), None, &bad, &["--skip-hash-check"]);
}

#[test]
fn a_stopped_members_data_is_checked() {
    let (mut cluster, before, _) = saved();
    let member = &mut cluster.members[0];
    let data_dir = text(&member.data_dir).to_owned();
    let check = ["check", &data_dir, "--timeout=100ms"];
    assert!(Tool::ours().fail(&check).1.contains("is held by another process"));
    member.signal(Signal::TERM);
    member.wait_for_exit(END_MAX);

    let (verdict, remarks) = Tool::ours().run(&check);
    assert!(verdict.ends_with(" is sound\n"), "{verdict}");
    let (revision, hash, compacted) = before.hashes[before.hashes.len() - 1];
    let words = format!("revision {revision}, compacted {compacted}, hash of keys {hash}");
    assert!(remarks.contains(&words), "{remarks}");
    Tool::ours().run(&["defrag", "--data-dir", &data_dir]);
    let hash = format!("{hash}, {revision}, {compacted}\n");
    assert_eq!(Tool::ours().run(&["hashkv", &data_dir]).0, hash);
    Tool::ours().run(&["migrate", "--data-dir", &data_dir, "--target-version=3.7"]);
    let migrate = ["migrate", "--data-dir", &data_dir, "--target-version=3.6"];
    assert!(Tool::ours().fail(&migrate).1.contains("save a snapshot"));

    let segment = accept::wal::segments(&member.data_dir).remove(0);
    let mut content = fs::read(&segment).expect("a segment");
    content[2_000] ^= 1;
    fs::write(&segment, content).expect("a segment");
    let (_, complaint) = Tool::ours().fail(&check);
    assert!(complaint.contains("is damaged at offset"), "{complaint}");
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

/// A client that takes its time gets what was there when it asked.
#[test]
fn a_snapshot_does_not_move_while_it_is_read() {
    let (cluster, before, _) = saved();
    let (addr, file) = (cluster.members[0].client, cluster.dir().join("slow.db"));
    let asked = Asked::new(addr);
    block_on(async {
        let mut client = MaintenanceClient::new(accept::api::channel(addr));
        let answer = client.snapshot(pb::SnapshotRequest {}).await.expect("a snapshot");
        let mut messages = answer.into_inner();
        let first = messages.message().await.expect("a message").expect("one at least");
        let mut content = first.blob.to_vec();
        std::thread::spawn(move || (0..50).for_each(|number| asked.put(&format!("late/{number}"))))
            .join()
            .expect("puts");
        while let Some(message) = messages.message().await.expect("a message") {
            content.extend_from_slice(&message.blob);
        }
        fs::write(&file, content).expect("a file");
    });
    let (printed, _) = Tool::ours().run(&["snapshot", "status", text(&file), "-w", "json"]);
    assert!(printed.contains(&format!("\"revision\":{},", before.revision)), "{printed}");
}

/// As many clients as there may be at once take nothing in: the next one is refused, until one of
/// them leaves.
#[test]
fn snapshots_under_way_are_bounded() {
    let cluster = Cluster::start(1);
    let addr = cluster.members[0].client;
    block_on(async {
        let channel = accept::api::channel(addr);
        let mut kv = KvClient::new(channel.clone());
        // More than a connection takes unread.
        for number in 0..8 {
            let key = format!("large/{number}").into();
            let value = vec![number; 1 << 20].into();
            kv.put(pb::PutRequest { key, value, ..Default::default() }).await.expect("a put");
        }
        let mut client = MaintenanceClient::new(channel);
        let mut idle = Vec::new();
        let refused = loop {
            match client.snapshot(pb::SnapshotRequest {}).await {
                Ok(answer) => idle.push(answer),
                Err(status) => break status,
            }
        };
        assert_eq!(refused.message(), "etcdserver: too many requests");
        assert_eq!(idle.len(), 64);
        drop(idle.pop());
        let deadline = std::time::Instant::now() + END_MAX;
        while let Err(status) = client.snapshot(pb::SnapshotRequest {}).await {
            assert!(std::time::Instant::now() < deadline, "{status}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    });
}
