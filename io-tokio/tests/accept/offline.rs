//! Offline tools, ours and etcd's, and what a server says it holds: to be compared.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bytes::Bytes;
use quorate_proto::etcdserverpb as pb;
use quorate_proto::etcdserverpb::cluster_client::ClusterClient;
use quorate_proto::etcdserverpb::kv_client::KvClient;
use quorate_proto::etcdserverpb::lease_client::LeaseClient;
use quorate_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate_proto::mvccpb::KeyValue;
use tonic::transport::Channel;

use super::api::channel;
use super::{Member, skip};

/// A program that works on files.
pub(crate) struct Tool {
    program: PathBuf,
    first: &'static [&'static str],
}

impl Tool {
    pub(crate) fn ours() -> Self {
        Self { program: env!("CARGO_BIN_EXE_quorate").into(), first: &["utl"] }
    }

    /// etcdutl of the version whose formats ours has, or nothing after saying so loudly.
    pub(crate) fn etcds() -> Option<Self> {
        let named = env::var_os("QUORATE_COMPAT_ETCDUTL").map(PathBuf::from);
        let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/judge/etcdutl");
        let program = named.unwrap_or(built);
        if !program.is_file() {
            skip("no etcdutl 3.7: build ./etcdutl in io-tokio/tests/judge");
            return None;
        }
        Some(Self { program, first: &[] })
    }

    pub(crate) fn output(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.args(self.first).args(args).stdin(Stdio::null());
        command.output().expect("the tool runs")
    }

    /// What it prints when it succeeds, and what it remarks.
    pub(crate) fn run(&self, args: &[&str]) -> (String, String) {
        let output = self.output(args);
        let remarks = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?} failed: {remarks}");
        (String::from_utf8_lossy(&output.stdout).into_owned(), remarks)
    }

    /// Its complaint when it fails, and its exit code.
    pub(crate) fn fail(&self, args: &[&str]) -> (i32, String) {
        let output = self.output(args);
        assert!(!output.status.success(), "{args:?} should have failed");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!complaint.contains("panicked"), "{args:?}: {complaint}");
        (output.status.code().expect("it ends by itself"), complaint)
    }

    /// Restores `file` to a member that was never started, as one of a cluster of these.
    pub(crate) fn restore(&self, file: &Path, member: &Member, all: &[Member], more: &[&str]) {
        let everyone: Vec<String> =
            all.iter().map(|member| format!("{}=http://{}", member.name, member.peer)).collect();
        let flags = [
            format!("--name={}", member.name),
            format!("--data-dir={}", member.data_dir.display()),
            format!("--initial-cluster={}", everyone.join(",")),
            "--initial-cluster-token=accept".to_owned(),
            format!("--initial-advertise-peer-urls=http://{}", member.peer),
        ];
        let mut args = vec!["snapshot", "restore", text(file)];
        args.extend(flags.iter().map(String::as_str));
        args.extend(more);
        self.run(&args);
    }
}

/// A path in words.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

/// What a server says it holds.
#[derive(Debug, PartialEq)]
pub(crate) struct Contents {
    pub(crate) revision: i64,
    pub(crate) kvs: Vec<KeyValue>,
    /// The compacted revision, and HashKV of every revision after it.
    pub(crate) hashes: Vec<(i64, u32, i64)>,
    /// Leases: id, time to live as granted, keys.
    pub(crate) leases: Vec<(i64, i64, Vec<Bytes>)>,
}

/// A server asked from a thread that waits.
pub(crate) struct Asked {
    runtime: tokio::runtime::Runtime,
    addr: SocketAddr,
}

impl Asked {
    pub(crate) fn new(addr: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self { runtime: runtime.expect("a runtime"), addr }
    }

    /// A new one for each call: servers come and go.
    fn channel(&self) -> Channel {
        let _entered = self.runtime.enter();
        channel(self.addr)
    }

