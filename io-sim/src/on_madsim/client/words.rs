//! What several answers have in common.

use quorate_proto::{etcdserverpb as pb, mvccpb};

use super::{Error, Result};

/// A message with a header, wrapped.
macro_rules! answer {
    ($(#[$doc:meta])* $name:ident, $inner:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name(pub(super) quorate_proto::etcdserverpb::$inner);

        impl $name {
            /// Which member answered, and as of which revision.
            #[must_use]
            pub fn header(&self) -> Option<super::words::ResponseHeader> {
                self.0.header.clone().map(super::words::ResponseHeader)
            }
        }
    };
}
pub(super) use answer;

/// Who answered, and as of when.
#[derive(Clone, Debug, PartialEq)]
pub struct ResponseHeader(pub(super) pb::ResponseHeader);

impl ResponseHeader {
    /// The cluster.
    #[must_use]
    pub const fn cluster_id(&self) -> u64 {
        self.0.cluster_id
    }

    /// The member that answered.
    #[must_use]
    pub const fn member_id(&self) -> u64 {
        self.0.member_id
    }

    /// The store's revision then.
    #[must_use]
    pub const fn revision(&self) -> i64 {
        self.0.revision
    }

    /// The term then.
    #[must_use]
    pub const fn raft_term(&self) -> u64 {
        self.0.raft_term
    }
}

/// A key as it was at some revision.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyValue(pub(super) mvccpb::KeyValue);

impl KeyValue {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.0.key
    }

    /// The key as text.
    ///
    /// # Errors
    /// If it is none.
    pub fn key_str(&self) -> Result<&str> {
        std::str::from_utf8(&self.0.key).map_err(Error::Utf8Error)
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.0.value
    }

    /// The value as text.
    ///
    /// # Errors
    /// If it is none.
    pub fn value_str(&self) -> Result<&str> {
        std::str::from_utf8(&self.0.value).map_err(Error::Utf8Error)
    }

    /// When it was created.
    #[must_use]
    pub const fn create_revision(&self) -> i64 {
        self.0.create_revision
    }

    /// When it was changed last.
    #[must_use]
    pub const fn mod_revision(&self) -> i64 {
        self.0.mod_revision
    }

    /// Changes since it was created.
    #[must_use]
    pub const fn version(&self) -> i64 {
        self.0.version
    }

    /// The lease it ends with; 0 for none.
    #[must_use]
    pub const fn lease(&self) -> i64 {
        self.0.lease
    }
}

/// The first key behind all that begin with `prefix`; "\0" if there is none.
pub(super) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// Which keys are meant, beside the one that is named.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Span {
    #[default]
    One,
    Upto(Vec<u8>),
    From,
    Prefix,
    All,
}

impl Span {
    /// The first key, and the end of the range as etcd writes it.
    pub(super) fn resolve(self, key: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
        match self {
            Self::One => (key, Vec::new()),
            Self::Upto(end) => (key, end),
            Self::From => (if key.is_empty() { vec![0] } else { key }, vec![0]),
            Self::Prefix if key.is_empty() => (vec![0], vec![0]),
            Self::Prefix => {
                let end = prefix_end(&key);
                (key, end)
            }
            Self::All => (vec![0], vec![0]),
        }
    }
}

/// The builders of everything that takes a span.
macro_rules! spans {
    ($name:ident) => {
        impl $name {
            /// All keys from the named one up to this, which is not among them.
            #[must_use]
            pub fn with_range(mut self, end: impl Into<Vec<u8>>) -> Self {
                self.span = super::words::Span::Upto(end.into());
                self
            }

            /// All keys from the named one on.
            #[must_use]
            pub fn with_from_key(mut self) -> Self {
                self.span = super::words::Span::From;
                self
            }

            /// All keys that begin with the named one.
            #[must_use]
            pub fn with_prefix(mut self) -> Self {
                self.span = super::words::Span::Prefix;
                self
            }

            /// All keys.
            #[must_use]
            pub fn with_all_keys(mut self) -> Self {
                self.span = super::words::Span::All;
                self
            }
        }
    };
}
pub(super) use spans;
