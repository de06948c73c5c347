//! Values: how they are joined to their names, where they begin and where they end.

use super::keys::{self, Says};
use super::shapes;
use super::walk::{Mode, Span, Walk, is_quote};

const PEM_KEY: &[u8] = b"PRIVATE KEY-----";
pub const PEM_END: &[u8] = b"-----END";
/// Between `BEGIN` and `PRIVATE KEY` stand at most ` ENCRYPTED `, ` OPENSSH ` and their like.
const PEM_TYPE_BYTES: usize = 24;

/// What ends a value that stands in the middle of something, without quotes.
const fn ends_value(byte: u8) -> bool {
    byte.is_ascii_whitespace()
        || is_quote(byte)
        || matches!(
            byte,
            b'&' | b';' | b'|' | b',' | b')' | b'}' | b'<' | b'>' | b'\\'
        )
}

impl Walk<'_> {
    /// Masks the value that begins at `start`. None: it is none.
    pub fn value(
        &mut self,
        start: usize,
        most: usize,
        how: Value,
        says: Says,
        mode: Mode,
    ) -> Option<usize> {
        let opened = opening(&self.argv[start..most]);
        let start = start + opened.map_or(0, |(offset, _)| offset);
        if mode == Mode::Script && self.expands(start) {
            return None;
        }
        let line = matches!(says, Says::Credentials | Says::Line);
        let end = match opened {
            Some((offset, quote)) => self.quoted_end(start, most, quote, offset > 1),
            None if how.first => most,
            None if line => self.find(start, most, |byte| match how.key_quote {
                Some(quote) => byte == quote,
                None => is_quote(byte) || byte == b'\n',
            }),
            None => self.find(start, most, ends_value),
        };
        let value = self.text(Span { start, end });
        let bare = opened.is_none() && how.colon;
        if says == Says::SecretOrPath && is_path(value) || bare && !line && value.starts_with(b"/")
        {
            return None;
        }
        let scheme = match says {
            Says::Credentials => scheme_bytes(value),
            _ => 0,
        };
        self.mask(Span {
            start: start + scheme,
            end,
        });
        Some(end)
    }

    /// Masks the password of a URL whose authority begins at `start`, and a user's name that
    /// is a token. None: it has none.
    pub fn url(&mut self, start: usize, most: usize, mode: Mode) -> Option<usize> {
        let end = self.find(start, most, |byte| {
            byte.is_ascii_whitespace() || is_quote(byte) || matches!(byte, b'/' | b'?' | b'#')
        });
        let at = self.argv[start..end].iter().rposition(|byte| *byte == b'@');
        // Cut before the `@`, a password looks like a port: better no port than that.
        let user_end = match at {
            Some(at) => start + at,
            None if self.cut && end == self.argv.len() => end,
            None => return None,
        };
        let name_end = self.find(start, user_end, |byte| byte == b':');
        let name = Span {
            start,
            end: name_end,
        };
        if shapes::is_token(self.text(name), &self.redactor.prefixes, false) {
            self.mask(name);
        }
        let password = name_end + 1;
        if password < user_end && !(mode == Mode::Script && self.expands(password)) {
            self.mask(Span {
                start: password,
                end: user_end,
            });
        }
        Some(user_end)
    }

    /// Where the secret of a PEM block begins whose `-----BEGIN` ends at `at`.
    pub fn pem_head(&self, at: usize, most: usize) -> Option<usize> {
        let head = &self.argv[at..most.min(at + PEM_TYPE_BYTES + PEM_KEY.len())];
        let found = head
            .windows(PEM_KEY.len())
            .position(|window| window == PEM_KEY)?;
        Some(at + found + PEM_KEY.len())
    }

    /// Where a quoted value ends: at its quote, or at `most`. Of an escaped quote (`\"`) the
    /// backslash is not the value's.
    pub fn quoted_end(&self, start: usize, most: usize, quote: u8, escaped: bool) -> usize {
        let mut at = start;
        while at < most {
            match self.argv[at] {
                byte if byte == quote => break,
                b'\\' if escaped && self.argv.get(at + 1) == Some(&quote) => break,
                b'\\' if !escaped && quote != b'\'' => at += 2,
                _ => at += 1,
            }
        }
        at.min(most)
    }

    /// A variable or a command of a script stands there, and no secret: `$TOKEN`, `$(pass x)`.
    pub fn expands(&self, at: usize) -> bool {
        match self.argv.get(at..at + 2) {
            Some([b'$', next]) => next.is_ascii_alphabetic() || matches!(next, b'_' | b'{' | b'('),
            Some([b'`', _]) => true,
            _ => false,
        }
    }

    /// `$TOKEN:…` and `${TOKEN:-…}` name a variable.
    pub fn is_variable(&self, run: Span) -> bool {
        matches!(self.argv[..run.start], [.., b'$', b'{'] | [.., b'$'])
    }
}

