//! Members of a new cluster as DNS names them.
//!
//! Records name hosts and ports, not members. The one that leads to where this member advertises
//! itself is this member; the others are called by numbers, which is as good: they are known by
//! their URLs.
//!
//! Answers to: etcd v3.7.1 `client/pkg/srv/srv.go` (GetCluster), `server/embed/config.go`
//! (GetDNSClusterNames)

use tracing::{info, warn};

use super::{BootstrapError, resolve};
use crate::cli::{Settings, SrvNames, Url, parse_members};
use crate::srv;

/// The members that the records name, of those with TLS and of those without.
pub(super) async fn members(
    settings: &Settings,
    names: &SrvNames,
) -> Result<Vec<(String, Vec<Url>)>, BootstrapError> {
    let (mut listed, mut reasons) = (Vec::new(), Vec::new());
    for is_secure in [true, false] {
        let service = srv::service("etcd-server", is_secure, &names.service_name);
        match srv::look_up(&service, is_secure, &names.domain).await {
            Ok(found) => listed.extend(name(settings, found.iter().map(|target| &target.url))),
            Err(why) => {
                reasons.push(format!("error querying DNS SRV records for _{service} {why}"))
            }
        }
    }
    if !reasons.is_empty() {
        warn!(reason = reasons.join("; "), "failed to resolve during SRV discovery");
    }
    if listed.is_empty() {
        return Err(BootstrapError::NoRecords(reasons.join("; ")));
    }
    for node in &listed {
        info!(node, "got bootstrap from DNS for etcd-server");
    }
    let members = parse_members(&listed.join(","));
    let members = members.map_err(|error| BootstrapError::NoRecords(error.to_string()))?;
    if members.iter().all(|(name, _)| *name != settings.name) {
        return Err(BootstrapError::NotInRecords(settings.name.clone()));
    }
    Ok(members)
}

/// What each of the URLs is called, as `--initial-cluster` has it.
fn name<'a>(settings: &Settings, urls: impl Iterator<Item = &'a Url>) -> Vec<String> {
    let own = |url: &Url| {
        let at = resolve(url);
        settings.advertise_peer.iter().find(|own| *own == url || at.is_some() && resolve(own) == at)
    };
    let mut others = 0..;
    let named = urls.filter_map(|url| match own(url) {
        Some(own) if own.is_secure != url.is_secure => {
            warn!(%url, expected = %own, "a record has another scheme than the peer it leads to");
            None
        }
        Some(_) => Some(format!("{}={url}", settings.name)),
        None => others.next().map(|number: u32| format!("{number}={url}")),
    });
    named.collect()
}
