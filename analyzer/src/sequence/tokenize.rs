//! From a thread's syscalls and records to the tokens that the model reads.

use std::sync::LazyLock;

use ravn_shared::tokens::{self, Program, Token};

/// Longest loader prelude that is folded away; about 400 libraries.
const LONGEST_PRELUDE: u16 = 4096;

/// What a thread's tokens depend on besides the syscall itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokenizer {
    /// The token before and how often it stood in a row.
    pub last: Token,
    /// See `last`.
    pub run: u32,
    /// The program that runs, once an exec told.
    pub program: Option<Program>,
    /// Where in the loader's prelude the thread is.
    pub prelude: Prelude,
}

/// The dynamic loader does the same for every program: brk, preload file, cache, then
/// open-read-map-close for each library, thread set-up, protection, cache unmapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prelude {
    /// Past it.
    #[default]
    Off,
    /// An exec has just been: these tokens may be its first ones.
    Expected([Token; 4], u8),
    /// In it; what belongs to it is swallowed.
    Inside {
        /// Tokens that may still be swallowed.
        left: u16,
        /// The main thread's id was set: only the end is to come.
        ending: bool,
    },
}

/// Tokens by their part in the prelude.
struct Loader {
    execs: Vec<Token>,
    first: Vec<Token>,
    preload: Token,
    mapping: Vec<Token>,
    thread_id: Token,
    ending: Vec<Token>,
    last: Token,
}

static LOADER: LazyLock<Loader> = LazyLock::new(|| {
    let ids = |names: &[&str]| names.iter().filter_map(|name| tokens::id(name)).collect();
    let one = |name| tokens::id(name).unwrap_or(tokens::UNKNOWN);
    Loader {
        execs: ids(&["execve"]),
        first: ids(&["brk", "arch_prctl!error", "mmap"]),
        preload: one("access!notfound"),
        mapping: ids(&[
            "openat",
            "openat!notfound",
            "read",
            "pread64",
            "newfstatat",
            "newfstatat!notfound",
            "fstat",
            "mmap",
            "close",
            "mprotect",
            "munmap",
            "arch_prctl",
            "brk",
        ]),
        thread_id: one("set_tid_address"),
        ending: ids(&["set_robust_list", "rseq", "mprotect", "prlimit64"]),
        last: one("munmap"),
    }
});

impl Tokenizer {
    /// A syscall; what it adds to the stream goes to `out`.
    pub fn call(&mut self, token: Token, out: &mut Vec<Token>) {
        let loader = &*LOADER;
        match self.prelude {
            Prelude::Off => {
                self.push(token, out);
                if loader.execs.contains(&token) {
                    self.prelude = Prelude::Expected([0; 4], 0);
                }
            }
            Prelude::Expected(mut held, used) => {
                let at = usize::from(used);
                if loader.execs.contains(&token) {
                    self.push(token, out);
                } else if token == loader.preload && used > 0 {
                    self.push(tokens::LOADER, out);
                    self.prelude = Prelude::Inside {
                        left: LONGEST_PRELUDE,
                        ending: false,
                    };
                } else if loader.first.contains(&token) && at < held.len() {
                    held[at] = token;
                    self.prelude = Prelude::Expected(held, used + 1);
                } else {
                    // A static program, or another loader: nothing is folded.
                    self.release(out);
                    self.push(token, out);
                }
            }
            Prelude::Inside { left, ending } => {
                let last = ending && token == loader.last;
                let belongs = if ending {
                    last || loader.ending.contains(&token)
                } else {
                    token == loader.thread_id || loader.mapping.contains(&token)
                };
                self.prelude = if last || !belongs || left == 0 {
                    Prelude::Off
                } else {
                    Prelude::Inside {
                        left: left - 1,
                        ending: ending || token == loader.thread_id,
                    }
                };
                if !belongs {
                    self.push(token, out);
                }
            }
        }
    }

    /// A record other than an exec. It is never swallowed.
    pub fn event(&mut self, token: Token, out: &mut Vec<Token>) {
        self.release(out);
        self.push(token, out);
    }

    /// An exec: what ran before, then its own tokens.
    pub fn exec(&mut self, program: Program, exec: &[Token], out: &mut Vec<Token>) {
        self.release(out);
        if let Some(before) = self.program.replace(program) {
            self.push(tokens::started_by(before), out);
        }
        for token in exec {
            self.push(*token, out);
        }
        self.prelude = Prelude::Expected([0; 4], 0);
    }

