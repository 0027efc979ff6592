//! Pages as bytes.
//!
//! | What | Layout, little endian |
//! |---|---|
//! | page | id 8, flags 2, count 2, overflow 4; then elements; then keys and values |
//! | element of a branch | distance to its key 4, key's length 4, page 8 |
//! | element of a leaf | flags 4 (1: a bucket), distance to its key 4, lengths 4 + 4 |
//! | bucket's value | page of its root 8, sequence 8; page 0: the page stands behind it |
//! | meta | magic 4, version 4, page size 4, flags 4, root 16, freelist 8, pages 8, txid 8, FNV 8 |

use bytes::{Buf, BufMut, Bytes};

/// Size of the pages we write.
pub(super) const PAGE_BYTES: usize = 4096;
/// Bytes in front of a page's elements.
pub(super) const HEADER_BYTES: usize = 16;
/// Bytes of an element without key and value.
pub(super) const ELEMENT_BYTES: usize = 16;
/// Bytes of a bucket's value in front of an inline page.
pub(super) const BUCKET_BYTES: usize = 16;
/// Bytes of a meta page that count.
pub(super) const META_BYTES: usize = HEADER_BYTES + 64;
/// bbolt's limit for keys.
pub(super) const KEY_BYTES_MAX: usize = 32_768;

const BRANCH: u16 = 1;
const LEAF: u16 = 2;
const META: u16 = 4;
const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// Stands where the list of free pages would be.
const NO_FREELIST: u64 = u64::MAX;
/// Smallest and largest pages there are.
pub(super) const PAGE_SIZES: std::ops::RangeInclusive<u64> = 512..=1 << 16;

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// First keys and pages.
    Branch,
    /// Rows.
    Leaf,
}

impl Kind {
    pub(super) const fn flags(self) -> u16 {
        match self {
            Self::Branch => BRANCH,
            Self::Leaf => LEAF,
        }
    }
}

/// What stands in front of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PageHeader {
    pub(super) id: u64,
    pub(super) flags: u16,
    pub(super) count: u16,
    pub(super) overflow: u32,
}

impl PageHeader {
    pub(super) fn encode(self, out: &mut impl BufMut) {
        out.put_u64_le(self.id);
        out.put_u16_le(self.flags);
        out.put_u16_le(self.count);
        out.put_u32_le(self.overflow);
    }

    /// Reads it; `None` if there is too little of it.
    pub(super) fn parse(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER_BYTES {
            return None;
        }
        Some(Self {
            id: bytes.get_u64_le(),
            flags: bytes.get_u16_le(),
            count: bytes.get_u16_le(),
            overflow: bytes.get_u32_le(),
        })
    }
}

/// A page as read: everything in it lies within it.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) kind: Kind,
    elements: Vec<Element>,
    bytes: Bytes,
}

/// Where a row's parts are; a branch's has a page instead of a value.
#[derive(Clone, Copy, Debug)]
struct Element {
    /// A leaf's flags, a branch's page.
    tag: u64,
    key: (usize, usize),
    value: (usize, usize),
}

impl Page {
    /// Reads a page, its overflow included; an inline one has id 0.
    pub(super) fn parse(id: u64, bytes: Bytes) -> Result<Self, &'static str> {
        let header = PageHeader::parse(&bytes).ok_or("a page that is cut off")?;
        if header.id != id {
            return Err("a page that says it is another");
        }
        let kind = match header.flags {
            BRANCH => Kind::Branch,
            LEAF => Kind::Leaf,
            _ => return Err("a page that is neither branch nor leaf"),
        };
        let elements = (0..usize::from(header.count))
            .map(|at| Element::parse(kind, &bytes, HEADER_BYTES + at * ELEMENT_BYTES))
            .collect::<Option<Vec<_>>>()
            .ok_or("an element that reaches past its page")?;
        Ok(Self { kind, elements, bytes })
    }

    pub(super) fn len(&self) -> usize {
        self.elements.len()
    }

    pub(super) fn key(&self, at: usize) -> &[u8] {
        let (from, until) = self.elements[at].key;
        &self.bytes[from..until]
    }

    pub(super) fn value(&self, at: usize) -> Bytes {
        let (from, until) = self.elements[at].value;
        self.bytes.slice(from..until)
    }

    /// The page a branch's element leads to.
    pub(super) fn child(&self, at: usize) -> u64 {
        self.elements[at].tag
    }

    /// Whether a leaf's element is a bucket.
    pub(super) fn is_bucket(&self, at: usize) -> bool {
        self.elements[at].tag & 1 != 0
    }

    /// The first element whose key is not before `key`.
    pub(super) fn seek(&self, key: &[u8]) -> usize {
        self.elements.partition_point(|element| &self.bytes[element.key.0..element.key.1] < key)
    }
}

