//! Which layout the rows have: a number that rises when a release lays rows out anew.
//!
//! A store says its number in a row that etcd does not have. One that does not say was written
//! before there were numbers, and has the first. A release that raises [`LAYOUT`] adds the step
//! from the layout before to `check`; none has been needed yet.

use alloc::format;

use bytes::Bytes;

use super::meta;
use crate::error::StorageFault;
use crate::storage::{StateRead, Table, Write};

/// The layout of this release.
pub const LAYOUT: u64 = 1;
/// Ours alone.
pub(super) const NAME: &str = "quorate.layout";

/// Whether this release reads the store's rows. Comes back with the row that says which layout
/// they have, if it is missing.
pub(crate) fn check(image: &dyn StateRead) -> Result<Option<Write>, StorageFault> {
    match meta::load_number(image, NAME)? {
        Some(LAYOUT) => Ok(None),
        Some(other) => Err(StorageFault::new(format!(
            "the store has layout {other}, and this release knows none after {LAYOUT}: start the \
             release that wrote it, or restore a snapshot it has made"
        ))),
        None => Ok(Some(Write {
            table: Table::Meta,
            key: Bytes::from_static(NAME.as_bytes()),
            value: Some(meta::encode_number(LAYOUT)),
        })),
    }
}

#[cfg(test)]
mod tests {
    use core::ops::ControlFlow;

    use super::*;
    use crate::storage::Rows;

    /// A store that says nothing but its layout.
    struct Says(u64);

    impl StateRead for Says {
        fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StorageFault> {
            let is_asked = table == Table::Meta && key == NAME.as_bytes();
            Ok(is_asked.then(|| meta::encode_number(self.0)))
        }

        fn scan(
            &self,
            _: Table,
            _: &[u8],
            _: &[u8],
            _: &mut dyn FnMut(&[u8], &Bytes) -> ControlFlow<()>,
        ) -> Result<(), StorageFault> {
            Ok(())
        }
    }

    #[test]
    fn a_store_of_a_newer_release_is_not_touched() {
        assert_eq!(check(&Says(LAYOUT)), Ok(None));
        let fault = check(&Says(LAYOUT + 1)).unwrap_err();
        assert!(fault.what.contains("start the release that wrote it"), "{fault:?}");
    }

    #[test]
    fn a_store_that_does_not_say_gets_the_row() {
        let row = check(&Rows::default()).expect("a layout we know").expect("a row to write");
        assert_eq!((row.table, &row.key[..]), (Table::Meta, NAME.as_bytes()));
        assert_eq!(row.value, Some(meta::encode_number(LAYOUT)));
    }
}
