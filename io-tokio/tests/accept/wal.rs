//! Frames of a log segment, found without trusting what they hold.
//!
//! ```text
//! | length, 8 B little endian: size in the low 56 bits, 0x80 | padding on top | record | padding |
//! ```

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Where one record's frame lies in its file, its length field included.
pub(crate) type Frame = Range<usize>;

/// The segments of a member that is not running, oldest first.
pub(crate) fn segments(data_dir: &Path) -> Vec<PathBuf> {
    let dir = data_dir.join("member/wal");
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wal"));
    paths.sort();
    paths
}

/// All frames up to the first length of zero.
pub(crate) fn frames(segment: &[u8]) -> Vec<Frame> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(field) = segment.get(at..at + 8) {
        let field = u64::from_le_bytes(field.try_into().expect("eight bytes"));
        let size = usize::try_from(field & 0x00ff_ffff_ffff_ffff).expect("a size that fits");
        if size == 0 {
            break;
        }
        let padding = if field >> 63 == 1 { (field >> 56 & 7) as usize } else { 0 };
        let end = at + 8 + size + padding;
        found.push(at..end);
        at = end;
    }
    found
}
