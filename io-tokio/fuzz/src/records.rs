//! An input as a list of records, so that a mutation of one leaves the others what they are.
//!
//! ```text
//! | kind | length, 2 bytes, little endian | body | kind | length | body | ...
//! ```
//!
//! Any bytes are a list: a length beyond the end means all there is.

/// Most records of one input that are read.
const RECORDS_MAX: usize = 64;

/// One step of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What is to be done; every target has its own kinds.
    pub kind: u8,
    /// With what.
    pub body: Vec<u8>,
}

impl Record {
    /// A record.
    pub fn new(kind: u8, body: impl Into<Vec<u8>>) -> Self {
        Self { kind, body: body.into() }
    }
}

/// The records of an input.
pub fn read(mut input: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let [kind, low, high, rest @ ..] = input
        && records.len() < RECORDS_MAX
    {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (body, after) = rest.split_at(length);
        records.push(Record::new(*kind, body));
        input = after;
    }
    records
}

/// The input of these records; bodies are cut at what a length can say.
pub fn write(records: &[Record]) -> Vec<u8> {
    let mut input = Vec::new();
    for Record { kind, body } in records {
        let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
        input.push(*kind);
        input.extend_from_slice(&length.to_le_bytes());
        input.extend_from_slice(&body[..usize::from(length)]);
    }
    input
}

/// Changes an input in place, in which it has `size` bytes and may have as many as there is room
/// for; returns how many it has then. `mutate_bytes` does the same to plain bytes.
pub fn mutate(
    input: &mut [u8],
    size: usize,
    seed: u32,
    mutate_bytes: impl FnOnce(&mut [u8], usize) -> usize,
) -> usize {
    let mut records = read(&input[..size]);
    let count = records.len();
    let (choice, place) = (seed % 16, (seed / 16) as usize);
    if count == 0 || choice == 0 {
        return mutate_bytes(input, size);
    }
    let (here, there) = (place % count, place / count % count);
    match choice {
        1 => drop(records.remove(here)),
        2 => records.insert(there, records[here].clone()),
        3 => records.swap(here, there),
        4 => records.truncate(here + 1),
        5 => records[here].kind = (place / count) as u8,
        6 => records[here].body = records[there].body.clone(),
        _ => mutate_body(&mut records[here].body, input.len() - size, mutate_bytes),
    }
    let changed = write(&records);
    let size = changed.len().min(input.len());
    input[..size].copy_from_slice(&changed[..size]);
    size
}

fn mutate_body(
    body: &mut Vec<u8>,
    room: usize,
    mutate_bytes: impl FnOnce(&mut [u8], usize) -> usize,
) {
    let size = body.len();
    body.resize(size + room.clamp(1, 64), 0);
    let size = mutate_bytes(body, size);
    body.truncate(size);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let records = vec![Record::new(7, b"seven".as_slice()), Record::new(0, [])];
        let input = write(&records);
        assert_eq!(input, b"\x07\x05\x00seven\x00\x00\x00");
        assert_eq!(read(&input), records);
        assert_eq!(read(&input[..5]), [Record::new(7, b"se".as_slice())]);
        assert_eq!(read(&[1, 2]), []);
        assert_eq!(read(&[0; 3 * 100]).len(), RECORDS_MAX);
    }

    #[test]
    fn a_mutation_stays_within_its_room() {
        let records = vec![Record::new(1, [1; 9]), Record::new(2, [2; 3]), Record::new(3, [])];
        let input = write(&records);
        let grow = |bytes: &mut [u8], _| bytes.len();
        for seed in 0..4_000 {
            for room in [0, 1, 40] {
                let mut changed = input.clone();
                changed.resize(input.len() + room, 0);
                assert!(mutate(&mut changed, input.len(), seed, grow) <= input.len() + room);
            }
        }
    }
}
