//! A file of etcd's that is to become a member's data: is everything in it understood?

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_core::error::StorageFault;
use quorate_core::schema::meta;
use quorate_core::storage::{StateRead, Table};
use quorate_core::time::Time;
use quorate_core::{CLUSTER_VERSION, Config, State};
use serde::Deserialize;

use super::Failure;
use crate::bolt::BoltFile;
use crate::version;

/// What `cluster` says of a downgrade.
#[derive(Deserialize)]
struct Downgrade {
    #[serde(default)]
    enabled: bool,
}

/// Opens a file that must be there.
pub(super) fn open(path: &Path, patience: Duration) -> Result<BoltFile, Failure> {
    if let Err(error) = std::fs::metadata(path) {
        return Err(Failure::new(format!("stat {}: {error}", path.display())));
    }
    Ok(BoltFile::open(path, patience)?)
}

/// Refuses what this version would not serve as etcd does.
pub(super) fn check_known(file: &BoltFile) -> Result<(), Failure> {
    let mut names = file.bucket_names();
    if let Some(name) = names.find(|name| Table::OF_ETCD.iter().all(|table| table.name() != *name))
    {
        let name = String::from_utf8_lossy(name);
        return Err(Failure::new(format!("it has a bucket {name:?}, which is not known here")));
    }
    check_version(file.get(Table::Meta, meta::STORAGE_VERSION.as_bytes())?)?;
    let downgrade = file.get(Table::Cluster, b"downgrade")?;
    match downgrade.map(|json| serde_json::from_slice::<Downgrade>(&json)) {
        Some(Ok(Downgrade { enabled: true }) | Err(_)) => Err(Failure::new(
            "a downgrade is under way in it; cancel it (`etcdctl downgrade cancel`) and try again",
        )),
        _ => Ok(()),
    }
}

fn check_version(row: Option<Bytes>) -> Result<(), Failure> {
    let Some(row) = row else { return Ok(()) };
    let text = String::from_utf8_lossy(&row);
    let minor = |text: &str| {
        let (major, rest) = text.split_once('.')?;
        let minor = rest.split('.').next()?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    if minor(&text).is_some_and(|found| Some(found) <= minor(CLUSTER_VERSION)) {
        return Ok(());
    }
    let newest = version::minor(CLUSTER_VERSION);
    Err(Failure::new(format!(
        "its layout is that of version {text:?}, and the newest known here is {newest}"
    )))
}

/// Opens all ledgers on the rows, as a member would.
pub(super) fn check_rows(
    config: &Config,
    rows: &Arc<dyn StateRead>,
) -> Result<State, StorageFault> {
    State::open(config, Arc::clone(rows), Time::default())
}

/// All keys of a table.
pub(super) fn keys(rows: &dyn StateRead, table: Table) -> Result<Vec<Bytes>, StorageFault> {
    let mut keys = Vec::new();
    rows.scan(table, &[], &[], &mut |key, _| {
        keys.push(Bytes::copy_from_slice(key));
        ControlFlow::Continue(())
    })?;
    Ok(keys)
}
