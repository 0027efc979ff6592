//! Data directories of etcd members become Quorate's, and nothing is lost on the way.

mod accept;
#[path = "compat/judge.rs"]
#[allow(dead_code, reason = "only the judge's place is asked for")]
mod judge;

use std::path::Path;
use std::time::Duration;

use accept::offline::{Asked, Contents, Tool, files, text};
use accept::{Cluster, Member, Options};
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::auth_client::AuthClient;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use rustix::process::Signal;

const END_MAX: Duration = Duration::from_secs(20);

/// A real etcd of so many members, with something in it.
fn etcd(judge: &Path, size: usize) -> Cluster {
    let mut cluster = Cluster::prepare(size, &Options::default());
    cluster.members.iter_mut().for_each(|member| member.program = judge.to_owned());
    cluster.members.iter_mut().for_each(Member::spawn);
    cluster.members.iter_mut().for_each(Member::wait_until_ready);
    Asked::new(cluster.members[0].client).fill();
    cluster
}

fn stop(member: &mut Member) {
    member.signal(Signal::TERM);
    member.wait_for_exit(END_MAX);
}

/// Starts all as Quorate, each with its own data.
fn start_as_ours(cluster: &mut Cluster) {
    cluster.members.iter_mut().for_each(|member| member.program = accept::program());
    cluster.members.iter_mut().for_each(Member::spawn);
    cluster.members.iter_mut().for_each(Member::wait_until_ready);
}

/// Holds what is there against what was, up to the revision it had then.
fn check_kept(asked: &Asked, before: &Contents, more: usize) {
    let now = asked.contents();
    assert_eq!(now.revision, before.revision + more as i64);
    assert_eq!(now.kvs.len(), before.kvs.len() + more);
    assert_eq!(now.hashes[..before.hashes.len()], before.hashes);
    assert_eq!(now.leases, before.leases);
}

#[test]
fn a_member_that_was_stopped_is_adopted_in_place() {
    let Some(judge) = judge::find() else { return };
    let mut cluster = etcd(&judge, 1);
    let asked = Asked::new(cluster.members[0].client);
    let (before, members) = (asked.contents(), asked.members());
    let data_dir = text(&cluster.members[0].data_dir).to_owned();
    let (_, complaint) = Tool::ours().fail(&["adopt", &data_dir, "--timeout=100ms"]);
    assert!(complaint.contains("in use by another process"), "{complaint}");
    stop(&mut cluster.members[0]);

    let source = cluster.members[0].data_dir.join("member");
    let bytes = |folder: &Path| files(folder).into_iter().map(|(_, it)| it).collect::<Vec<_>>();
    let original = bytes(&source);
    cluster.members[0].program = accept::program();
    cluster.members[0].spawn();
    assert!(!cluster.members[0].wait_for_exit(END_MAX).success());
    assert!(cluster.members[0].log().contains("`quorate utl adopt` makes it Quorate's"));
    Tool::ours().run(&["adopt", &data_dir]);
    let kept = cluster.members[0].data_dir.join("member.etcd");
    assert!(bytes(&kept) == original, "the original was changed");
    Tool::ours().run(&["check", &data_dir]);
    start_as_ours(&mut cluster);
    check_kept(&asked, &before, 0);
    assert_eq!(asked.members(), members);
    asked.put("and it goes on");
    check_kept(&asked, &before, 1);

    cluster.members[0].kill();
    cluster.members[0].start();
    check_kept(&asked, &before, 1);
    let (_, complaint) = Tool::ours().fail(&["adopt", &data_dir]);
    assert!(complaint.contains("Quorate's already"), "{complaint}");
}

#[test]
fn what_only_the_log_has_is_adopted_too() {
    let Some(judge) = judge::find() else { return };
    let mut cluster = etcd(&judge, 1);
    let asked = Asked::new(cluster.members[0].client);
    let (before, members) = (asked.contents(), asked.members());
    (0..20).for_each(|number| asked.put(&format!("late/{number}")));
    cluster.members[0].kill();

    let (from, to) = (cluster.members[0].data_dir.clone(), cluster.dir().join("adopted"));
    let wal = cluster.dir().join("log");
    std::fs::rename(from.join("member/wal"), &wal).expect("a free name");
    let original = files(&from);
    let adopt = ["adopt", text(&from), "--wal-dir", text(&wal), "--data-dir", text(&to)];
    let (_, remarks) = Tool::ours().run(&adopt);
    assert!(!remarks.contains(" 0 more in the log"), "{remarks}");
    assert!(files(&from) == original, "the original was changed");
    let (_, complaint) = Tool::ours().fail(&adopt);
    assert!(complaint.contains("holds a member already"), "{complaint}");
    std::fs::rename(&from, cluster.dir().join("etcds")).expect("a free name");
    std::fs::rename(&to, &from).expect("a free name");
    start_as_ours(&mut cluster);
    check_kept(&asked, &before, 20);
    assert_eq!(asked.members(), members);
}

