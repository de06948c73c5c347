//! The one pass: arguments, words and names of an argv, and what of it stays.
//!
//! An argument without blanks is a word. One with blanks is text (`-d '{"token": "x"}'`), in
//! which names and tokens are looked for; or a script (`sh -c '…'`, `ssh host '…'`), whose
//! words are read as commands too, and whose values end where a shell would end them: a
//! masked value must not take the rest of a script with it.

use super::Redactor;
use super::keys::{self, Says};
use super::programs::{self, Found, Part, Program, Scripts};
use super::shapes;
use super::value::{PEM_END, Value, announces_script, is_path, is_value, separator};

const MASK: &[u8] = b"***";
const PEM_HEAD: &[u8] = b"-----BEGIN";
/// Bytes that names of options, variables and fields are made of.
pub fn is_name(byte: u8) -> bool {
    NAMES[usize::from(byte)]
}

/// One look-up a byte: most of the time goes into finding where names end.
const NAMES: [bool; 256] = {
    let mut names = [false; 256];
    let mut byte = 0u8;
    loop {
        names[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if byte == u8::MAX {
            break names;
        }
        byte += 1;
    }
};

pub const fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

/// What ends a command of a shell script.
const fn ends_command(byte: u8) -> bool {
    matches!(byte, b';' | b'|' | b'&' | b'(' | b'`' | b'\n')
}

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Word,
    Text,
    Script,
}

/// What the words of a command have said so far.
#[derive(Debug, Default)]
struct Command {
    named: bool,
    program: Option<&'static Program>,
    /// The next word is a secret, or has one.
    wanted: Option<Part>,
    /// The next argument is a script.
    script: bool,
}

impl Command {
    fn scripts(&self) -> Scripts {
        self.program.map_or(Scripts::No, |program| program.scripts)
    }
}

/// A piece of the argv: from its first byte to the one behind its last.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}

/// The pass over one argv.
#[derive(Debug)]
pub struct Walk<'a> {
    pub redactor: &'a Redactor,
    pub argv: &'a [u8],
    pub cut: bool,
    out: &'a mut Vec<u8>,
    /// Up to here `out` holds what is to leave.
    kept: usize,
    masked: bool,
}

impl<'a> Walk<'a> {
    pub fn new(redactor: &'a Redactor, argv: &'a [u8], cut: bool, out: &'a mut Vec<u8>) -> Self {
        Self {
            redactor,
            argv,
            cut,
            out,
            kept: 0,
            masked: false,
        }
    }

    pub fn run(mut self) -> bool {
        let mut command = Command::default();
        let mut start = 0;
        while start < self.argv.len() {
            let end = self.find(start, self.argv.len(), |byte| byte == 0);
            self.argument(Span { start, end }, &mut command);
            start = end + 1;
        }
        if self.masked {
            self.out.extend_from_slice(&self.argv[self.kept..]);
        }
        self.masked
    }

    fn argument(&mut self, span: Span, command: &mut Command) {
        let argument = self.text(span);
        let script = std::mem::take(&mut command.script);
        let any = command.scripts() == Scripts::Any;
        if let Some(part) = command.wanted.take()
            && is_value(argument)
        {
            self.mask_part(span, part);
        } else if !argument.iter().any(u8::is_ascii_whitespace) {
            command.script = command.scripts() == Scripts::BehindFlag && announces_script(argument);
            match self.word(span, command) {
                Some((at, part)) => self.mask_part(Span { start: at, ..span }, part),
                None if script => self.scan(span, Mode::Script, &mut Command::default()),
                None => self.scan(span, Mode::Word, command),
            }
        } else if script || any {
            self.scan(span, Mode::Script, &mut Command::default());
        } else {
            self.scan(span, Mode::Text, command);
        }
    }

    /// Reads a word as part of a command. Some: a secret begins there in it, or a part of one.
    fn word(&self, span: Span, command: &mut Command) -> Option<(usize, Part)> {
        let word = self.text(span);
        match command.program.and_then(|program| program.option(word)) {
            Some(Found::Here(offset, part)) => return Some((span.start + offset, part)),
            Some(Found::Next(part)) => {
                command.wanted = Some(part);
                return None;
            }
            None => {}
        }
        let dashes = word.iter().take_while(|byte| **byte == b'-').count();
        let name = &word[dashes..];
        if !name.is_empty() && name.iter().all(|byte| is_name(*byte)) {
            let says = keys::says(name, &self.redactor.names);
            let follows = match says {
                Some(Says::SecretAfterWord) => true,
                // Behind one dash, `-pass 2` is ffmpeg's: a short name needs two.
                Some(_) => dashes >= 2 || (dashes == 1 && name.len() > 4),
                None => false,
            };
            if follows {
                command.wanted = Some(match says {
                    Some(Says::SecretOrPath) => Part::UnlessPath,
                    _ => Part::Whole,
                });
                return None;
            }
        }
        if command.named {
            command.program = command.program.and_then(|program| program.behind(word));
        } else if dashes == 0 && !word.contains(&b'=') {
            command.program = programs::of_word(word);
            command.named = true;
        }
        None
    }

