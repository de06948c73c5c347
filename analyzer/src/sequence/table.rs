//! What is known of every thread and process, and its form in a checkpoint.

use foldhash::{HashMap, HashSet};
use ravn_shared::tokens::{Program, Token};
use serde::{Deserialize, Serialize};

use super::chunk::ThreadId;
use super::merge::Cursor;
use super::tokenize::{Prelude, Tokenizer};
use crate::checkpoint::Field;
use crate::model::engine::Stream;
use crate::model::net::HIDDEN;
use crate::model::profile::TokenSet;
use crate::model::score::{Place, ProcessScore, SPANS, ThreadScore};
use crate::verdict::ProcessId;

/// Most threads; beyond, those that ended go first, then those that were silent longest.
pub const MOST_THREADS: usize = 65_536;
/// A thread of which nothing came since it was forked goes after so long: it begins anew should it
/// do something after all. Of one that the sensor leaves out not even its end comes.
const UNHEARD_NS: u64 = 600_000_000_000;
/// Share that goes at once when the table is full, so that it is not searched for each.
const EVICTED: usize = MOST_THREADS / 64;

/// One thread.
#[derive(Clone, Debug)]
pub struct Thread {
    /// Its process.
    pub process: ProcessId,
    /// How its syscalls become tokens.
    pub tokenizer: Tokenizer,
    /// The model's side.
    pub score: ThreadScore,
    /// How far its sequence was judged.
    pub cursor: Option<Cursor>,
    /// It ended then. Kept a little, for what of it comes late or again.
    pub exited_ns: Option<u64>,
    /// Its exit call came then, and nothing since. The record of its end may be lost; or a seccomp
    /// filter turned the call back, and the thread lives.
    pub quit_ns: Option<u64>,
    /// It last did something then, or was forked.
    pub active_ns: u64,
    /// It did something, or did before a restart.
    pub heard: bool,
}

/// One process.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// The model's side.
    pub score: ProcessScore,
    /// Threads in the table.
    pub threads: u32,
    /// Until then it is thinned only where the thread is behind: it ran a program or changed its
    /// credentials.
    pub fresh_until_ns: u64,
}

/// All threads and processes.
#[derive(Default)]
pub struct Table {
    threads: HashMap<ThreadId, Thread>,
    processes: HashMap<ProcessId, Process>,
    changed_threads: HashSet<ThreadId>,
    changed_processes: HashSet<ProcessId>,
    /// Which model the scores are of; another model's are not restored.
    pub model: String,
}

impl Table {
    /// A thread, made by `make` when it is new. Counts as changed.
    pub fn thread(&mut self, id: ThreadId, make: impl FnOnce() -> Thread) -> &mut Thread {
        self.changed_threads.insert(id);
        let processes = &mut self.processes;
        let thread = self.threads.entry(id).or_insert_with(|| {
            let thread = make();
            processes.entry(thread.process).or_default().threads += 1;
            thread
        });
        self.changed_processes.insert(thread.process);
        thread
    }

    /// A thread that is known.
    pub fn known(&self, id: ThreadId) -> Option<&Thread> {
        self.threads.get(&id)
    }

    /// A thread that is known, to change its scores.
    pub fn known_mut(&mut self, id: ThreadId) -> Option<&mut Thread> {
        self.threads.get_mut(&id)
    }

    /// A process with a thread in the table.
    pub fn process(&mut self, id: ProcessId) -> &mut Process {
        self.processes.entry(id).or_default()
    }

    /// Puts a thread in, for one that it replaces.
    pub fn put(&mut self, id: ThreadId, thread: Thread) {
        self.remove(id);
        self.thread(id, || thread);
    }

    fn remove(&mut self, id: ThreadId) {
        let Some(thread) = self.threads.remove(&id) else {
            return;
        };
        self.changed_threads.insert(id);
        if let Some(process) = self.processes.get_mut(&thread.process) {
            process.threads = process.threads.saturating_sub(1);
            if process.threads == 0 {
                self.processes.remove(&thread.process);
                self.changed_processes.insert(thread.process);
            }
        }
    }

    /// Removes threads that ended before `before_ns`, and those that quit or were never heard of
    /// long before that, and more when the table is full. Returns who went.
    pub fn sweep(&mut self, before_ns: u64) -> Vec<ThreadId> {
        let over = |thread: &Thread| {
            let long_before_ns = before_ns.saturating_sub(UNHEARD_NS);
            let unheard = !thread.heard && thread.active_ns < long_before_ns;
            let quit = thread.quit_ns.is_some_and(|quit| quit < long_before_ns);
            unheard || quit || thread.exited_ns.is_some_and(|ended| ended < before_ns)
        };
        let mut gone: Vec<ThreadId> = self
            .threads
            .iter()
            .filter(|(_, thread)| over(thread))
            .map(|(id, _)| *id)
            .collect();
        if self.threads.len() > MOST_THREADS + gone.len() {
            let mut rest: Vec<(bool, u64, ThreadId)> = self
                .threads
                .iter()
                .map(|(id, thread)| (thread.exited_ns.is_none(), thread.active_ns, *id))
                .collect();
            rest.sort_unstable();
            let excess = self.threads.len() - MOST_THREADS + EVICTED;
            gone.extend(rest.into_iter().take(excess).map(|(_, _, id)| id));
        }
        for id in &gone {
            self.remove(*id);
        }
        gone
    }

