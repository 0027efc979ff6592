//! Reading one segment, record by record, trusting nothing.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::PathBuf;

use bytes::Bytes;
use quorate_core::error::StorageFault;

use super::frame::{self, HEADER_BYTES, Kind, Lengths, Record, SECTOR_BYTES};
use super::{STEP_BYTES_MAX, damaged};
use crate::disk::fault;

/// One segment being read.
pub(super) struct Scan {
    pub(super) path: PathBuf,
    file: BufReader<File>,
    size: u64,
    is_last: bool,
    /// Where the next frame begins: all before it is good.
    pub(super) offset: u64,
    /// Where the last good frame begins.
    pub(super) last: u64,
    /// The chain's checksum up to `offset`.
    pub(super) crc: u32,
}

/// What comes next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A good record.
    Record(Record),
    /// Nothing: zeros up to the end.
    End,
    /// What a crash left of the last write: everything from `offset` on is to be zeroed.
    Torn,
}

impl Scan {
    /// Starts at the beginning of `path`; `crc` is the checksum of the segment before it.
    pub(super) fn open(path: PathBuf, crc: u32, is_last: bool) -> Result<Self, StorageFault> {
        let file = File::open(&path).map_err(|e| fault("cannot open", &path, &e))?;
        let size = file.metadata().map_err(|e| fault("cannot read", &path, &e))?.len();
        let file = BufReader::with_capacity(256 << 10, file);
        Ok(Self { path, file, size, is_last, offset: 0, last: 0, crc })
    }

    /// The next record.
    pub(super) fn next(&mut self) -> Result<Next, StorageFault> {
        let left = self.size - self.offset;
        if left < HEADER_BYTES {
            let rest = self.read(left)?;
            return match rest.iter().all(|byte| *byte == 0) {
                true => Ok(Next::End),
                false => self.cut_off("a length that is cut off"),
            };
        }
        let mut header = [0; HEADER_BYTES as usize];
        self.file.read_exact(&mut header).map_err(|e| fault("cannot read", &self.path, &e))?;
        if header == [0; 8] {
            return self.end();
        }
        let Some(lengths) = Lengths::parse(header) else {
            return Err(self.damage("a length that no record has"));
        };
        if lengths.body() > left - HEADER_BYTES {
            let start = self.read((left - HEADER_BYTES).min(64))?;
            return match frame::agrees(&start, lengths) {
                true => self.cut_off("a record that reaches past the end of the file"),
                false => Err(self.damage("a length that reaches past the end of the file")),
            };
        }
        let body = self.read(lengths.body())?;
        self.judge(&body, lengths)
    }

    fn judge(&mut self, body: &Bytes, lengths: Lengths) -> Result<Next, StorageFault> {
        let why = match frame::parse(body, lengths) {
            Ok(record) if self.accept(&record) => {
                self.last = self.offset;
                self.offset += HEADER_BYTES + lengths.body();
                return Ok(Next::Record(record));
            }
            Ok(_) => "a checksum that does not match",
            Err(why) => why,
        };
        if self.is_last && frame::is_torn(body, lengths, self.offset + HEADER_BYTES) {
            let reach = STEP_BYTES_MAX.max(HEADER_BYTES + lengths.body());
            return self.torn(reach, why);
        }
        Err(self.damage(why))
    }

    /// Moves the chain on; false if the record does not belong there. A checksum record states
    /// the chain so far, which nothing contradicts at the beginning of the oldest segment.
    fn accept(&mut self, record: &Record) -> bool {
        if record.kind == Kind::Crc {
            let is_start = self.crc == 0 && self.offset == 0;
            let is_good = is_start || record.crc == self.crc;
            self.crc = record.crc;
            return is_good;
        }
        let crc = crc32c::crc32c_append(self.crc, &record.data);
        let is_good = crc == record.crc;
        if is_good {
            self.crc = crc;
        }
        is_good
    }

    /// A length of zero: the end, unless more follows.
    fn end(&mut self) -> Result<Next, StorageFault> {
        if !self.is_last {
            return Ok(Next::End);
        }
        let sector_left = (SECTOR_BYTES - self.offset % SECTOR_BYTES - HEADER_BYTES)
            .min(self.size - self.offset - HEADER_BYTES);
        if self.read(sector_left)?.iter().any(|byte| *byte != 0) {
            return Err(self.damage("a length of zero in front of other data"));
        }
        match self.last_data()? {
            None => Ok(Next::End),
            Some(last) => self.torn_until(last, STEP_BYTES_MAX, "zeros in front of other data"),
        }
    }

    fn torn(&mut self, reach: u64, why: &'static str) -> Result<Next, StorageFault> {
        match self.last_data()? {
            None => Ok(Next::Torn),
            Some(last) => self.torn_until(last, reach, why),
        }
    }

    /// A crash can only have interrupted what was not yet synced, which is never more than one
    /// step: data further behind means that something synced was damaged.
    fn torn_until(&self, last: u64, reach: u64, why: &str) -> Result<Next, StorageFault> {
        if last < self.offset + reach { Ok(Next::Torn) } else { Err(self.damage(why)) }
    }

    fn cut_off(&self, why: &str) -> Result<Next, StorageFault> {
        if self.is_last { Ok(Next::Torn) } else { Err(self.damage(why)) }
    }

    /// Offset of the last byte not yet read that is not zero.
    fn last_data(&mut self) -> Result<Option<u64>, StorageFault> {
        let (mut last, mut block, zeros) = (None, vec![0; 256 << 10], vec![0; 256 << 10]);
        let start = std::io::Seek::stream_position(&mut self.file);
        let mut at = start.map_err(|e| fault("cannot read", &self.path, &e))?;
        loop {
            let n = self.file.read(&mut block).map_err(|e| fault("cannot read", &self.path, &e))?;
            if n == 0 {
                return Ok(last);
            }
            if block[..n] != zeros[..n] {
                let found = block[..n].iter().rposition(|byte| *byte != 0);
                last = found.map(|i| at + i as u64).or(last);
            }
            at += n as u64;
        }
    }

    fn read(&mut self, bytes: u64) -> Result<Bytes, StorageFault> {
        let mut block = vec![0; bytes as usize];
        self.file.read_exact(&mut block).map_err(|e| fault("cannot read", &self.path, &e))?;
        Ok(block.into())
    }

    /// A refusal that names this place.
    pub(super) fn damage(&self, why: &str) -> StorageFault {
        damaged(&self.path, self.offset, why)
    }
}
