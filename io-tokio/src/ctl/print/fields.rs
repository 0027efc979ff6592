//! Lines of the fields format.

use std::fmt::Display;

use quorate_proto::etcdserverpb::ResponseHeader;
use quorate_proto::mvccpb::KeyValue;

use super::Ink;
use crate::tool::quote::quote;

/// Fields, one a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::ctl) struct Fields(String);

impl Fields {
    /// Those of a header; one that is not there has zeros.
    pub(in crate::ctl) fn of(header: Option<&ResponseHeader>, ink: Ink) -> Self {
        let mut fields = Self::default();
        fields.header(header, ink);
        fields
    }

    /// Adds a header's.
    pub(super) fn header(&mut self, header: Option<&ResponseHeader>, ink: Ink) {
        let header = header.copied().unwrap_or_default();
        self.id("ClusterID", header.cluster_id, ink);
        self.id("MemberID", header.member_id, ink);
        if header.revision > 0 {
            self.value("Revision", header.revision);
        }
        self.value("RaftTerm", header.raft_term);
    }

    /// Adds a value.
    pub(in crate::ctl) fn value(&mut self, name: &str, value: impl Display) {
        self.0 += &format!("\"{name}\" : {value}\n");
    }

    /// Adds a text, quoted.
    pub(in crate::ctl) fn text(&mut self, name: &str, text: &[u8]) {
        self.value(name, quote(text));
    }

    /// Adds the id of a cluster or a member.
    pub(in crate::ctl) fn id(&mut self, name: &str, id: u64, ink: Ink) {
        match ink.is_hex {
            true => self.value(name, format_args!("{id:x}")),
            false => self.value(name, id),
        }
    }

    /// Adds the id of a lease.
    pub(super) fn lease(&mut self, name: &str, id: i64, ink: Ink) {
        match ink.is_hex {
            true => self.value(name, format_args!("{id:016x}")),
            false => self.value(name, id),
        }
    }

    /// Adds a key and its value; their names begin with what is given.
    pub(super) fn pair(&mut self, prefix: &str, kv: &KeyValue, ink: Ink) {
        let name = |name: &str| format!("{prefix}{name}");
        self.text(&name("Key"), &kv.key);
        self.value(&name("CreateRevision"), kv.create_revision);
        self.value(&name("ModRevision"), kv.mod_revision);
        self.value(&name("Version"), kv.version);
        self.text(&name("Value"), &kv.value);
        self.lease(&name("Lease"), kv.lease, ink);
    }

    /// Adds all of another answer's.
    pub(super) fn append(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    /// Adds an empty line.
    pub(in crate::ctl) fn gap(&mut self) {
        self.0.push('\n');
    }

    /// Adds text as it is.
    pub(in crate::ctl) fn raw(&mut self, text: &str) {
        self.0 += text;
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}