/// How a value is joined to its name.
#[derive(Clone, Copy, Debug, Default)]
pub struct Value {
    /// From the name's end to it.
    pub offset: usize,
    /// A colon joins them.
    pub colon: bool,
    /// It is the rest of its argument.
    pub first: bool,
    /// The name stands right behind this quote.
    pub key_quote: Option<u8>,
}

/// What joins `name` to a value, if `rest` begins with such: `=`, `:`, `": "`, `\":\"`, and of
/// a header `: `. `==`, `::` and the `: ` of prose join nothing.
pub fn separator(rest: &[u8], name: &[u8]) -> Option<Value> {
    let quote = opening(rest).map_or(0, |(offset, _)| offset);
    let blanks = |from: usize| {
        rest.iter()
            .skip(from)
            .take_while(|byte| **byte == b' ')
            .count()
    };
    let sign = quote + if quote > 0 { blanks(quote).min(2) } else { 0 };
    let colon = match rest.get(sign)? {
        b'=' => false,
        b':' => true,
        _ => return None,
    };
    let (next, gap) = (rest.get(sign + 1), blanks(sign + 1).min(8));
    let doubled = if colon { b':' } else { b'=' };
    if next == Some(&doubled) {
        return None;
    }
    let header = || keys::has_parts(name) || name.eq_ignore_ascii_case(b"authorization");
    let apart = quote > 0 || (colon && (header() || name.eq_ignore_ascii_case(b"cookie")));
    if gap > 0 && !apart {
        return None;
    }
    Some(Value {
        offset: sign + 1 + gap,
        colon,
        ..Value::default()
    })
}

/// A quote at the start, plain or escaped: its length and itself.
pub fn opening(text: &[u8]) -> Option<(usize, u8)> {
    match text {
        [b'\\', quote @ (b'"' | b'\''), ..] => Some((2, *quote)),
        [quote @ (b'"' | b'\''), ..] => Some((1, *quote)),
        _ => None,
    }
}

/// Bytes of `Bearer `, `Basic ` and their like before the credentials.
pub fn scheme_bytes(value: &[u8]) -> usize {
    let word = value
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-')
        .count();
    let blanks = value[word..]
        .iter()
        .take_while(|byte| **byte == b' ')
        .count();
    let more = value.len() > word + blanks;
    if word > 0 && blanks > 0 && more {
        word + blanks
    } else {
        0
    }
}

/// Whether an argument behind an option can be its value: `--password --user x` gives none.
pub fn is_value(argument: &[u8]) -> bool {
    let is_option =
        argument.starts_with(b"--") || argument.len() <= 2 && argument.starts_with(b"-");
    !argument.is_empty() && !is_option
}

/// `-c`, `-lc`, `-e`: what follows is run, not read.
pub fn announces_script(argument: &[u8]) -> bool {
    matches!(argument, [b'-', letters @ .., b'c' | b'e' | b'r']
        if letters.len() <= 2 && letters.iter().all(u8::is_ascii_alphabetic))
}

/// Whether a value names a file.
pub fn is_path(value: &[u8]) -> bool {
    matches!(value.first(), Some(b'/' | b'~' | b'.'))
}
