//! Calls by the version of the API their clients say they speak.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;

use super::Count;

/// Versions that are told apart; clients of further ones count as of an unknown version. A client
/// may say anything, and each word costs a series.
const VERSIONS_MAX: usize = 32;
/// The version of clients that do not say.
const UNKNOWN: &str = "unknown";

/// Counters by version, and by whether the call is a stream; clones count together.
#[derive(Clone, Debug)]
pub struct Clients(Arc<RwLock<Vec<OfVersion>>>);

#[derive(Clone, Debug)]
struct OfVersion {
    version: Box<str>,
    unary: Count,
    streams: Count,
}

impl OfVersion {
    fn new(version: &str) -> Self {
        Self { version: version.into(), unary: Count::default(), streams: Count::default() }
    }

    fn count(&self, is_unary: bool) {
        if is_unary { &self.unary } else { &self.streams }.add(1);
    }
}

impl Default for Clients {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(vec![OfVersion::new(UNKNOWN)])))
    }
}

impl Clients {
    /// Counts a call.
    pub fn count(&self, version: &str, is_unary: bool) {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.iter().find(|known| *known.version == *version) {
            return found.count(is_unary);
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < VERSIONS_MAX && known.iter().all(|known| *known.version != *version) {
            known.push(OfVersion::new(version));
        }
        let found = known.iter().find(|known| *known.version == *version);
        found.unwrap_or(&known[0]).count(is_unary);
    }
}

impl Collector for Clients {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let name = "etcd_server_client_requests_total";
        let help = "Calls by the client's API version";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for of in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            for (kind, count) in [("unary", &of.unary), ("stream", &of.streams)] {
                let labels = [("type", kind), ("client_api_version", &*of.version)];
                count.encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_versions_are_told_apart_than_said() {
        let clients = Clients::default();
        for n in 0..100 {
            clients.count(&format!("3.{n}"), n % 2 == 0);
            clients.count(&format!("3.{n}"), false);
        }
        let known = clients.0.read().unwrap();
        assert_eq!(known.len(), VERSIONS_MAX);
        assert_eq!((known[0].unary.get(), known[0].streams.get()), (34, 104));
        assert_eq!((&*known[31].version, known[31].unary.get()), ("3.30", 1));
        assert_eq!(known[31].streams.get(), 1);
    }
}