impl Element {
    fn parse(kind: Kind, page: &[u8], at: usize) -> Option<Self> {
        let mut bytes = page.get(at..at + ELEMENT_BYTES)?;
        let (tag, distance, key, value) = match kind {
            Kind::Branch => {
                let (distance, key) = (bytes.get_u32_le(), bytes.get_u32_le());
                (bytes.get_u64_le(), distance, key, 0)
            }
            Kind::Leaf => {
                let (flags, distance) = (bytes.get_u32_le(), bytes.get_u32_le());
                (flags.into(), distance, bytes.get_u32_le(), bytes.get_u32_le())
            }
        };
        let key_from = at.checked_add(distance as usize)?;
        let value_from = key_from.checked_add(key as usize)?;
        let value_until = value_from.checked_add(value as usize)?;
        (value_until <= page.len()).then_some(Self {
            tag,
            key: (key_from, value_from),
            value: (value_from, value_until),
        })
    }
}

/// What a bucket's value says.
#[derive(Clone, Debug)]
pub(super) enum Root {
    /// Its root is this page.
    Page(u64),
    /// Its only page stands in the value.
    Inline(Page),
}

impl Root {
    pub(super) fn parse(value: &Bytes) -> Result<Self, &'static str> {
        if value.len() < BUCKET_BYTES {
            return Err("a bucket that is cut off");
        }
        match value.slice(..8).get_u64_le() {
            0 => match Page::parse(0, value.slice(BUCKET_BYTES..))? {
                page if page.kind == Kind::Leaf => Ok(Self::Inline(page)),
                _ => Err("an inline bucket that is no leaf"),
            },
            page => Ok(Self::Page(page)),
        }
    }

    /// A bucket's value.
    pub(super) fn encode(page: u64, inline: &[u8]) -> Vec<u8> {
        let mut value = Vec::with_capacity(BUCKET_BYTES + inline.len());
        value.put_u64_le(page);
        value.put_u64_le(0);
        value.put_slice(inline);
        value
    }
}

/// What the whole file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) page_bytes: u64,
    /// Page of the root bucket.
    pub(super) root: u64,
    /// Page of the list of free pages, if there is one.
    pub(super) freelist: Option<u64>,
    /// No page has this number or a greater one.
    pub(super) pages: u64,
    pub(super) txid: u64,
}

impl Meta {
    /// A meta page.
    pub(super) fn encode(&self, id: u64) -> Vec<u8> {
        let mut page = Vec::with_capacity(PAGE_BYTES);
        PageHeader { id, flags: META, count: 0, overflow: 0 }.encode(&mut page);
        page.put_u32_le(MAGIC);
        page.put_u32_le(VERSION);
        page.put_u32_le(PAGE_BYTES as u32);
        page.put_u32_le(0);
        for number in [self.root, 0, self.freelist.unwrap_or(NO_FREELIST), self.pages, self.txid] {
            page.put_u64_le(number);
        }
        page.put_u64_le(fnv1a(&page[HEADER_BYTES..]));
        page.resize(PAGE_BYTES, 0);
        page
    }

    /// Reads a meta page; `None` if it is none.
    pub(super) fn parse(page: &[u8]) -> Option<Self> {
        let header = PageHeader::parse(page)?;
        let mut bytes = page.get(HEADER_BYTES..META_BYTES)?;
        let checksum = fnv1a(&bytes[..56]);
        if header.flags != META || bytes.get_u32_le() != MAGIC || bytes.get_u32_le() != VERSION {
            return None;
        }
        let page_bytes = u64::from(bytes.get_u32_le());
        let _flags = bytes.get_u32_le();
        let root = bytes.get_u64_le();
        let _sequence = bytes.get_u64_le();
        let freelist = Some(bytes.get_u64_le()).filter(|page| *page != NO_FREELIST);
        let (pages, txid) = (bytes.get_u64_le(), bytes.get_u64_le());
        let is_sound = PAGE_SIZES.contains(&page_bytes) && page_bytes.is_power_of_two();
        (is_sound && bytes.get_u64_le() == checksum).then_some(Self {
            page_bytes,
            root,
            freelist,
            pages,
            txid,
        })
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