#[test]
fn a_cluster_of_three_is_adopted() {
    let Some(judge) = judge::find() else { return };
    let mut cluster = etcd(&judge, 3);
    let asked: Vec<Asked> = cluster.members.iter().map(|m| Asked::new(m.client)).collect();
    let (before, members) = (asked[0].contents(), asked[0].members());
    (0..20).for_each(|number| asked[1].put(&format!("late/{number}")));
    stop(&mut cluster.members[0]);
    cluster.members[1].kill();
    cluster.members[2].kill();
    for member in &cluster.members {
        Tool::ours().run(&["adopt", text(&member.data_dir)]);
    }
    start_as_ours(&mut cluster);
    for one in &asked {
        check_kept(one, &before, 20);
        assert_eq!(one.members(), members);
    }
}

#[test]
fn users_and_their_rights_are_adopted() {
    let Some(judge) = judge::find() else { return };
    for has_snapshot in [false, true] {
        adopt_with_users(&judge, has_snapshot);
    }
}

fn adopt_with_users(judge: &Path, has_snapshot: bool) {
    let mut cluster = etcd(judge, 1);
    let member = &mut cluster.members[0];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async {
        let mut auth = AuthClient::new(accept::api::channel(member.client));
        let (name, password) = ("root".to_owned(), "secret".to_owned());
        let user = pb::AuthUserAddRequest { name, password, ..Default::default() };
        auth.user_add(user).await.expect("a user");
        let (user, role) = ("root".to_owned(), "root".to_owned());
        let grant = pb::AuthUserGrantRoleRequest { user, role };
        auth.user_grant_role(grant).await.expect("a role");
        auth.auth_enable(pb::AuthEnableRequest {}).await.expect("authentication");
    });
    member.kill();
    // What is in the log alone, and what has come to the database.
    if has_snapshot {
        member.start();
        stop(member);
    }
    Tool::ours().run(&["adopt", text(&member.data_dir)]);
    start_as_ours(&mut cluster);
    let client = cluster.members[0].client;
    runtime.block_on(async {
        let channel = accept::api::channel(client);
        let mut kv = KvClient::new(channel.clone());
        let put = pb::PutRequest { key: "k".into(), ..Default::default() };
        let refused = kv.put(put.clone()).await.expect_err("nobody may");
        assert_eq!(refused.message(), "etcdserver: user name is empty");
        let mut auth = AuthClient::new(channel);
        let (name, password) = ("root".to_owned(), "secret".to_owned());
        let ask = pb::AuthenticateRequest { name, password };
        let token = auth.authenticate(ask).await.expect("a token").into_inner().token;
        let mut call = tonic::Request::new(put);
        call.metadata_mut().insert("token", token.parse().expect("letters"));
        kv.put(call).await.expect("root may");
        let status = auth.auth_status(pb::AuthStatusRequest {}).await.expect("an answer");
        assert_eq!(status.into_inner().auth_revision, 3);
    });
}

#[test]
fn what_would_not_be_served_alike_is_refused() {
    let Some(judge) = judge::find() else { return };
    let mut cluster = etcd(&judge, 1);
    let member = &mut cluster.members[0];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let mut maintenance = MaintenanceClient::new(accept::api::channel(member.client));
        let action = pb::downgrade_request::DowngradeAction::Enable as i32;
        let downgrade = pb::DowngradeRequest { action, version: "3.6".to_owned() };
        maintenance.downgrade(downgrade).await.expect("a downgrade");
    });
    stop(member);
    let (code, complaint) = Tool::ours().fail(&["adopt", text(&member.data_dir)]);
    assert_eq!(code, 1);
    assert!(complaint.contains("a downgrade is under way in it"), "{complaint}");
    assert!(!member.data_dir.join("member.etcd").exists());
}
