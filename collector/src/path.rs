//! Paths as the programs write them, leaf first, turned the right way round.

use std::ops::Range;

use crate::cursor::{Cursor, LEN_CUT, LEN_ROOTLESS};

/// Appends the path of `len` that stands at `cursor` to `out`, absolute; returns where.
/// A rootless one (a memfd) is its bare name, one that was cut begins in the middle,
/// without a slash.
pub fn append(cursor: &mut Cursor<'_>, len: u32, out: &mut Vec<u8>) -> Option<Range<usize>> {
    let (raw, cut) = cursor.string(len)?;
    let start = out.len();
    if len & LEN_ROOTLESS != 0 && !raw.contains(&b'/') {
        out.extend_from_slice(raw);
        return Some(start..out.len());
    }
    let names = raw.strip_suffix(b"/").unwrap_or(raw);
    for name in names.rsplit(|byte| *byte == b'/') {
        if out.len() > start || !cut {
            out.push(b'/');
        }
        out.extend_from_slice(name);
    }
    Some(start..out.len())
}

/// Whether a length says that its path was cut.
pub const fn was_cut(len: u32) -> bool {
    len & LEN_CUT != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turned(raw: &[u8], bits: u32) -> String {
        let mut out = Vec::new();
        let len = u32::try_from(raw.len()).unwrap_or_default() | bits;
        assert!(append(&mut Cursor::new(raw), len, &mut out).is_some());
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn leaf_first_becomes_absolute() {
        assert_eq!(turned(b"true/bin/usr/", 0), "/usr/bin/true");
        assert_eq!(turned(b"", 0), "/");
        assert_eq!(turned(b"memfd:x", LEN_ROOTLESS), "memfd:x");
        assert_eq!(turned(b"true/bin/", LEN_CUT), "bin/true");
    }

    #[test]
    fn a_length_past_the_sample_is_refused() {
        assert_eq!(append(&mut Cursor::new(b"abc"), 4, &mut Vec::new()), None);
    }
}
