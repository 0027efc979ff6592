//! `snapshot save`: what a member holds, to a file that is whole or not there.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use quorate_proto::etcdserverpb::SnapshotRequest;

use super::Session;
use super::client::{Client, told};
use crate::tool::format::show_bytes;
use crate::tool::{self, Failure};

/// A file's checksum stands after pages of this size.
const PAGE_BYTES: u64 = 512;
/// How long that checksum is.
const CHECKSUM_BYTES: u64 = 32;

/// Saves to a file.
pub(super) async fn save(path: &Path, session: &Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let endpoints: Vec<&str> = client.endpoints().collect();
    let [endpoint] = endpoints.as_slice() else {
        return Err(Failure::interrupted(format!(
            "snapshot must be requested to one selected node, not multiple [{}]",
            endpoints.join(" ")
        )));
    };
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let fetched = fetch(&client, &part);
    // Only somebody who names a time means that snapshots are to come within it.
    let fetched = if session.is_timeout_given {
        let late = || Err("context deadline exceeded".to_owned());
        let within = session.globals.command_timeout;
        tokio::time::timeout(within, fetched).await.unwrap_or_else(|_| late())
    } else {
        fetched.await
    };
    let saved = fetched.and_then(|(bytes, version)| {
        fs::rename(&part, path).map_err(|error| {
            format!("could not rename {} to {} ({error})", part.display(), path.display())
        })?;
        let size = show_bytes(bytes);
        tool::log("info", "fetched snapshot", &[("endpoint", endpoint), ("size", &size)]);
        Ok(version)
    });
    if saved.is_err() {
        // It may not have been made at all.
        let _ = fs::remove_file(&part);
    }
    let version = saved.map_err(Failure::interrupted)?;
    let mut text = format!("Snapshot saved at {}\n", path.display());
    if !version.is_empty() {
        text += &format!("Server version {version}\n");
    }
    tool::print(text.as_bytes())
}

/// Fetches to a file; how many bytes, and the version of what they hold.
async fn fetch(client: &Client, part: &Path) -> Result<(u64, String), String> {
    let mut file = open(part).map_err(|error| {
        format!("could not open {0} (open {0}: {1})", part.display(), plain(&error))
    })?;
    let line = client.line().await;
    let answer = line.maintenance().snapshot(SnapshotRequest {}).await;
    let mut messages = answer.map_err(|status| told(&status))?.into_inner();
    let (mut bytes, mut version) = (0, String::new());
    while let Some(message) = messages.message().await.map_err(|status| told(&status))? {
        let written = file.write_all(&message.blob);
        written.map_err(|error| format!("could not write snapshot: {}", plain(&error)))?;
        bytes += message.blob.len() as u64;
        version = message.version;
    }
    if bytes % PAGE_BYTES != CHECKSUM_BYTES {
        return Err(format!("sha256 checksum not found [bytes: {bytes}]"));
    }
    let synced = file.sync_all();
    synced.map_err(|error| format!("could not fsync snapshot: {}", plain(&error)))?;
    Ok((bytes, version))
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}
