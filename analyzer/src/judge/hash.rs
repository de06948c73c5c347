//! Names that a replay makes again: digests of what they name.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// The first `bytes` bytes of the SHA-256 of parts, in hex. Each part goes in with its length.
pub fn hex(parts: &[&[u8]], bytes: usize) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let mut text = String::with_capacity(2 * bytes);
    for byte in digest.finalize().iter().take(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A path or program without what differs from run to run: runs of digits become `#`.
pub fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if !character.is_ascii_digit() {
            out.push(character);
        } else if !out.ends_with('#') {
            out.push('#');
        }
    }
    out
}
