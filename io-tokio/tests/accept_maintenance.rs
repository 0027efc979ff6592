//! Alarms, quota, compaction, defragmentation, downgrades: the same of a real etcd 3.7.
//!
//! Where Quorate answers before the work is done (a defragmentation), it is waited for.

mod accept;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use accept::api::{Api, leader_of};
use accept::ctl::Ctl;
use accept::{Cluster, Options, assert_eventually, wait_for};
use quorate_proto::etcdserverpb::StatusResponse;
use quorate_proto::etcdserverpb::downgrade_request::DowngradeAction;
use serde_json::Value;
use tonic::Code;

const SOON: Duration = Duration::from_secs(30);
const NO_SPACE: &str = "Error: etcdserver: mvcc: database space exceeded";
const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const QUOTA_BYTES: i64 = 2 << 20;

fn start(size: usize, flags: &[&str]) -> Cluster {
    let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    Cluster::start_with(size, &Options { flags })
}

fn apis(cluster: &Cluster) -> Vec<Api> {
    cluster.members.iter().map(|member| Api::new(member.client)).collect()
}

fn status(api: &Api) -> StatusResponse {
    api.status().expect("a status")
}

/// A value that does not compress.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let word = |n: u64| quorate_core::draw::draw(seed, 7, 0, n).to_le_bytes();
    (0..bytes as u64 / 8).flat_map(word).collect()
}

/// One put after the other to one key, until there is no space.
fn fill(api: &Api) {
    for n in 0..1_000 {
        if let Err(refused) = api.put("filling", noise(n, 64 << 10)) {
            assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
            assert_eq!(refused.message(), "etcdserver: mvcc: database space exceeded");
            assert!(n >= 10, "refused after {n}");
            return;
        }
    }
    panic!("the quota never ended");
}

#[test]
fn a_full_cluster_is_made_usable_again() {
    if accept::find_client("etcdctl").is_none() {
        return;
    }
    for size in [1, 3] {
        let cluster = start(size, &[&format!("--quota-backend-bytes={QUOTA_BYTES}")]);
        let ctl = Ctl::find(&cluster).expect("etcdctl was there a moment ago");
        let apis = apis(&cluster);
        let status_of_all = || apis.iter().map(status).collect::<Vec<_>>();
        assert!(status_of_all().iter().all(|one| one.db_size_quota == QUOTA_BYTES));
        assert_eq!(ctl.run(&["put", "kept", "safe"]), "OK\n");
        fill(&apis[0]);

        // Raised by the member that was asked, known to all. Others may have raised their own.
        let member = status(&apis[0]).header.expect("a header").member_id;
        let raised = format!("memberID:{member} alarm:NOSPACE");
        wait_for(SOON, "the alarm is known", || {
            status_of_all().iter().all(|one| one.errors.contains(&raised))
        });
        assert!(alarms(&ctl, "list").contains(&raised));
        // What needs space is refused everywhere; the rest goes on.
        let last = ctl.at(cluster.members[size - 1].url());
        assert_eq!(last.fail(&["put", "small", "v"]), NO_SPACE);
        let no_lease = last.fail(&["lease", "grant", "60"]);
        assert!(no_lease.contains("etcdserver: mvcc: database space exceeded"), "{no_lease}");
        assert_eq!(last.fail_with_input(&["txn"], "\nput a 1\n\n\n"), NO_SPACE);
        assert_eq!(last.run_with_input(&["txn"], "\nget kept\n\n\n"), "SUCCESS\n\nkept\nsafe\n");
        assert_eq!(last.run(&["get", "kept"]), "kept\nsafe\n");
        assert_eq!(last.run(&["del", "absent"]), "0\n");

        let revision = status_of_all()[0].header.expect("a header").revision.to_string();
        let compacted = format!("compacted revision {revision}\n");
        assert_eq!(ctl.run(&["compact", &revision, "--physical"]), compacted);
        assert_defragments(&ctl, &cluster);
        wait_for(SOON, "the space comes back", || {
            status_of_all().iter().all(|one| one.db_size < QUOTA_BYTES / 4)
        });
        assert_eq!(ctl.fail(&["put", "small", "v"]), NO_SPACE, "until the alarm is disarmed");
        let all = alarms(&ctl, "list");
        assert!(all.iter().all(|line| line.ends_with(" alarm:NOSPACE")), "{all:?}");
        assert_eq!(alarms(&ctl, "disarm"), all);
        assert_eq!(alarms(&ctl, "list"), BTreeSet::new());
        assert_eq!(last.run(&["put", "small", "v"]), "OK\n");
        assert_eq!(ctl.run(&["get", "kept"]), "kept\nsafe\n");
        assert!(status_of_all().iter().all(|one| one.errors.is_empty()));
    }
}

/// The alarms that are listed, or that are disarmed.
fn alarms(ctl: &Ctl, verb: &str) -> BTreeSet<String> {
    ctl.run(&["alarm", verb]).lines().map(|line| line.trim_end().to_owned()).collect()
}

