//! A chunk taken apart into the runs of its threads.

use foldhash::{HashMap, HashMapExt};
use ravn_shared::words::{Syscall, Word, Words};

use crate::verdict::ProcessId;

/// A thread of this boot. Its process is `Run::process`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadId {
    /// Thread id, initial pid namespace.
    pub pid: u32,
    /// `start_boottime` of the thread, nanoseconds.
    pub start_ns: u64,
}

/// One syscall with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Index of its word in the chunk.
    pub word: u32,
    /// Jiffies since the chunk was opened.
    pub ticks: u16,
    /// The syscall.
    pub call: Syscall,
}

/// The syscalls of one thread in one chunk between two migrations and two execs: they
/// follow one another without anything of that thread's on another CPU in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Whose they are.
    pub thread: ThreadId,
    /// The thread's process.
    pub process: ProcessId,
    /// Execs that the thread had survived.
    pub exec_id: u32,
    /// Times that it had been moved.
    pub migrations: u32,
    /// In order.
    pub calls: Vec<Call>,
}

/// Takes a chunk's words apart. Runs are in order of their first word; the flag says that
/// the words could not be read to their end, which only damaged or forged ones cannot.
pub fn runs(words: &[u8]) -> (Vec<Run>, bool) {
    let mut runs: Vec<Run> = Vec::new();
    let mut index: HashMap<(ThreadId, u32, u32), usize> = HashMap::new();
    let mut slots = [None; 64];
    let mut current = None;
    let mut ticks = 0;
    for step in Words::new(words) {
        let Ok((word, step)) = step else {
            return (with_calls(runs), true);
        };
        match step {
            Word::Switch(slot) => current = slots[usize::from(slot & 63)],
            Word::Define(slot, thread) => {
                let id = ThreadId {
                    pid: thread.pid,
                    start_ns: thread.start_ns,
                };
                let key = (id, thread.exec_id, thread.migrations);
                let at = *index.entry(key).or_insert_with(|| {
                    runs.push(Run {
                        thread: id,
                        process: ProcessId {
                            tgid: thread.tgid,
                            start_ns: thread.process_start_ns,
                        },
                        exec_id: thread.exec_id,
                        migrations: thread.migrations,
                        calls: Vec::new(),
                    });
                    runs.len() - 1
                });
                slots[usize::from(slot & 63)] = Some(at);
                current = Some(at);
            }
            Word::Time(now) => ticks = now,
            // A syscall before any definition belongs to nobody: a forged chunk.
            Word::Syscall(call) => {
                if let Some(run) = current.and_then(|at: usize| runs.get_mut(at)) {
                    run.calls.push(Call { word, ticks, call });
                }
            }
        }
    }
    (with_calls(runs), false)
}

fn with_calls(mut runs: Vec<Run>) -> Vec<Run> {
    runs.retain(|run| !run.calls.is_empty());
    runs
}
