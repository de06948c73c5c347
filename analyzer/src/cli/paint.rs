//! Colours, widths and numbers for people.

use std::io::IsTerminal;

use crate::verdict::Level;

/// Writes colours, or leaves them out.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

impl Paint {
    /// Colours where standard output is a terminal and NO_COLOR is not set.
    pub fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            on: wanted && std::io::stdout().is_terminal(),
        }
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// The word of a level, in its colour.
    pub fn level(self, word: &str) -> String {
        let code = if word == Level::High.word() {
            "1;37;41"
        } else if word == Level::Medium.word() {
            "1;30;43"
        } else if word == Level::Low.word() {
            "1;32"
        } else {
            "1;35"
        };
        if self.on && code.contains(';') && code != "1;32" {
            self.with(code, &format!(" {word} "))
        } else {
            self.with(code, word)
        }
    }

    /// A heading.
    pub fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    /// What matters less.
    pub fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    /// Good news.
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Bad news.
    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }
}

/// A number with a space between each three digits: `12 345 678`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// At most `width` characters of `text`; the end is marked where it was cut.
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut out: String = text.chars().take(width.saturating_sub(1)).collect();
    out.push('…');
    out
}

/// Columns where no terminal is: what reads a pipe wants its lines whole.
const NO_TERMINAL: usize = 4096;

/// Columns and rows of the terminal on standard output; [`NO_TERMINAL`] by 40 where there is none.
pub fn size() -> (usize, usize) {
    let mut window = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ fills the winsize that it is given.
    let answer = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut window) };
    if answer == 0 && window.ws_col > 0 && window.ws_row > 0 {
        (usize::from(window.ws_col), usize::from(window.ws_row))
    } else {
        (NO_TERMINAL, 40)
    }
}

/// Hours, minutes and seconds of a time in milliseconds since 1970, in the local time zone.
pub fn time_of_day(ms: u64) -> String {
    let seconds = libc::time_t::try_from(ms / 1000).unwrap_or_default();
    // SAFETY: tm is plain data, for which zero is a value; localtime_r fills it.
    let parts = unsafe {
        let mut parts: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const seconds, &raw mut parts);
        parts
    };
    format!(
        "{:02}:{:02}:{:02}",
        parts.tm_hour, parts.tm_min, parts.tm_sec
    )
}

#[cfg(test)]
mod tests {
    use super::{cut, grouped};

    #[test]
    fn numbers_are_grouped_and_long_text_shows_that_it_was_cut() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(1234567), "1 234 567");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
    }
}