    /// What a forked thread starts with.
    pub fn forked(&self) -> Self {
        Self {
            prelude: Prelude::Off,
            ..*self
        }
    }

    /// Gives up waiting for a prelude.
    fn release(&mut self, out: &mut Vec<Token>) {
        if let Prelude::Expected(held, used) = self.prelude {
            self.prelude = Prelude::Off;
            for token in &held[..usize::from(used).min(held.len())] {
                self.push(*token, out);
            }
        }
    }

    fn push(&mut self, token: Token, out: &mut Vec<Token>) {
        if token != self.last || self.run == 0 {
            self.last = token;
            self.run = 1;
            out.push(token);
            return;
        }
        self.run = self.run.saturating_add(1);
        let mark = tokens::REPEATS.iter().find(|(count, _)| *count == self.run);
        if let Some((_, repeat)) = mark {
            out.push(*repeat);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn feed(tokenizer: &mut Tokenizer, calls: &str) -> Vec<&'static str> {
        let mut out = Vec::new();
        for call in calls.split_whitespace() {
            tokenizer.call(tokens::id(call).unwrap(), &mut out);
        }
        out.into_iter().map(tokens::name).collect()
    }

    fn after_exec() -> Tokenizer {
        let mut tokenizer = Tokenizer::default();
        tokenizer.exec(Program::Files, &[], &mut Vec::new());
        tokenizer
    }

    #[test]
    fn repeats_collapse_to_count_classes() {
        let calls = "read ".repeat(20);
        assert_eq!(
            feed(&mut Tokenizer::default(), &calls),
            ["read", "repeat:2", "repeat:4", "repeat:16"]
        );
        assert_eq!(
            feed(&mut Tokenizer::default(), "read write read"),
            ["read", "write", "read"]
        );
    }

    const PRELUDE: &str = "execve brk arch_prctl!error mmap access!notfound openat newfstatat \
        mmap close openat read pread64 newfstatat mmap mmap close mmap arch_prctl \
        set_tid_address set_robust_list rseq mprotect mprotect prlimit64 munmap";

    #[test]
    fn the_loaders_prelude_is_one_token() {
        let mut tokenizer = after_exec();
        assert_eq!(feed(&mut tokenizer, PRELUDE), ["execve", "loader"]);
        assert_eq!(
            feed(&mut tokenizer, "munmap openat read"),
            ["munmap", "openat", "read"]
        );
        // Without the exec's record the syscall alone announces it.
        assert_eq!(
            feed(&mut Tokenizer::default(), PRELUDE),
            ["execve", "loader"]
        );
    }

    #[test]
    fn what_is_no_prelude_is_not_swallowed() {
        assert_eq!(
            feed(&mut after_exec(), "execve brk mmap getpid openat read"),
            ["execve", "brk", "mmap", "getpid", "openat", "read"]
        );
        let cut = "brk access!notfound openat socket openat set_tid_address read";
        assert_eq!(
            feed(&mut after_exec(), cut),
            ["loader", "socket", "openat", "set_tid_address", "read"]
        );
        let mut tokenizer = after_exec();
        feed(&mut tokenizer, "brk access!notfound openat set_tid_address");
        assert_eq!(feed(&mut tokenizer, "openat read"), ["openat", "read"]);
    }

    #[test]
    fn an_event_inside_the_prelude_stands() {
        let mut tokenizer = after_exec();
        feed(&mut tokenizer, "brk access!notfound openat");
        let mut out = Vec::new();
        tokenizer.event(tokens::id("memfd").unwrap(), &mut out);
        assert_eq!(out.len(), 1);
        assert_eq!(feed(&mut tokenizer, "mmap"), Vec::<&str>::new());
    }

    #[test]
    fn an_exec_names_the_program_before() {
        let mut tokenizer = Tokenizer::default();
        let mut out = Vec::new();
        tokenizer.exec(Program::Shell, &[50], &mut out);
        tokenizer.exec(Program::Files, &[51], &mut out);
        let from = tokens::started_by(Program::Shell);
        assert_eq!(out, [50, from, 51]);
    }
}
