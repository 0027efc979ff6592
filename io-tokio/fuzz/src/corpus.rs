//! Many small inputs in one file: each behind its length, four bytes, little endian; sorted.

use std::fs;
use std::io;
use std::path::Path;

use crate::seeds;

/// Where the workspace keeps the corpus of a target.
pub fn path(target: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(format!("{target}.bin"))
}

/// The inputs in a file.
pub fn read(packed: &[u8]) -> Vec<Vec<u8>> {
    let (mut inputs, mut rest) = (Vec::new(), packed);
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = (u32::from_le_bytes(*length) as usize).min(after.len());
        inputs.push(after[..length].to_vec());
        rest = &after[length..];
    }
    inputs
}

/// The file of these inputs.
pub fn write(mut inputs: Vec<Vec<u8>>) -> Vec<u8> {
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    inputs.dedup();
    let length = |input: &[u8]| u32::try_from(input.len()).unwrap_or(u32::MAX).to_le_bytes();
    inputs.iter().flat_map(|input| [&length(input)[..], input].concat()).collect()
}

/// What `run` asks of a fuzzer before it begins, by the environment: to lay out the seeds and the
/// kept inputs of its target in a folder, or to keep those of a folder and end.
///
/// # Panics
/// If a file cannot be read or written.
pub fn prepare(target: &str) {
    if let Some(folder) = std::env::var_os("QUORATE_FUZZ_UNPACK") {
        // A target without a corpus begins with its seeds.
        let kept = read(&fs::read(path(target)).unwrap_or_default());
        let laid_out = spread(&seeds::of(target), "seed", folder.as_ref())
            .and_then(|()| spread(&kept, "kept", folder.as_ref()));
        laid_out.expect("the folder can be written");
    }
    if let Some(folder) = std::env::var_os("QUORATE_FUZZ_PACK") {
        let inputs = gather(folder.as_ref()).expect("the folder can be read");
        fs::write(path(target), write(inputs)).expect("the corpus can be written");
        std::process::exit(0);
    }
}

/// Reads every file of a folder as an input.
fn gather(folder: &Path) -> io::Result<Vec<Vec<u8>>> {
    fs::read_dir(folder)?.map(|entry| fs::read(entry?.path())).collect()
}

/// Writes inputs as files of a folder; their names begin with `prefix`.
fn spread(inputs: &[Vec<u8>], prefix: &str, folder: &Path) -> io::Result<()> {
    let mut numbered = inputs.iter().zip(0..);
    numbered.try_for_each(|(input, number)| {
        fs::write(folder.join(format!("{prefix}-{number:05}")), input)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_sorted_and_once() {
        let inputs = vec![b"bb".to_vec(), b"a".to_vec(), b"bb".to_vec(), Vec::new()];
        let packed = write(inputs);
        assert_eq!(read(&packed), [&b""[..], b"a", b"bb"]);
        assert_eq!(read(&packed[..packed.len() - 1]), [&b""[..], b"a", b"b"]);
    }
}
