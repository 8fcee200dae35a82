//! The memory format, version 1, as plain functions on bytes.

/// Where things lie.
pub(crate) const BLOCK: usize = 128;
pub(crate) const MAGIC: [u8; 8] = [0x89, 0x46, 0x4d, 0x51, 0x0d, 0x0a, 0x1a, 0x0a];
pub(crate) const HEAD: usize = 128;
pub(crate) const EPOCH: usize = 144;
pub(crate) const CLAIM: usize = 148;
pub(crate) const GATE: usize = 152;
pub(crate) const TAIL_HINT: usize = 256;
pub(crate) const REFUSED: usize = 272;
pub(crate) const READERS: usize = 384;

/// What a slot says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Entry {
    pub(crate) stamp: u32,
    /// Length in the low three bytes, tag in the high one.
    pub(crate) extent: u32,
    pub(crate) position: u32,
    pub(crate) check: u32,
}

impl Entry {
    /// An entry with the check that it needs.
    pub(crate) fn new(stamp: u32, len: u32, position: u32, tag: u8) -> Self {
        let extent = (len & 0x00ff_ffff) | (u32::from(tag) << 24);
        Self { stamp, extent, position, check: stamp ^ extent ^ position ^ 0x5afb_ca11 }
    }
}

/// A ring's shape, as its superblock tells it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Shape {
    pub(crate) overwrite: bool,
    pub(crate) slots_log2: u8,
    pub(crate) units_log2: u8,
    pub(crate) readers: u8,
}

impl Shape {
    pub(crate) fn of(image: &[u8]) -> Self {
        Self { overwrite: image[16] == 1, slots_log2: image[17], units_log2: image[18], readers: image[19] }
    }
    pub(crate) fn slots(self) -> u64 {
        1 << self.slots_log2
    }
    pub(crate) fn units(self) -> u64 {
        1 << self.units_log2
    }
    pub(crate) fn max_record(self) -> usize {
        (4 << self.units_log2) as usize
    }
    pub(crate) fn reader_at(self, index: u8) -> usize {
        READERS + BLOCK * usize::from(index)
    }
    pub(crate) fn slots_at(self) -> usize {
        self.reader_at(self.readers)
    }
    /// Where the slot of an offset lies.
    pub(crate) fn slot_at(self, offset: u64) -> usize {
        self.slots_at() + 16 * usize::try_from(offset % self.slots()).expect("small")
    }
    pub(crate) fn bytes_at(self) -> usize {
        self.slots_at() + (16 << self.slots_log2)
    }
    pub(crate) fn end(self) -> usize {
        self.bytes_at() + (8 << self.units_log2)
    }
}

pub(crate) fn u32_at(image: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(image[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A counter, when nobody writes it.
pub(crate) fn counter(image: &[u8], at: usize) -> u64 {
    assert_eq!(u32_at(image, at + 4), u32_at(image, at + 8), "both high words of a counter at rest");
    assert_eq!(u32_at(image, at), !u32_at(image, at + 12), "the guard of a counter at rest");
    u64::from(u32_at(image, at)) | (u64::from(u32_at(image, at + 4)) << 32)
}

pub(crate) fn put_counter(image: &mut [u8], at: usize, value: u64) {
    let (low, high) = halves(value);
    for (index, word) in [low, high, high, !low].into_iter().enumerate() {
        put(image, at + 4 * index, &word.to_le_bytes());
    }
}

pub(crate) fn halves(value: u64) -> (u32, u32) {
    (low(value), low(value >> 32))
}

pub(crate) fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).expect("masked")
}

pub(crate) fn entry(image: &[u8], offset: u64) -> Entry {
    let at = Shape::of(image).slot_at(offset);
    Entry {
        stamp: u32_at(image, at),
        extent: u32_at(image, at + 4),
        position: u32_at(image, at + 8),
        check: u32_at(image, at + 12),
    }
}

pub(crate) fn put_entry(image: &mut [u8], offset: u64, entry: Entry) {
    let at = Shape::of(image).slot_at(offset);
    for (index, word) in [entry.stamp, entry.extent, entry.position, entry.check].into_iter().enumerate() {
        put(image, at + 4 * index, &word.to_le_bytes());
    }
}

/// CRC-32C, bit by bit.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

/// Makes the superblock's checksum right again after it was changed.
pub(crate) fn seal(image: &mut [u8]) {
    let crc = crc32c(&image[..60]);
    put(image, 60, &crc.to_le_bytes());
}

/// A superblock of this shape, with a right checksum.
pub(crate) fn superblock(shape: Shape) -> [u8; 128] {
    let mut block = [0; 128];
    put(&mut block, 0, &MAGIC);
    put(&mut block, 8, &1_u16.to_le_bytes());
    put(&mut block, 10, &128_u16.to_le_bytes());
    put(&mut block, 16, &[u8::from(shape.overwrite), shape.slots_log2, shape.units_log2, shape.readers]);
    seal(&mut block);
    block
}

/// Turns the image of a ring without records and readers into one whose log begins at `offset`, with the payload
/// position at `position`.
pub(crate) fn start_at(image: &mut [u8], offset: u64, position: u32) {
    let shape = Shape::of(image);
    put_counter(image, HEAD, offset);
    put_counter(image, TAIL_HINT, offset);
    for at in offset..offset + shape.slots() {
        let stale = low(at).wrapping_sub(low(shape.slots()));
        put_entry(image, at, Entry::new(stale, 0, position, 0));
    }
}
