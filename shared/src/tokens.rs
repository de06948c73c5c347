//! The model's vocabulary: what each syscall and each record is called.
//!
//! One append-only table of names ([`table`]); a name's position is its id. At most
//! [`MOST`] ids are ever in use, so that a model's size is fixed. A model stores
//! [`digest`] and is refused by a program with another table. [`events`] says which records
//! become which tokens.

mod events;
mod table;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

use crate::words::{Abi, Outcome, Syscall};

pub use events::{ExecTokens, Program, of_event, of_exec, started_by};

/// A token's id.
pub type Token = u16;

/// Most ids that can ever be in use.
pub const MOST: usize = 512;

/// What has no name here.
pub const UNKNOWN: Token = 0;
/// Stands before the first token of a stream without a known past.
pub const START: Token = 1;
/// The dynamic loader's prelude, whole.
pub const LOADER: Token = 2;
/// Repeats of the token before: counts at which one more token is made, and that token.
pub const REPEATS: [(u32, Token); 6] = [(2, 3), (4, 4), (16, 5), (64, 6), (256, 7), (1024, 8)];

/// The look-up tables made of the text.
struct Vocabulary {
    names: Vec<&'static str>,
    ids: HashMap<&'static str, Token>,
    /// By `outcome << 11 | number`, as in a chunk's word.
    native: Vec<Token>,
    compat: Vec<Token>,
    x32: Vec<Token>,
}

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(Vocabulary::new);

impl Vocabulary {
    fn new() -> Self {
        let names: Vec<&str> = table::NAMES.split_whitespace().collect();
        let ids: HashMap<&str, Token> = (0..).zip(&names).map(|(id, name)| (*name, id)).collect();
        let find = |name: &str| ids.get(name).copied();
        let family = |letters: &[u8], nr: usize, prefix: &str, suffix: &str| {
            let letter = letters.get(nr).copied().unwrap_or(b'o');
            let at = table::FAMILY_LETTERS.iter().position(|l| *l == letter);
            let name = table::FAMILIES[at.unwrap_or(table::FAMILIES.len() - 1)];
            find(&format!("{prefix}~{name}{suffix}")).unwrap_or(UNKNOWN)
        };
        let own: HashMap<usize, &str> = table::NATIVE
            .split_whitespace()
            .filter_map(|pair| pair.split_once(':'))
            .filter_map(|(nr, name)| Some((nr.parse().ok()?, name)))
            .collect();
        let mut native = Vec::with_capacity(4 * 2048);
        for suffix in ["", "!denied", "!notfound", "!error"] {
            native.extend((0..2048).map(|nr| {
                own.get(&nr)
                    .and_then(|name| find(&format!("{name}{suffix}")))
                    .unwrap_or_else(|| family(table::NATIVE_FAMILIES, nr, "", suffix))
            }));
        }
        let other = |letters: &[u8], prefix: &str| -> Vec<Token> {
            (0..2048)
                .map(|nr| family(letters, nr, prefix, ""))
                .collect()
        };
        Self {
            native,
            compat: other(table::COMPAT_FAMILIES, "compat"),
            x32: other(table::NATIVE_FAMILIES, "x32"),
            names,
            ids,
        }
    }
}

/// Number of ids in use.
pub fn count() -> usize {
    VOCABULARY.names.len()
}

/// A token's name: `openat`, `openat!notfound`, `exec:shell@packaged`.
pub fn name(id: Token) -> &'static str {
    VOCABULARY
        .names
        .get(usize::from(id))
        .copied()
        .unwrap_or("<unknown>")
}

/// The token of a name.
pub fn id(name: &str) -> Option<Token> {
    VOCABULARY.ids.get(name).copied()
}

/// SHA-256 of the names in order, each ended by a newline; hexadecimal.
pub fn digest() -> String {
    digest_of(VOCABULARY.names.len())
}

fn digest_of(first: usize) -> String {
    let mut hash = Sha256::new();
    for name in VOCABULARY.names.iter().take(first) {
        hash.update(name.as_bytes());
        hash.update(b"\n");
    }
    hash.finalize().iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The token of a syscall.
pub fn of_syscall(call: Syscall) -> Token {
    let nr = usize::from(call.nr & 0x7ff);
    let vocabulary = &*VOCABULARY;
    match call.abi {
        Abi::Native => vocabulary.native[usize::from(call.outcome as u8) << 11 | nr],
        Abi::Compat => vocabulary.compat[nr],
        Abi::X32 => vocabulary.x32[nr],
    }
}

/// Whether a token is of a syscall's outcome other than success.
pub fn failed(id: Token) -> bool {
    name(id).contains('!')
}

/// A native syscall's token by name and outcome; for code that looks for one.
pub fn native(name: &str, outcome: Outcome) -> Token {
    let suffix = match outcome {
        Outcome::Ok => "",
        Outcome::Denied => "!denied",
        Outcome::NotFound => "!notfound",
        Outcome::Error => "!error",
    };
    id(&format!("{name}{suffix}")).unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// Every table that was ever released: its length and digest. A new one is added below;
    /// none is changed, so that ids stay what old recordings' models take them for.
    const RELEASED: &[(usize, &str)] = &[(
        502,
        "3ee56c4df057dcecceda2eb112fb1f1597ee58625ab4a3e4f4ea55d66a6e1fac",
    )];

    #[test]
    fn the_table_is_only_ever_appended_to() {
        for (length, digest) in RELEASED {
            assert_eq!(&digest_of(*length), digest);
        }
        assert_eq!(RELEASED.last().unwrap(), &(count(), digest().as_str()));
        assert!(count() <= MOST);
        assert_eq!(VOCABULARY.ids.len(), count(), "a name stands twice");
    }

    #[test]
    fn fixed_ids_are_where_the_constants_say() {
        assert_eq!(name(UNKNOWN), "<unknown>");
        assert_eq!(name(START), "<start>");
        assert_eq!(name(LOADER), "loader");
        for (count, token) in REPEATS {
            assert_eq!(name(token), format!("repeat:{count}"));
        }
    }

    fn call(nr: u16, outcome: Outcome, abi: Abi) -> &'static str {
        name(of_syscall(Syscall { nr, outcome, abi }))
    }

    #[test]
    fn syscalls_have_their_own_name_or_their_familys() {
        let native = |nr, outcome| call(nr, outcome, Abi::Native);
        assert_eq!(native(257, Outcome::Ok), "openat");
        assert_eq!(native(257, Outcome::NotFound), "openat!notfound");
        assert_eq!(native(246, Outcome::Ok), "~admin");
        assert_eq!(native(39, Outcome::Error), "~process!error");
        assert_eq!(native(2047, Outcome::Ok), "~rest");
        assert_eq!(call(102, Outcome::Ok, Abi::Compat), "compat~socket");
        assert_eq!(call(1, Outcome::Denied, Abi::X32), "x32~file");
    }

    #[test]
    fn every_word_has_a_token_other_than_unknown() {
        for word in 0..0x8000 {
            assert_ne!(of_syscall(Syscall::from_word(word)), UNKNOWN, "{word:#x}");
        }
    }
}
