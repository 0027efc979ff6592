//! Rows in order become a tree, whose pages leave as they are full.

use bytes::{BufMut, BytesMut};

use super::format::{ELEMENT_BYTES, HEADER_BYTES, Kind, PAGE_BYTES, PageHeader, Root};

/// Buckets up to this size stand in the root.
const INLINE_BYTES_MAX: usize = PAGE_BYTES / 4;
/// Children a branch has at least, however long their keys are: so trees stay low.
const CHILDREN_MIN: usize = 2;

/// Finished pages on their way out.
#[derive(Debug)]
pub(super) struct Pages {
    /// Number of the next one.
    pub(super) next: u64,
    pub(super) out: BytesMut,
}

/// A page being filled.
#[derive(Debug, Default)]
struct Draft {
    heads: Vec<Head>,
    /// Keys and values.
    data: Vec<u8>,
}

#[derive(Debug)]
struct Head {
    /// A leaf's flags, a branch's page.
    tag: u64,
    key_bytes: usize,
    value_bytes: usize,
}

impl Draft {
    fn push(&mut self, tag: u64, key: &[u8], value: &[u8]) {
        self.heads.push(Head { tag, key_bytes: key.len(), value_bytes: value.len() });
        self.data.extend_from_slice(key);
        self.data.extend_from_slice(value);
    }

    fn bytes(&self) -> usize {
        HEADER_BYTES + self.heads.len() * ELEMENT_BYTES + self.data.len()
    }

    fn fits(&self, key: &[u8], value: &[u8]) -> bool {
        self.bytes() + ELEMENT_BYTES + key.len() + value.len() <= PAGE_BYTES
    }

    fn first_key(&self) -> Vec<u8> {
        let bytes = self.heads.first().map_or(0, |head| head.key_bytes);
        self.data[..bytes].to_vec()
    }

    fn encode(&self, id: u64, kind: Kind, overflow: u32, out: &mut impl BufMut) {
        let count = self.heads.len() as u16;
        PageHeader { id, flags: kind.flags(), count, overflow }.encode(out);
        let mut distance = self.heads.len() * ELEMENT_BYTES;
        for head in &self.heads {
            let (key, value) = (head.key_bytes as u32, head.value_bytes as u32);
            match kind {
                Kind::Branch => {
                    out.put_u32_le(distance as u32);
                    out.put_u32_le(key);
                    out.put_u64_le(head.tag);
                }
                Kind::Leaf => {
                    out.put_u32_le(head.tag as u32);
                    out.put_u32_le(distance as u32);
                    out.put_u32_le(key);
                    out.put_u32_le(value);
                }
            }
            distance = distance + head.key_bytes + head.value_bytes - ELEMENT_BYTES;
        }
        out.put_slice(&self.data);
    }

    fn clear(&mut self) {
        self.heads.clear();
        self.data.clear();
    }
}

impl Pages {
    /// Writes a page and what follows it as its overflow; its number.
    fn put(&mut self, draft: &Draft, kind: Kind) -> u64 {
        let (id, start) = (self.next, self.out.len());
        let pages = draft.bytes().div_ceil(PAGE_BYTES);
        draft.encode(id, kind, (pages - 1) as u32, &mut self.out);
        self.out.resize(start + pages * PAGE_BYTES, 0);
        self.next += pages as u64;
        id
    }
}

/// One bucket being written: the last page of each level, leaves first.
#[derive(Debug)]
pub(super) struct Tree {
    levels: Vec<Draft>,
}

impl Default for Tree {
    fn default() -> Self {
        Self { levels: vec![Draft::default()] }
    }
}

impl Tree {
    #[cfg(test)]
    pub(super) fn bytes_held(&self) -> usize {
        self.levels.iter().map(|draft| draft.data.capacity() + draft.heads.capacity() * 24).sum()
    }

    /// Adds the next row, whose key is behind all before; `flags` is 1 if it is a bucket.
    pub(super) fn push(&mut self, (flags, key, value): (u64, &[u8], &[u8]), pages: &mut Pages) {
        if !self.levels[0].heads.is_empty() && !self.levels[0].fits(key, value) {
            self.close(0, pages);
        }
        self.levels[0].push(flags, key, value);
    }

    /// Writes a level's page and names it in the level above.
    fn close(&mut self, level: usize, pages: &mut Pages) {
        let (key, id) = self.put(level, pages);
        if self.levels.len() == level + 1 {
            self.levels.push(Draft::default());
        }
        let above = &self.levels[level + 1];
        if above.heads.len() >= CHILDREN_MIN && !above.fits(&key, &[]) {
            self.close(level + 1, pages);
        }
        self.levels[level + 1].push(id, &key, &[]);
    }

    fn put(&mut self, level: usize, pages: &mut Pages) -> (Vec<u8>, u64) {
        let kind = if level == 0 { Kind::Leaf } else { Kind::Branch };
        let draft = &mut self.levels[level];
        let written = (draft.first_key(), pages.put(draft, kind));
        draft.clear();
        written
    }

    /// Writes what is left; the value that stands for the bucket in the root.
    pub(super) fn finish(self, pages: &mut Pages) -> Vec<u8> {
        if let [leaf] = &self.levels[..]
            && leaf.bytes() <= INLINE_BYTES_MAX
        {
            let mut inline = Vec::with_capacity(leaf.bytes());
            leaf.encode(0, Kind::Leaf, 0, &mut inline);
            return Root::encode(0, &inline);
        }
        let root = self.finish_pages(pages);
        Root::encode(root, &[])
    }

    /// The same without regard to size; the root's page.
    pub(super) fn finish_pages(mut self, pages: &mut Pages) -> u64 {
        let mut level = 0;
        // Whenever a page was written, another began on its level, so none of these is empty but
        // the leaf of a bucket without rows.
        while level + 1 < self.levels.len() {
            self.close(level, pages);
            level += 1;
        }
        self.put(level, pages).1
    }
}