fn assert_defragments(ctl: &Ctl, cluster: &Cluster) {
    let expected: Vec<String> = cluster
        .members
        .iter()
        .map(|member| format!("Finished defragmenting etcd member[{}]", member.url()))
        .collect();
    let said = ctl.run(&["defrag"]);
    // Later ones add how long it took.
    let first =
        |line: &str| line.split_once("].").map_or(line.to_owned(), |it| it.0.to_owned() + "]");
    assert_eq!(said.lines().map(first).collect::<Vec<_>>(), expected);
}

#[test]
fn a_defragmentation_takes_no_client_s_time() {
    if accept::find_client("etcdctl").is_none() {
        return;
    }
    let cluster = start(3, &[]);
    let ctl = Ctl::find(&cluster).expect("etcdctl was there a moment ago");
    let apis = apis(&cluster);
    for n in 0..50 {
        apis[0].put("k", noise(n, 10_000)).expect("a put");
    }
    for api in &apis {
        assert_defragments(&ctl, &cluster);
        api.put("k", noise(1, 10)).expect("a put");
    }
    let hashes = || {
        let all = ctl.json(&["endpoint", "hashkv"]);
        let all = all.as_array().expect("one per endpoint").clone();
        all.iter().map(|one| one["HashKV"]["hash"].clone()).collect::<Vec<Value>>()
    };
    wait_for(SOON, "equal hashes", || hashes().windows(2).all(|two| two[0] == two[1]));
}

#[test]
fn a_member_tells_how_it_is() {
    let cluster = start(3, &[]);
    let apis = apis(&cluster);
    apis[0].put("k", noise(1, 100_000)).expect("a put");
    let quota = 2 << 30;
    for api in &apis {
        // Decided at the first start, which may take until all have been heard.
        let told = |one: StatusResponse| {
            let sizes = one.db_size >= one.db_size_in_use && one.db_size_in_use >= 100_000;
            let raft = one.raft_applied_index > 3 && one.raft_index >= one.raft_applied_index;
            let info = one.downgrade_info.unwrap_or_default();
            (one.version, one.storage_version, one.db_size_quota, sizes && raft, info.enabled)
        };
        let expected = ("3.7.1".to_owned(), "3.7.0".to_owned(), quota, true, false);
        assert_eventually(SOON, &expected, || told(status(api)));
    }
}

#[test]
fn a_downgrade_is_enabled_and_cancelled() {
    use DowngradeAction::{Cancel, Enable, Validate};
    let cluster = start(3, &[]);
    let leader = leader_of(&cluster);
    let apis = apis(&cluster);
    let (one, other) = (&apis[leader], &apis[(leader + 1) % 3]);
    let version = || other.downgrade(Cancel, "").expect("a version");
    assert_eventually(SOON, &"3.7".to_owned(), version);
    let refused = |action, to: &str| {
        let refused = other.downgrade(action, to).expect_err("a refusal");
        (refused.code(), refused.message().to_owned())
    };
    let format = "etcdserver: wrong downgrade target version format".to_owned();
    let target = "etcdserver: invalid downgrade target version".to_owned();
    let twice = "etcdserver: cluster has a downgrade job in progress".to_owned();
    for (word, expected) in
        [("", &format), ("3", &format), ("3.x", &format), ("3.7", &target), ("3.5.0", &target)]
    {
        assert_eq!(refused(Validate, word), (Code::InvalidArgument, expected.clone()), "{word:?}");
        assert_eq!(refused(Enable, word), (Code::InvalidArgument, expected.clone()), "{word:?}");
    }
    assert_eq!(other.downgrade(Validate, "3.6").expect("possible"), "3.7");
    assert_eq!(other.downgrade(Enable, "3.6.0").expect("enabled"), "3.7");

    let told = |api: &Api| {
        let status = status(api);
        let info = status.downgrade_info.unwrap_or_default();
        (status.version, info.enabled, info.target_version)
    };
    for api in &apis {
        let expected = ("3.7.1".to_owned(), true, "3.6.0".to_owned());
        assert_eventually(SOON, &expected, || told(api));
    }
    // The leader takes the cluster's version down, and the next target would be 3.5.
    let in_process = (Code::FailedPrecondition, twice);
    assert_eventually(SOON, &in_process, || refused(Validate, "3.5"));
    assert_eq!(refused(Enable, "3.6"), (Code::InvalidArgument, target));
    one.put("k", vec![1]).expect("members serve as before");

    assert_eq!(one.downgrade(Cancel, "").expect("cancelled"), "3.6");
    for api in &apis {
        assert_eventually(SOON, &("3.7.1".to_owned(), false, String::new()), || told(api));
    }
    assert_eventually(SOON, &"3.7".to_owned(), version);
}

