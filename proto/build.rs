//! Compiles `proto/*.proto` with protox: no `protoc` on the machine is needed or asked.

use std::path::PathBuf;

use prost::Message as _;
use prost_types::FileDescriptorSet;

const ROOTS: [&str; 11] = [
    "auth.proto",
    "health.proto",
    "kv.proto",
    "lease.proto",
    "membership.proto",
    "peer.proto",
    "raft.proto",
    "raft_internal.proto",
    "rpc.proto",
    "v3election.proto",
    "v3lock.proto",
];

/// Members of the log envelope that are rare: boxed, so that a put's envelope stays small.
const RARE: [&str; 29] = [
    "compaction",
    "alarm",
    "lease_checkpoint",
    "auth_enable",
    "auth_disable",
    "auth_status",
    "authenticate",
    "auth_user_add",
    "auth_user_delete",
    "auth_user_get",
    "auth_user_change_password",
    "auth_user_grant_role",
    "auth_user_revoke_role",
    "auth_user_list",
    "auth_role_list",
    "auth_role_add",
    "auth_role_delete",
    "auth_role_get",
    "auth_role_grant_permission",
    "auth_role_revoke_permission",
    "cluster_version_set",
    "cluster_member_attr_set",
    "downgrade_info_set",
    "downgrade_version_test",
    "lease_grant",
    "lease_revoke",
    "range",
    "txn",
    "delete_range",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("proto");
    println!("cargo:rerun-if-changed={}", dir.display());
    let mut files = ROOTS.to_vec();
    files.push("wal.proto");
    let set = protox::compile(files, [&dir])?;
    embed(&set)?;

    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    config.btree_map(["."]);
    for field in RARE {
        config.boxed(format!(".etcdserverpb.InternalRaftRequest.{field}"));
    }
    let services = std::env::var_os("CARGO_FEATURE_SERVICES").is_some();
    tonic_prost_build::configure()
        .build_client(services)
        .build_server(services)
        .build_transport(false)
        .codec_path("crate::codec::SmallCodec")
        .compile_fds_with_config(set, config)?;
    Ok(())
}

/// Writes the descriptors for programs that look at messages by name; what they do not need, the
/// places of all words in the source, is left out.
fn embed(set: &FileDescriptorSet) -> std::io::Result<()> {
    let mut set = set.clone();
    for file in &mut set.file {
        file.source_code_info = None;
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    std::fs::write(out.join("descriptors.bin"), set.encode_to_vec())
}
