//! Reads little-endian fields and lengths off a sample, never past its end.

/// Strings of a record carry their length with these bits (`bpf/abi.h`).
pub const LEN_CUT: u32 = 0x8000_0000;
/// A path that hangs from no root.
pub const LEN_ROOTLESS: u32 = 0x4000_0000;
const LEN_MASK: u32 = 0xffff;

/// A place in a sample. Every read moves it; None means that the sample is too short.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*taken)
    }

    /// A `__u16`.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// A `__u32`.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A `__s32`.
    pub fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    /// A `__s64`.
    pub fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// A `__u64`.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// The string that a length word tells of, and whether it was cut.
    pub fn string(&mut self, len: u32) -> Option<(&'a [u8], bool)> {
        Some((self.take((len & LEN_MASK) as usize)?, len & LEN_CUT != 0))
    }
}
