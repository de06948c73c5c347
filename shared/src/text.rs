//! Bytes that a user of the host chose, made safe to look at.

use std::fmt::Write as _;

/// Text with control characters, escapes and invalid UTF-8 written out, so that it
/// cannot move a terminal's cursor or fake a line of a log.
pub fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character == '\\' {
                out.push_str("\\\\");
            } else if needs_escape(character) {
                let _ = write!(out, "{}", character.escape_default());
            } else {
                out.push(character);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// A command line of NUL-ended arguments as one line: arguments apart by a space,
/// those with spaces in double quotes.
pub fn command_line(argv: &[u8]) -> String {
    let trimmed = argv.strip_suffix(b"\0").unwrap_or(argv);
    let shown: Vec<String> = trimmed
        .split(|byte| *byte == 0)
        .map(|argument| {
            let text = escape(argument);
            if text.is_empty() || text.contains(' ') {
                format!("\"{text}\"")
            } else {
                text
            }
        })
        .collect();
    shown.join(" ")
}

/// Control characters, and the invisible ones that reorder or hide what is shown.
fn needs_escape(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::{command_line, escape};

    #[test]
    fn terminal_escapes_and_bad_utf8_are_written_out() {
        assert_eq!(escape(b"a\x1b[2Jb\n\xff\\"), "a\\u{1b}[2Jb\\n\\xff\\\\");
        assert_eq!(
            escape("gr\u{fc}n \u{202e}txt".as_bytes()),
            "gr\u{fc}n \\u{202e}txt"
        );
    }

    #[test]
    fn arguments_with_spaces_are_quoted() {
        assert_eq!(
            command_line(b"sh\0-c\0echo hi\0\0"),
            "sh -c \"echo hi\" \"\""
        );
    }
}
