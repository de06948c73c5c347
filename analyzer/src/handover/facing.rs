//! Every word that is exchanged with the judge, in one place.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::judge::{Context, Losses, Notice, NoticeKind};

use super::ledger::{Account, Window};
use super::sequence_word::SequenceWord;

/// Why a batch was put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It could not be decoded.
    Undecodable(String),
    /// It is of another host than this list's: whose.
    OtherHost(String),
    /// It is of a boot that was over when the present one began.
    PastBoot,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecodable(cause) => write!(f, "it cannot be decoded: {cause}"),
            Self::OtherHost(host) => write!(f, "it is of another host, \"{host}\""),
            Self::PastBoot => f.write_str("it is of a boot that is over: two machines, one name?"),
        }
    }
}

/// A batch was put aside.
pub fn notice_of(refusal: &Refusal, bytes: &[u8]) -> Notice {
    Notice {
        kind: match refusal {
            Refusal::Undecodable(_) => NoticeKind::Undecodable,
            Refusal::OtherHost(_) => NoticeKind::ForgedBatch,
            Refusal::PastBoot => NoticeKind::TwoBoots,
        },
        detail: refusal.to_string(),
        key: key(bytes),
    }
}

/// A record made the judge panic.
pub fn notice_of_breaker(cause: String) -> Notice {
    Notice {
        kind: NoticeKind::DeadLetter,
        key: key(cause.as_bytes()),
        detail: cause,
    }
}

/// The same on a replay in another process: `DefaultHasher::new` has fixed keys.
fn key(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// The last minute's losses.
pub fn losses_of(window: &Window) -> Losses {
    Losses {
        essential: window.essential(),
        records: window.records_share(),
        syscalls: window.syscalls_share(),
    }
}

/// What alerts say of who judged.
pub fn context_of(said: &SequenceWord, account: &Account) -> Context {
    Context {
        mode: said.mode,
        model: said.model.clone(),
        lost: account.records.missing() + account.syscalls.missing(),
    }
}