#[test]
fn a_downgrade_outlives_a_restart() {
    let mut cluster = start(1, &[]);
    let version = |cluster: &Cluster| apis(cluster)[0].downgrade(DowngradeAction::Cancel, "");
    assert_eventually(SOON, &Some("3.7".to_owned()), || version(&cluster).ok());
    apis(&cluster)[0].downgrade(DowngradeAction::Enable, "3.6").expect("enabled");
    cluster.members[0].kill();
    cluster.members[0].start();
    let info = status(&apis(&cluster)[0]).downgrade_info.unwrap_or_default();
    assert_eq!((info.enabled, info.target_version.as_str()), (true, "3.6.0"));
}

#[test]
fn old_revisions_go_by_themselves() {
    let cluster = start(3, &["--auto-compaction-retention=2s"]);
    let apis = apis(&cluster);
    let first = apis[0].put("k", vec![0]).expect("a put");
    for n in 0..5 {
        apis[0].put("k", vec![n]).expect("a put");
    }
    wait_for(Duration::from_secs(20), "compacted", || {
        let refused = apis[1].get_at("k", first).err();
        refused.is_some_and(|it| it.message() == COMPACTED)
    });
    assert_eq!(apis[2].get_at("k", 0).expect("a range").count, 1);
}

/// A file system of its own, in memory, for as long as the test runs.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &std::path::Path, bytes: u64) -> Option<Self> {
        std::fs::create_dir_all(at).expect("a folder");
        let size = format!("size={bytes}");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        mount.is_ok_and(|it| it.status.success()).then(|| Self(at.to_path_buf()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the member may not have let go of its files yet.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_disk_that_fills_up_loses_nothing_and_can_be_made_room_on() {
    if !accept::is_quorate() || accept::find_client("etcdctl").is_none() {
        return;
    }
    let mut cluster = Cluster::prepare(1, &Options::default());
    let Some(_disk) = SmallDisk::mount(&cluster.members[0].data_dir, 480 << 20) else {
        eprintln!("SKIPPED: no file system can be mounted here");
        return;
    };
    cluster.members[0].start();
    let ctl = Ctl::find(&cluster).expect("etcdctl was there a moment ago");
    let api = Api::new(cluster.members[0].client);
    let mut last = 0;
    let refused = (0..5_000).find_map(|n| {
        let put = api.put("filling", noise(n, 256 << 10));
        last = if put.is_ok() { n } else { last };
        put.err()
    });
    assert_eq!(refused.expect("the disk is small").code(), Code::ResourceExhausted);
    assert!(alarms(&ctl, "list").iter().all(|line| line.ends_with("alarm:NOSPACE")));
    let newest = |api: &Api| api.get_at("filling", 0).expect("a range").kvs[0].value.to_vec();
    assert_eq!(newest(&api), noise(last, 256 << 10));

    // Nothing is lost, and a full disk does not keep the member from starting.
    cluster.members[0].kill();
    cluster.members[0].start();
    let api = Api::new(cluster.members[0].client);
    assert_eq!(newest(&api), noise(last, 256 << 10));
    let revision = api.status().expect("a status").header.expect("a header").revision;
    ctl.run(&["compact", &revision.to_string(), "--physical"]);
    ctl.run(&["defrag"]);
    wait_for(Duration::from_secs(60), "room", || {
        ctl.run(&["alarm", "disarm"]);
        api.put("after", vec![1]).is_ok()
    });
    assert_eq!(newest(&api), noise(last, 256 << 10));
}

/// Bytes of blocks below a folder, without journals, which have a size of their own.
fn used(folder: &std::path::Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    let (mut tables, mut journals) = (0, 0);
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            let (more, others) = used(&path);
            (tables, journals) = (tables + more, journals + others);
        } else if let Ok(file) = path.metadata() {
            let is_journal = path.extension().is_some_and(|it| it == "jnl");
            *(if is_journal { &mut journals } else { &mut tables }) += file.blocks() * 512;
        }
    }
    (tables, journals)
}

#[test]
fn space_comes_back_by_itself() {
    if !accept::is_quorate() {
        return;
    }
    const KEYS: u64 = 20_000;
    let cluster = start(1, &[]);
    let (api, store) = (&apis(&cluster)[0], cluster.members[0].data_dir.join("member/store"));
    for version in 0..5 {
        for first in (0..KEYS).step_by(100) {
            let pair = |n: u64| (format!("key {n:08}"), noise(n * 5 + version, 256));
            api.put_all((first..first + 100).map(pair)).expect("a transaction");
        }
    }
    // 256 bytes of value, 48 of the record around it, 17 of its key, and the store's own.
    let live = KEYS * (256 + 48 + 17);
    wait_for(SOON, "written out", || used(&store).0 + used(&store).1 > 4 * live);
    let revision = status(api).header.expect("a header").revision;
    api.compact(revision).expect("a compaction");
    let mut seen = (0, 0);
    wait_for(Duration::from_secs(60), "the space comes back", || {
        seen = used(&store);
        seen.0 <= live * 14 / 10
    });
    println!("live {live}, tables {}, journals {}", seen.0, seen.1);
    assert!(seen.1 <= 140 << 20, "journals: {}", seen.1);
    let told = status(api);
    assert!(told.db_size <= (live * 14 / 10) as i64, "{told:?}");
}
