//! What handed-on items mean for the table: tokens to score, threads that begin and end.

use std::collections::VecDeque;

use foldhash::{HashMap, HashMapExt, HashSet};
use ravn_shared::tokens::{self, Token};
use ravn_shared::words::{Abi, Syscall};

use super::chunk::ThreadId;
use super::merge::{Act, Item};
use super::rounds::{Op, Work};
use super::table::{Table, Thread};
use super::tokenize::Tokenizer;
use crate::model::engine::Stream;
use crate::model::score::ThreadScore;
use crate::verdict::ProcessId;

/// After an exec or a change of credentials a process is not thinned for so long.
const FRESH_NS: u64 = 10_000_000_000;

/// What one release of the merge came to.
#[derive(Debug, Default)]
pub struct Applied {
    /// Tokens to score, by thread.
    pub works: Vec<Work>,
    /// Processes that did something.
    pub touched: HashSet<ProcessId>,
    /// Tokens made.
    pub tokens: u64,
}

/// Applies items in order. Threads that nobody forked begin from `start`.
pub fn apply(table: &mut Table, items: &[Item], start: &Stream) -> Applied {
    let mut applied = Applied::default();
    let mut index: HashMap<ThreadId, usize> = HashMap::new();
    let mut out = Vec::new();
    for item in items {
        out.clear();
        let Item {
            thread: id,
            process,
            time_ns,
            act,
        } = *item;
        let thread = table.thread(id, || begin(process, start));
        thread.active_ns = time_ns;
        thread.heard = true;
        // A thread that ended and executes a program does so in its leader's place. What else
        // comes of one that ended comes late, and opens it no more.
        if matches!(act, Act::Exec(_)) {
            thread.exited_ns = None;
        }
        let process = thread.process;
        let tokenizer = &mut thread.tokenizer;
        match act {
            Act::Call(call) => {
                tokenizer.call(tokens::of_syscall(call), &mut out);
                thread.quit_ns = ends(call).then_some(time_ns);
            }
            Act::Event(token) => tokenizer.event(token, &mut out),
            Act::Exec(exec) => {
                let (all, used) = &exec.tokens;
                tokenizer.exec(exec.program, &all[..*used], &mut out);
            }
            Act::Fork(token, ..) => tokenizer.event(token, &mut out),
            Act::Exit(token, _) => {
                tokenizer.event(token, &mut out);
                thread.exited_ns = Some(time_ns);
            }
        }
        let forked = tokenizer.forked();
        let at = *index.entry(id).or_insert_with(|| {
            applied.works.push(work(id, thread));
            applied.works.len() - 1
        });
        let record = !matches!(act, Act::Call(_));
        applied.tokens += out.len() as u64;
        applied.works[at]
            .ops
            .extend(out.iter().map(|token| Op::Token {
                token: *token,
                time_ns,
                record,
            }));
        see(table, process, item, &out);
        applied.touched.insert(process);
        if let Act::Fork(_, child, of) = act
            && child != id
            && !index.contains_key(&child)
        {
            let mut thread = begin(of, start);
            thread.tokenizer = forked;
            thread.active_ns = time_ns;
            // Already there only when the fork is a late one: what the child did stands.
            if table.known(child).is_none() {
                table.put(child, thread);
                let mut begun = work_of(child, of, start);
                begun.waits = true;
                index.insert(child, applied.works.len());
                applied.works.push(begun);
                applied.works[at].ops.push_back(Op::Fork(child));
            }
        }
    }
    applied
}

/// The word of exit and exit_group is written when the thread ends. It may come so late that the
/// thread was forgotten by the record of its end: then nothing else tells that it is gone. But a
/// thread whose call a seccomp filter turns back has the same word, and goes on.
const fn ends(call: Syscall) -> bool {
    match call.abi {
        Abi::Native | Abi::X32 => matches!(call.nr, 60 | 231),
        Abi::Compat => matches!(call.nr, 1 | 252),
    }
}

fn see(table: &mut Table, process: ProcessId, item: &Item, out: &[Token]) {
    let entry = table.process(process);
    for token in out {
        entry.score.see(*token);
    }
    let fresh = match item.act {
        Act::Exec(_) => true,
        Act::Event(token) => tokens::name(token).starts_with("creds:"),
        _ => false,
    };
    if fresh {
        entry.fresh_until_ns = item.time_ns.saturating_add(FRESH_NS);
    }
}

fn begin(process: ProcessId, start: &Stream) -> Thread {
    Thread {
        process,
        tokenizer: Tokenizer::default(),
        score: ThreadScore::unknown(start),
        cursor: None,
        exited_ns: None,
        quit_ns: None,
        active_ns: 0,
        heard: false,
    }
}

fn work(id: ThreadId, thread: &Thread) -> Work {
    Work {
        thread: id,
        process: thread.process,
        ops: VecDeque::new(),
        waits: false,
        score: thread.score.clone(),
    }
}

fn work_of(id: ThreadId, process: ProcessId, start: &Stream) -> Work {
    work(id, &begin(process, start))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::net::HIDDEN;
    use crate::sequence::merge::ExecAct;
    use ravn_shared::tokens::Program;

    const START: Stream = Stream {
        hidden: [0.0; HIDDEN],
        cell: [0.0; HIDDEN],
    };
    const ID: ThreadId = ThreadId {
        pid: 7,
        start_ns: 100,
    };

    fn item(time_ns: u64, act: Act) -> Item {
        Item {
            thread: ID,
            process: ProcessId {
                tgid: 7,
                start_ns: 100,
            },
            time_ns,
            act,
        }
    }

    #[test]
    fn a_late_call_does_not_open_a_thread_that_ended() {
        let mut table = Table::default();
        let token = tokens::of_syscall(Syscall::from_word(60));
        let call = Act::Call(Syscall::from_word(39));
        apply(
            &mut table,
            &[item(200, Act::Exit(token, true)), item(190, call)],
            &START,
        );
        assert_eq!(table.known(ID).unwrap().exited_ns, Some(200));
        let exec = ExecAct {
            tokens: ([token; 5], 1),
            program: Program::of(b"/bin/true"),
            path_hash: 0,
            leads_session: false,
        };
        apply(&mut table, &[item(210, Act::Exec(exec))], &START);
        assert_eq!(table.known(ID).unwrap().exited_ns, None);
    }

    #[test]
    fn a_thread_quits_by_its_exit_call_until_it_goes_on() {
        let mut table = Table::default();
        let call = |word| Act::Call(Syscall::from_word(word));
        apply(&mut table, &[item(190, call(39))], &START);
        assert_eq!(table.known(ID).unwrap().exited_ns, None);
        apply(&mut table, &[item(200, call(231))], &START);
        assert_eq!(table.known(ID).unwrap().quit_ns, Some(200));
        assert!(
            table.sweep(201).is_empty(),
            "the filter may have turned it back"
        );
        apply(&mut table, &[item(300, call(39))], &START);
        assert!(table.sweep(u64::MAX).is_empty(), "it goes on");
        apply(&mut table, &[item(400, call(60))], &START);
        assert_eq!(table.sweep(u64::MAX), [ID]);
    }
}
