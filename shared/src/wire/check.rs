//! Why bytes are refused, once they are; and how long what is skipped is.

use super::{MAX_DECODE_BYTES, MAX_DEPTH, WireError};

/// Why bytes are no MessagePack value that a batch could be: too large, too deep, lengths beyond
/// the input, bytes after it. Walks the markers without building anything.
///
/// # Errors
/// That.
pub(super) fn check(bytes: &[u8]) -> Result<(), WireError> {
    if bytes.len() > MAX_DECODE_BYTES {
        return Err(WireError::TooLarge(bytes.len()));
    }
    match bytes.len() - length(bytes, MAX_DEPTH)? {
        0 => Ok(()),
        rest => Err(WireError::Trailing(rest)),
    }
}

/// Bytes of the value that `bytes` begin with, of at most `levels` (up to [`MAX_DEPTH`]).
///
/// # Errors
/// It is deeper, or goes beyond the input.
pub(super) fn length(bytes: &[u8], levels: usize) -> Result<usize, WireError> {
    // Values still to come at each open level; one at the top.
    let mut open = [0u64; MAX_DEPTH + 1];
    open[0] = 1;
    let mut depth = 0;
    let mut at = 0;
    loop {
        while open[depth] == 0 {
            if depth == 0 {
                return Ok(at);
            }
            depth -= 1;
        }
        open[depth] -= 1;
        let (skip, children) = marker(bytes, at).ok_or(WireError::Truncated(at))?;
        at = at
            .checked_add(skip)
            .filter(|end| *end <= bytes.len())
            .ok_or(WireError::Truncated(at))?;
        if children > 0 {
            // Each child takes at least a byte.
            if children > (bytes.len() - at) as u64 {
                return Err(WireError::Truncated(at));
            }
            depth += 1;
            if depth > levels.min(MAX_DEPTH) {
                return Err(WireError::TooDeep);
            }
            open[depth] = children;
        }
    }
}

/// The value at `at`: bytes to skip (marker, length and flat data) and the number of
/// values inside it. None when the input ends in it.
fn marker(bytes: &[u8], at: usize) -> Option<(usize, u64)> {
    let big_endian = |width: usize| -> Option<usize> {
        let raw = bytes.get(at + 1..at + 1 + width)?;
        Some(
            raw.iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
        )
    };
    let flat = |head: usize, data: usize| Some((head + data, 0));
    match *bytes.get(at)? {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => flat(1, 0),
        map @ 0x80..=0x8f => Some((1, 2 * u64::from(map & 15))),
        array @ 0x90..=0x9f => Some((1, u64::from(array & 15))),
        text @ 0xa0..=0xbf => flat(1, usize::from(text & 31)),
        0xc4 | 0xd9 => flat(2, big_endian(1)?),
        0xc5 | 0xda => flat(3, big_endian(2)?),
        0xc6 | 0xdb => flat(5, big_endian(4)?),
        0xcc | 0xd0 => flat(2, 0),
        0xcd | 0xd1 => flat(3, 0),
        0xca | 0xce | 0xd2 => flat(5, 0),
        0xcb | 0xcf | 0xd3 => flat(9, 0),
        0xdc => Some((3, big_endian(2)? as u64)),
        0xdd => Some((5, big_endian(4)? as u64)),
        0xde => Some((3, 2 * big_endian(2)? as u64)),
        0xdf => Some((5, 2 * big_endian(4)? as u64)),
        // Extension types and the reserved marker are no part of a batch.
        _ => None,
    }
}
