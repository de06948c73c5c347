//! Secrets in command lines, masked before they leave the process that read them.
//!
//! One pass over the bytes of an argv, from left to right: [`walk`] finds the names, words and
//! values in it, [`keys`] says which names announce a secret (`--password`, `PGPASSWORD=`,
//! `"token":`, `Authorization:`), [`programs`] which short options do (`mysql -p…`, `curl -u`),
//! [`shapes`] which words are one by their looks (`ghp_…`, `AKIA…`, `eyJ….….…`).
//!
//! Time is linear in the input: every byte is looked at a bounded number of times, whatever the
//! bytes are. Nothing is allocated but by the output, if it has no room. A secret becomes `***`,
//! so its length is not told; what is shorter than that becomes as many stars as it has bytes.

mod keys;
mod programs;
mod shapes;
#[cfg(test)]
mod tests;
mod value;
mod walk;

use walk::Walk;

/// Most patterns of a configuration.
pub const MOST_PATTERNS: usize = 64;
/// Bytes of a pattern.
const PATTERN_BYTES: std::ops::RangeInclusive<usize> = 3..=64;

/// What a pattern may be.
pub const MEND: &str =
    "give a name like vault_pin or a prefix like corp_*, of 3 to 64 letters, digits, . _ -";

/// A pattern that is neither a name nor a prefix.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no pattern: {MEND}")]
pub struct BadPattern(pub String);

/// Masks secrets: those that everybody knows, and those of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    off: bool,
    /// Names, in lower case and without separators.
    names: Vec<Vec<u8>>,
    prefixes: Vec<Vec<u8>>,
}

impl Redactor {
    /// Masks nothing.
    pub fn off() -> Self {
        Self {
            off: true,
            ..Self::default()
        }
    }

    /// Masks also what `patterns` name. `vault_pin` is a name: the value behind `vault_pin=`,
    /// `VaultPin:` or `--vault-pin` goes. `corp_*` is a prefix: words that begin with it, as
    /// written, and have eight bytes more go.
    ///
    /// # Errors
    /// The first pattern that is neither.
    pub fn with_patterns(patterns: &[String]) -> Result<Self, BadPattern> {
        let mut redactor = Self::default();
        for pattern in patterns {
            let bad = || BadPattern(pattern.clone());
            let (text, prefix) = match pattern.strip_suffix('*') {
                Some(text) => (text, true),
                None => (pattern.as_str(), false),
            };
            if !PATTERN_BYTES.contains(&text.len()) || !text.bytes().all(walk::is_name) {
                return Err(bad());
            }
            if prefix {
                redactor.prefixes.push(text.as_bytes().to_vec());
                continue;
            }
            let name = keys::normal(text.as_bytes());
            if name.is_empty() {
                return Err(bad());
            }
            redactor.names.push(name);
        }
        Ok(redactor)
    }

    /// Looks for secrets in `argv`, arguments ended by NUL, of which the rest was `cut` off.
    /// True: there are, and `argv` with each of them masked was appended to `out`, in no more
    /// bytes than `argv` has. False: there are none, and `out` is as it was.
    pub fn redact(&self, argv: &[u8], cut: bool, out: &mut Vec<u8>) -> bool {
        !self.off && Walk::new(self, argv, cut, out).run()
    }
}