    /// Keys of many sizes, changed, deleted and hung on leases; a compaction in the middle.
    pub(crate) fn fill(&self) {
        self.runtime.block_on(async {
            let mut kv = KvClient::new(self.channel());
            let mut leases = LeaseClient::new(self.channel());
            for id in [77, 78] {
                let grant = pb::LeaseGrantRequest { ttl: 1_000 * id, id };
                leases.lease_grant(grant).await.expect("a lease");
            }
            for number in 0..150_usize {
                if number == 100 {
                    let delete =
                        pb::DeleteRangeRequest { key: "key/3".into(), ..Default::default() };
                    kv.delete_range(delete).await.expect("a deletion");
                    let compact = pb::CompactionRequest { revision: 60, physical: true };
                    kv.compact(compact).await.expect("a compaction");
                }
                let bytes = if number == 120 { 200_000 } else { number * 97 % 900 };
                let put = pb::PutRequest {
                    key: format!("key/{}", number % 40).into(),
                    value: vec![b'v'; bytes].into(),
                    lease: if number % 7 == 0 { 77 + (number % 2) as i64 } else { 0 },
                    ..Default::default()
                };
                kv.put(put).await.expect("a put");
            }
        });
    }

    pub(crate) fn put(&self, key: &str) {
        let mut kv = KvClient::new(self.channel());
        let request =
            pb::PutRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..Default::default() };
        self.runtime.block_on(async { kv.put(request).await.expect("a put") });
    }

    /// Cluster and members: ids and peer URLs.
    pub(crate) fn members(&self) -> (u64, Vec<(u64, Vec<String>)>) {
        let mut cluster = ClusterClient::new(self.channel());
        let request = pb::MemberListRequest { linearizable: false };
        let answer = self.runtime.block_on(cluster.member_list(request)).expect("members");
        let answer = answer.into_inner();
        let id = answer.header.map_or(0, |header| header.cluster_id);
        (id, answer.members.into_iter().map(|member| (member.id, member.peer_ur_ls)).collect())
    }

    pub(crate) fn contents(&self) -> Contents {
        self.runtime.block_on(self.read()).expect("what the server holds")
    }

    async fn read(&self) -> Result<Contents, tonic::Status> {
        let all = Bytes::from_static(b"\0");
        let range = pb::RangeRequest { key: all.clone(), range_end: all, ..Default::default() };
        let kv = KvClient::new(self.channel());
        let mut kv = kv.max_decoding_message_size(1 << 30);
        let found = kv.range(range).await?.into_inner();
        let revision = found.header.map_or(0, |header| header.revision);
        let mut maintenance = MaintenanceClient::new(self.channel());
        let newest = maintenance.hash_kv(pb::HashKvRequest { revision: 0 }).await?.into_inner();
        let mut hashes = Vec::new();
        // The hash of the compacted revision itself may be remembered from before.
        for revision in (newest.compact_revision + 1).max(1)..=revision {
            let hash = maintenance.hash_kv(pb::HashKvRequest { revision }).await?.into_inner();
            hashes.push((revision, hash.hash, hash.compact_revision));
        }
        let mut client = LeaseClient::new(self.channel());
        let listed = client.lease_leases(pb::LeaseLeasesRequest {}).await?.into_inner().leases;
        let mut leases = Vec::new();
        for lease in listed {
            let ask = pb::LeaseTimeToLiveRequest { id: lease.id, keys: true };
            let mut told = client.lease_time_to_live(ask).await?.into_inner();
            told.keys.sort();
            leases.push((told.id, told.granted_ttl, told.keys));
        }
        leases.sort();
        Ok(Contents { revision, kvs: found.kvs, hashes, leases })
    }

    /// Saves a snapshot as clients do; every message is held against what it must be.
    pub(crate) fn save(&self, to: &Path) {
        self.runtime.block_on(async {
            let mut client = MaintenanceClient::new(self.channel());
            let answer = client.snapshot(pb::SnapshotRequest {}).await.expect("a snapshot");
            let mut messages = answer.into_inner();
            let (mut file, mut before) = (Vec::new(), None);
            while let Some(message) = messages.message().await.expect("a message") {
                assert!((1..=32 << 10).contains(&message.blob.len()));
                assert_eq!(message.version, "3.7.0");
                let bytes = message.blob.len() as u64;
                match before {
                    Some(0) => assert_eq!((message.remaining_bytes, bytes), (0, 32)),
                    Some(before) => assert_eq!(message.remaining_bytes + bytes, before),
                    None => {}
                }
                before = Some(message.remaining_bytes);
                file.extend_from_slice(&message.blob);
            }
            assert_eq!(file.len() % 512, 32);
            fs::write(to, file).expect("a file");
        });
    }
}

/// Every file below a folder, with its content.
pub(crate) fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let content = fs::read(&path).expect("a file");
            found.push((path, content));
        }
    }
    found.sort();
    found
}