    /// Forgets what the model felt, not who there is: another model begins.
    pub fn forget_scores(&mut self, start: &Stream) {
        for thread in self.threads.values_mut() {
            thread.score = ThreadScore::unknown(start);
        }
        for process in self.processes.values_mut() {
            process.score = ProcessScore::default();
        }
    }

    /// Forgets everybody, in the checkpoint too.
    pub fn clear(&mut self) {
        self.all_changed();
        self.threads.clear();
        self.processes.clear();
    }

    /// Makes [`Self::changed`] give everything.
    pub fn all_changed(&mut self) {
        self.changed_threads.extend(self.threads.keys());
        self.changed_processes.extend(self.processes.keys());
    }

    /// Fields that changed since the last call.
    pub fn changed(&mut self) -> Vec<Field> {
        let threads = std::mem::take(&mut self.changed_threads);
        let processes = std::mem::take(&mut self.changed_processes);
        let mut fields = Vec::with_capacity(threads.len() + processes.len());
        for id in threads {
            let saved = self.threads.get(&id).map(|thread| self.save_thread(thread));
            fields.push((format!("s:t:{}:{}", id.pid, id.start_ns), saved));
        }
        for id in processes {
            let saved = self
                .processes
                .get(&id)
                .map(|process| self.save_process(process));
            fields.push((format!("s:p:{}:{}", id.tgid, id.start_ns), saved));
        }
        fields
    }

    fn save_thread(&self, thread: &Thread) -> Vec<u8> {
        let Tokenizer {
            last, run, prelude, ..
        } = thread.tokenizer;
        let stream = &thread.score.stream;
        let floats = stream.hidden.iter().chain(&stream.cell);
        encode(&SavedThread {
            model: self.model.clone(),
            process: thread.process,
            cursor: thread.cursor,
            last,
            run,
            program: thread.tokenizer.program.map(|program| program as u8),
            prelude: match prelude {
                Prelude::Off => None,
                Prelude::Expected(held, used) => Some((held, used, 0, false)),
                Prelude::Inside { left, ending } => Some(([0; 4], u8::MAX, left, ending)),
            },
            leak: thread.score.leak,
            cold: thread.score.cold,
            exited_ns: thread.exited_ns,
            quit_ns: thread.quit_ns,
            active_ns: thread.active_ns,
            stream: floats.flat_map(|value| value.to_le_bytes()).collect(),
        })
    }

    fn save_process(&self, process: &Process) -> Vec<u8> {
        let score = &process.score;
        encode(&SavedProcess {
            model: self.model.clone(),
            tokens: score.tokens,
            scored: score.scored,
            peak: score.peak,
            set: score.set.to_bytes(),
            places: score
                .places
                .iter()
                .map(|place| (place.seen, place.expected, place.probability, place.time_ns))
                .collect(),
            reported: score.reported,
            fresh_until_ns: process.fresh_until_ns,
        })
    }

