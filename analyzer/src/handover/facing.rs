//! Every word that is exchanged with the judge, in one place.

use crate::judge::{Losses, Notice};

use super::window::Window;

/// Why a batch was put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It could not be decoded.
    Undecodable(String),
    /// It says it is from elsewhere: another host, or an earlier boot.
    Forged(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Undecodable(cause) => write!(f, "cannot be decoded: {cause}"),
            Self::Forged(cause) => write!(f, "is refused: {cause}"),
        }
    }
}

/// A batch was put aside.
pub fn notice_of(refusal: &Refusal) -> Notice {
    match refusal {
        Refusal::Undecodable(cause) => Notice::Undecodable {
            cause: cause.clone(),
        },
        Refusal::Forged(cause) => Notice::Forged {
            cause: cause.clone(),
        },
    }
}

/// A record made the judge panic.
pub fn notice_of_breaker(cause: String) -> Notice {
    Notice::Broke { cause }
}

/// The last minute's losses.
pub fn losses_of(window: &Window) -> Losses {
    Losses {
        essential: window.essential(),
        records_share: window.records_share(),
        syscalls_share: window.syscalls_share(),
    }
}