    /// Masks names' values, tokens and passwords of URLs in `span`, and, of a script, what its
    /// words say.
    fn scan(&mut self, span: Span, mode: Mode, command: &mut Command) {
        let (mut at, mut fresh) = (span.start, mode == Mode::Script);
        while at < span.end {
            let byte = self.argv[at];
            let blank = byte.is_ascii_whitespace() || ends_command(byte);
            if fresh && !blank {
                fresh = false;
                if let Some(end) = self.script_word(at, span.end, command) {
                    at = end;
                    continue;
                }
            }
            if is_name(byte) {
                let end = self.find(at, span.end, |byte| !is_name(byte));
                at = self.name(Span { start: at, end }, span, mode);
            } else {
                if blank && mode == Mode::Script {
                    fresh = true;
                    if ends_command(byte) {
                        *command = Command::default();
                    }
                }
                at += 1;
            }
        }
    }

    /// The word of a script at `at`. Some: it was masked, up to there.
    fn script_word(&mut self, at: usize, end: usize, command: &mut Command) -> Option<usize> {
        let quote = Some(self.argv[at]).filter(|byte| is_quote(*byte));
        let start = at + usize::from(quote.is_some());
        let end = match quote {
            Some(quote) => self.find(start, end, |byte| byte == quote),
            None => self.find(start, end, |byte| {
                byte.is_ascii_whitespace() || is_quote(byte) || ends_command(byte)
            }),
        };
        let word = Span { start, end };
        let (at, part) = match command.wanted.take() {
            Some(part) if is_value(self.text(word)) && !self.expands(start) => (start, part),
            _ => self.word(word, command)?,
        };
        if self.expands(at) {
            return None;
        }
        self.mask_part(Span { start: at, end }, part);
        Some(end)
    }

    /// Looks at a run of name bytes: a token, the start of a URL or a PEM block, or a name
    /// with a value behind it. Returns where to go on.
    fn name(&mut self, run: Span, within: Span, mode: Mode) -> usize {
        let text = self.text(run);
        let dashes = text.iter().take_while(|byte| **byte == b'-').count();
        let name = &text[dashes..];
        let at_cut = self.cut && run.end == self.argv.len();
        if shapes::is_token(name, &self.redactor.prefixes, at_cut) {
            self.mask(Span {
                start: run.start + dashes,
                ..run
            });
            return run.end;
        }
        if text == PEM_HEAD
            && let Some(head) = self.pem_head(run.end, within.end)
        {
            let end = self.find_bytes(head, within.end, PEM_END);
            self.mask(Span { start: head, end });
            return end;
        }
        let rest = &self.argv[run.end..within.end];
        if rest.starts_with(b"://") {
            return self
                .url(run.end + 3, within.end, mode)
                .unwrap_or(run.end + 3);
        }
        let value = separator(rest, name).filter(|value| !(value.colon && self.is_variable(run)));
        let Some(value) = value else { return run.end };
        let Some(says) = keys::says(name, &self.redactor.names) else {
            return run.end;
        };
        // `--password=…`, `-e PASSWORD=…`, `--env=PASSWORD=…`: the value is the rest of it.
        let before = run.start.checked_sub(1).map(|before| self.argv[before]);
        let first = run.start == within.start
            || (mode == Mode::Word && before == Some(b'=') && self.argv[within.start] == b'-');
        let open = Value {
            first: first && mode != Mode::Script,
            key_quote: before.filter(|byte| is_quote(*byte)),
            ..value
        };
        self.value(run.end + value.offset, within.end, open, says, mode)
            .unwrap_or(run.end)
    }

    fn mask_part(&mut self, span: Span, part: Part) {
        let start = match part {
            Part::Whole => span.start,
            Part::UnlessPath if is_path(self.text(span)) => return,
            Part::UnlessPath => span.start,
            Part::Behind(byte) => {
                // What stands before may be a token: `curl -u ghp_…:x`.
                let end = self.find(span.start, span.end, |other| other == byte);
                self.scan(Span { end, ..span }, Mode::Word, &mut Command::default());
                end + 1
            }
        };
        if start < span.end {
            self.mask(Span { start, ..span });
        }
    }

    /// Puts stars for a secret. One that is stars already, or empty, is none.
    pub fn mask(&mut self, secret: Span) {
        let Span { start, end } = secret;
        if start < self.kept || self.text(secret).iter().all(|byte| *byte == b'*') {
            return;
        }
        self.out.extend_from_slice(&self.argv[self.kept..start]);
        self.out
            .extend_from_slice(&MASK[..MASK.len().min(end - start)]);
        self.kept = end;
        self.masked = true;
    }

    pub fn text(&self, span: Span) -> &'a [u8] {
        self.argv.get(span.start..span.end).unwrap_or_default()
    }

    /// The first place from `start` on at which `wanted` holds, else `end`.
    pub fn find(&self, start: usize, end: usize, wanted: impl Fn(u8) -> bool) -> usize {
        self.argv
            .get(start..end)
            .and_then(|bytes| bytes.iter().position(|byte| wanted(*byte)))
            .map_or(end, |at| start + at)
    }

    pub fn find_bytes(&self, start: usize, end: usize, wanted: &[u8]) -> usize {
        self.argv
            .get(start..end)
            .and_then(|bytes| {
                bytes
                    .windows(wanted.len())
                    .position(|window| window == wanted)
            })
            .map_or(end, |at| start + at)
    }
}