    /// Takes back a field that [`Table::changed`] gave. None: it cannot be used. Of another
    /// model only who there is comes back.
    pub fn restore(&mut self, name: &str, value: &[u8], start: &Stream) -> Option<()> {
        let mut parts = name.split(':').skip(1);
        let kind = parts.next()?;
        let pid: u32 = parts.next()?.parse().ok()?;
        let start_ns: u64 = parts.next()?.parse().ok()?;
        match kind {
            "t" => {
                let saved: SavedThread = rmp_serde::from_slice(value).ok()?;
                let thread = saved.thread(&self.model, start)?;
                let process = thread.process;
                self.put(ThreadId { pid, start_ns }, thread);
                self.changed_threads.remove(&ThreadId { pid, start_ns });
                self.changed_processes.remove(&process);
            }
            "p" => {
                let saved: SavedProcess = rmp_serde::from_slice(value).ok()?;
                let id = ProcessId {
                    tgid: pid,
                    start_ns,
                };
                let process = self.processes.entry(id).or_default();
                process.fresh_until_ns = saved.fresh_until_ns;
                if saved.model == self.model {
                    process.score = saved.score()?;
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Drops processes of which no thread came back, out of the checkpoint too.
    pub fn prune(&mut self) {
        let changed = &mut self.changed_processes;
        self.processes.retain(|id, process| {
            if process.threads == 0 {
                changed.insert(*id);
            }
            process.threads > 0
        });
    }

    /// Threads with the progress of each.
    pub fn threads(&self) -> impl Iterator<Item = (ThreadId, &Thread)> {
        self.threads.iter().map(|(id, thread)| (*id, thread))
    }
}

fn encode(value: &impl Serialize) -> Vec<u8> {
    // Writing plain numbers and bytes to memory does not fail.
    rmp_serde::to_vec(value).unwrap_or_default()
}

#[derive(Serialize, Deserialize)]
struct SavedThread {
    model: String,
    process: ProcessId,
    cursor: Option<Cursor>,
    last: Token,
    run: u32,
    program: Option<u8>,
    prelude: Option<([Token; 4], u8, u16, bool)>,
    leak: f32,
    cold: u8,
    exited_ns: Option<u64>,
    active_ns: u64,
    #[serde(with = "serde_bytes")]
    stream: Vec<u8>,
    #[serde(default)]
    quit_ns: Option<u64>,
}

impl SavedThread {
    fn thread(self, model: &str, start: &Stream) -> Option<Thread> {
        let score = if self.model == model {
            let (floats, rest) = self.stream.as_chunks::<4>();
            if floats.len() != 2 * HIDDEN || !rest.is_empty() || !self.leak.is_finite() {
                return None;
            }
            let mut stream = start.clone();
            let values = stream.hidden.iter_mut().chain(&mut stream.cell);
            for (value, raw) in values.zip(floats) {
                *value = Some(f32::from_le_bytes(*raw)).filter(|value| value.is_finite())?;
            }
            ThreadScore {
                stream,
                leak: self.leak,
                cold: self.cold,
            }
        } else {
            ThreadScore::unknown(start)
        };
        Some(Thread {
            process: self.process,
            tokenizer: Tokenizer {
                last: self.last,
                run: self.run,
                program: self.program.and_then(Program::from_number),
                prelude: match self.prelude {
                    None => Prelude::Off,
                    Some((_, u8::MAX, left, ending)) => Prelude::Inside { left, ending },
                    Some((held, used, ..)) => Prelude::Expected(held, used.min(4)),
                },
            },
            score,
            cursor: self.cursor,
            exited_ns: self.exited_ns,
            quit_ns: self.quit_ns,
            active_ns: self.active_ns,
            heard: self.cursor.is_some(),
        })
    }
}

#[derive(Serialize, Deserialize)]
struct SavedProcess {
    model: String,
    tokens: u64,
    scored: u64,
    peak: f32,
    #[serde(with = "serde_bytes")]
    set: Vec<u8>,
    places: Vec<(Token, Token, f32, u64)>,
    reported: Option<f32>,
    fresh_until_ns: u64,
}

impl SavedProcess {
    fn score(self) -> Option<ProcessScore> {
        let finite = self.peak.is_finite() && self.places.iter().all(|place| place.2.is_finite());
        if !finite || self.places.len() > SPANS {
            return None;
        }
        let place = |(seen, expected, probability, time_ns)| Place {
            seen,
            expected,
            probability,
            time_ns,
        };
        Some(ProcessScore {
            tokens: self.tokens,
            scored: self.scored,
            peak: self.peak,
            set: TokenSet::from_bytes(&self.set)?,
            novelty: 0.0,
            set_grew: true,
            places: self.places.into_iter().map(place).collect(),
            reported: self.reported,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const START: Stream = Stream {
        hidden: [0.0; HIDDEN],
        cell: [0.0; HIDDEN],
    };

    fn thread(heard: bool) -> Thread {
        Thread {
            process: ProcessId {
                tgid: 7,
                start_ns: 100,
            },
            tokenizer: Tokenizer::default(),
            score: ThreadScore::unknown(&START),
            cursor: None,
            exited_ns: None,
            quit_ns: None,
            active_ns: 100,
            heard,
        }
    }

    #[test]
    fn a_thread_that_was_never_heard_of_goes_and_a_silent_one_stays() {
        let mut table = Table::default();
        let id = |pid| ThreadId { pid, start_ns: 100 };
        table.put(id(7), thread(true));
        table.put(id(8), thread(false));
        assert!(table.sweep(UNHEARD_NS).is_empty());
        assert_eq!(table.sweep(UNHEARD_NS + 101), [id(8)]);
        assert!(table.known(id(7)).is_some());
    }

    #[test]
    fn a_process_without_a_thread_leaves_the_checkpoint_too() {
        let mut table = Table::default();
        table.put(
            ThreadId {
                pid: 7,
                start_ns: 100,
            },
            thread(true),
        );
        let fields = table.changed();
        let (name, value) = fields
            .iter()
            .find(|field| field.0.starts_with("s:p:"))
            .unwrap();
        let mut restored = Table::default();
        restored
            .restore(name, value.as_deref().unwrap(), &START)
            .unwrap();
        restored.prune();
        assert_eq!(restored.changed(), [(name.clone(), None)]);
    }
}
