//! Names of segments: `<sequence>-<index>.wal`, both in 16 hex digits. The index is the first one
//! that may be found in the segment.

use std::fmt;
use std::path::Path;

use quorate_core::error::StorageFault;
use quorate_core::ids::LogIndex;

use crate::disk::fault;

/// A segment's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) sequence: u64,
    pub(super) first: LogIndex,
}

impl Name {
    /// Reads a file name; `None` if it is not a segment's.
    pub(super) fn parse(file: &str) -> Option<Self> {
        let (sequence, first) = file.strip_suffix(".wal")?.split_once('-')?;
        let number = |text: &str| {
            let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
            digits.then(|| u64::from_str_radix(text, 16).ok()).flatten()
        };
        Some(Self { sequence: number(sequence)?, first: LogIndex(number(first)?) })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}.wal", self.sequence, self.first.get())
    }
}

/// The segments in `folder`, oldest first; refuses a gap in their sequence.
pub(super) fn list(folder: &Path) -> Result<Vec<Name>, StorageFault> {
    let entries = std::fs::read_dir(folder).map_err(|e| fault("cannot list", folder, &e))?;
    let mut names = Vec::new();
    for entry in entries {
        let file = entry.map_err(|e| fault("cannot list", folder, &e))?.file_name();
        names.extend(file.to_str().and_then(Name::parse));
    }
    names.sort_unstable();
    for pair in names.windows(2) {
        if pair[0].sequence + 1 != pair[1].sequence {
            return Err(StorageFault::new(format!(
                "the log in {} misses a segment between {} and {}; {}",
                folder.display(),
                pair[0],
                pair[1],
                super::REMEDY
            )));
        }
    }
    Ok(names)
}
