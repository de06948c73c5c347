//! A record as names and values that a person or a JSON reader understands. Every string is
//! escaped: who made the record chose it.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use crate::event::Event;
use crate::text::escape;

mod fields;
mod names;

pub use fields::fields;
pub use names::{namespaces, operation, record_type};

/// A value to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Shown {
    /// Escaped text.
    Text(String),
    /// A count, an id, a size.
    Number(u64),
    /// A result: a descriptor, 0, or a negative errno.
    Result(i32),
    /// A larger number that may be negative.
    Long(i64),
    /// Yes or no.
    Flag(bool),
    /// Several ids.
    Numbers(Vec<u64>),
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) if text.is_empty() || text.contains(' ') => write!(f, "\"{text}\""),
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Result(ret) => write!(f, "{ret}"),
            Self::Long(number) => write!(f, "{number}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Numbers(numbers) => {
                let text: Vec<String> = numbers.iter().map(u64::to_string).collect();
                f.write_str(&text.join(","))
            }
        }
    }
}

/// The name of an event's kind as users see it; `unknown` for one of a later version.
pub fn kind(event: &Event<'_>) -> &'static str {
    event.kind().map_or("unknown", crate::kind::Kind::name)
}

/// An address of 4 or 16 bytes as people write it; any other length as escaped bytes.
pub fn address(bytes: &[u8]) -> String {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        Ipv4Addr::from(v4).to_string()
    } else if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
        Ipv6Addr::from(v6).to_string()
    } else {
        escape(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Open;

    #[test]
    fn a_hostile_path_is_escaped_and_an_address_is_readable() {
        let open = Event::Open(Open {
            path: b"/tmp/\x1b[2J",
            flags: 1,
            mode: 0,
            ino: 2,
            dev: 3,
            created: true,
            cut: false,
        });
        let shown = fields(&open);
        assert_eq!(
            shown[0],
            ("path", Shown::Text("/tmp/\\u{1b}[2J".to_owned()))
        );
        assert_eq!(address(&[127, 0, 0, 1]), "127.0.0.1");
        assert_eq!(
            address(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            "::1"
        );
    }
}
