//! A member as JSON, at rest and in the context of configuration changes.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::storage::{Table, Write};

/// One member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct MemberRecord {
    /// Its id.
    pub id: u64,
    /// Where other members reach it.
    #[serde(rename = "peerURLs", default, deserialize_with = "load_urls")]
    pub peer_urls: Vec<String>,
    /// Whether it has no vote.
    #[serde(rename = "isLearner", default, skip_serializing_if = "core::ops::Not::not")]
    pub is_learner: bool,
    /// Its name; empty until it has started.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where clients reach it; empty until it has started.
    #[serde(rename = "clientURLs", default, skip_serializing_if = "Vec::is_empty")]
    pub client_urls: Vec<String>,
}

impl MemberRecord {
    /// Reads the JSON form.
    pub fn load(json: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(json)
    }

    /// The JSON form.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always have a JSON form")
    }

    /// Whether it has started at least once: only then does it have a name.
    pub(crate) fn is_started(&self) -> bool {
        !self.name.is_empty()
    }

    /// The row of the `members` table.
    pub fn row(&self) -> Write {
        Write {
            table: Table::Members,
            key: Bytes::from(format!("{:x}", self.id)),
            value: Some(Bytes::from(self.encode())),
        }
    }
}

/// Go writes a list without elements as null.
fn load_urls<'de, D: serde::Deserializer<'de>>(json: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(json)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_fields_are_left_out_as_etcd_does() {
        let record = MemberRecord {
            id: 7,
            peer_urls: alloc::vec![String::from("http://localhost:2380")],
            ..MemberRecord::default()
        };
        let json = record.encode();
        assert_eq!(json, br#"{"id":7,"peerURLs":["http://localhost:2380"]}"#);
        assert_eq!(MemberRecord::load(&json).unwrap(), record);
    }
}
