//! Answers in etcdctl's formats.
//!
//! | Format | An answer gives |
//! |---|---|
//! | simple | text for people; keys and values as they are |
//! | fields | its fields, `"Name" : value` |
//! | json | the message as Go writes it, or another shape where etcdctl's client has one |
//! | table | a header and rows |
//! | protobuf | the message's bytes, or what etcdctl has in their place |
//!
//! What an answer does not have is an error of its own, told after the work is done: as etcdctl
//! does.

mod endpoints;
mod fields;
mod keys;
mod leases;
mod members;
mod said;

pub(super) use endpoints::{Hash, Hashes, Health, Healths, Status, Statuses};
pub(super) use fields::Fields;
pub(super) use keys::kind;
pub(super) use leases::{Leases, Living, Remaining};
pub(super) use members::Members;
pub(super) use said::{Reply, Said};

use crate::tool::format::{Format, Table};
use crate::tool::{self, Failure};

/// How keys, values and ids are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ink {
    pub(super) is_hex: bool,
    pub(super) is_value_only: bool,
}

/// Something that is printed.
pub(super) trait Answer {
    /// For people.
    fn simple(&self, ink: Ink, page: &mut Vec<u8>);

    /// Its fields, if it has that format.
    fn fields(&self, ink: Ink) -> Option<Fields> {
        let _ = ink;
        None
    }

    /// A line of JSON.
    fn json(&self, ink: Ink) -> String;

    /// A table, if it has that format.
    fn table(&self) -> Option<Table> {
        None
    }

    /// Bytes, if it has that format.
    fn protobuf(&self) -> Option<Vec<u8>>;
}

/// A format and an ink.
#[derive(Clone, Copy, Debug)]
pub(super) struct Printer {
    pub(super) format: Format,
    pub(super) ink: Ink,
}

impl Printer {
    /// Prints an answer.
    pub(super) fn print(&self, answer: &impl Answer) -> Result<(), Failure> {
        tool::print(&self.written(answer)?)
    }

    fn written(&self, answer: &impl Answer) -> Result<Vec<u8>, Failure> {
        let written = match self.format {
            Format::Simple => {
                let mut page = Vec::new();
                answer.simple(self.ink, &mut page);
                Some(page)
            }
            Format::Fields => answer.fields(self.ink).map(Fields::into_bytes),
            Format::Json => Some((answer.json(self.ink) + "\n").into_bytes()),
            Format::Table => answer.table().map(|table| table.draw().into_bytes()),
            Format::Protobuf => answer.protobuf(),
        };
        written.ok_or_else(|| self.format.unsupported())
    }
}

#[cfg(test)]
mod tests;
