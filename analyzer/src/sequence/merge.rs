//! From chunks per CPU to one sequence per thread.
//!
//! A thread's runs are ordered by (execs, migrations, CPU's number, word): exact, without a
//! clock. The clock only says when nothing earlier can come any more, and so when a run may
//! be handed on. A record stands in its CPU's sequence by place, so it enters its thread's
//! exactly there. A thread goes on from where its parent forked it: the fork's place in the
//! parent is always handed on before the child's first syscall.

use std::collections::{BTreeMap, VecDeque};

use foldhash::{HashMap, HashSet};
use ravn_shared::kind::Stream;
use ravn_shared::tokens::{Program, Token};
use ravn_shared::words::Syscall;
use serde::{Deserialize, Serialize};

use super::chunk::{Run, ThreadId};
use super::lane::{LaneId, Lanes};
use crate::verdict::ProcessId;

/// A step of one thread, in its order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Item {
    /// Whose.
    pub thread: ThreadId,
    /// The thread's process.
    pub process: ProcessId,
    /// When, CLOCK_BOOTTIME, to the tick.
    pub time_ns: u64,
    /// What.
    pub act: Act,
}

/// What a thread did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// A syscall.
    Call(Syscall),
    /// A record with a token of its own.
    Event(Token),
    /// A program was started.
    Exec(ExecAct),
    /// A thread was forked off; it starts from the state as it is here.
    Fork(Token, ThreadId, ProcessId),
    /// The thread ended; true: and its process.
    Exit(Token, bool),
}

/// An exec, as far as tokens go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExecAct {
    /// Its tokens and how many of them are used.
    pub tokens: ([Token; 5], usize),
    /// Class of the program.
    pub program: Program,
    /// Hash of the image's path.
    pub path_hash: u64,
    /// The process is the leader of its session.
    pub leads_session: bool,
}

/// A record that is to become an item.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The CPU that numbered it.
    pub lane: LaneId,
    /// Its stream and number.
    pub number: (Stream, u64),
    /// Chunk and word before which it stands.
    pub place: (u64, u32),
    /// When.
    pub time_ns: u64,
    /// Thread id, initial pid namespace.
    pub pid: u32,
    /// Process.
    pub process: ProcessId,
    /// Start of the thread where the record tells it.
    pub thread_start_ns: Option<u64>,
    /// What it becomes.
    pub act: Act,
    /// The batch that brought it.
    pub batch: u64,
}

/// A chunk as it arrives.
#[derive(Debug)]
pub struct Arrival {
    /// The CPU.
    pub lane: LaneId,
    /// First number.
    pub first_n: u64,
    /// Syscalls in it.
    pub count: u32,
    /// When it was opened.
    pub opened_ns: u64,
    /// When it was closed, to the tick.
    pub closed_ns: u64,
    /// Nanoseconds a jiffy.
    pub tick_ns: u64,
    /// Its runs.
    pub runs: Vec<Run>,
    /// Bytes of its words.
    pub bytes: usize,
    /// The batch that brought it.
    pub batch: u64,
}

/// Place of a run among all of its thread: execs, migrations, lane's rank, chunk, word.
type RunKey = (u32, u32, u32, u64, u32);

/// How far a thread's sequence was handed on, for a replay after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Execs and migrations of the run.
    pub run: (u32, u32),
    /// The load of the chunk.
    pub load_id: u64,
    /// The chunk and the word.
    pub place: (u64, u32),
}

struct Waiting {
    lane: LaneId,
    first_n: u64,
    opened_ns: u64,
    tick_ns: u64,
    run: Run,
    at: usize,
}

struct Chunk {
    count: u32,
    bytes: usize,
    batch: u64,
    keys: Vec<(ThreadId, RunKey)>,
}

/// What handing on changed.
#[derive(Debug, Default)]
pub struct Released {
    /// In order: each thread's in its own, a fork before its child's first.
    pub items: Vec<Item>,
    /// Chunks now wholly handed on: (load, CPU, first number, count).
    pub judged: Vec<(u64, u16, u64, u32)>,
    /// How far threads have come.
    pub cursors: HashMap<ThreadId, Cursor>,
    /// Batches of which nothing waits any more, once for each of their chunks and records.
    pub settled: Vec<u64>,
}

/// Most bytes of words that wait. Beyond, the oldest chunks are handed on early.
const MOST_BYTES: usize = 32 * 1024 * 1024;
/// Most records that wait.
const MOST_EVENTS: usize = 65_536;
/// Longest chain of forks that is followed for a child's sake.
const DEEPEST: usize = 64;

/// Holds what arrived until its turn.
#[derive(Default)]
pub struct Merge {
    /// CPUs and their progress.
    pub lanes: Lanes,
    now_ns: u64,
    bytes: usize,
    /// Chunks by the time at which they closed.
    chunks: BTreeMap<(u64, LaneId, u64), Chunk>,
    /// Those present, by place.
    present: HashSet<(LaneId, u64)>,
    waiting: HashMap<ThreadId, BTreeMap<RunKey, Waiting>>,
    /// Records by chunk and thread id, in order of their word, time and number.
    events: BTreeMap<(LaneId, u64, u32), VecDeque<Event>>,
    event_count: usize,
    /// While handing on: records whose thread made no syscall in their chunk, by time.
    strays: HashMap<ThreadId, VecDeque<Event>>,
    /// Where the fork of a thread waits that has not been handed on.
    forks: HashMap<ThreadId, (LaneId, u64, u32, u32)>,
    /// Newest thread of a thread id, with its process.
    by_pid: HashMap<u32, (ThreadId, ProcessId)>,
    restored: HashMap<ThreadId, Cursor>,
    /// While handing on: everything before this time is here.
    complete_ns: u64,
    out: Released,
}

impl Merge {
    /// Stream time: the latest time that any record told, or a later one of the clock.
    pub fn advance(&mut self, now_ns: u64) {
        if self.now_ns == 0 {
            self.lanes.begin(now_ns);
        }
        self.now_ns = self.now_ns.max(now_ns);
    }

    /// Stream time.
    pub const fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Whether anything waits.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty() && self.event_count == 0
    }

    /// How far a thread had come before a restart: what it repeats is dropped.
    pub fn restore(&mut self, thread: ThreadId, process: ProcessId, cursor: Option<Cursor>) {
        if let Some(cursor) = cursor {
            self.restored.insert(thread, cursor);
        }
        self.note(thread, process);
    }

    /// Gives up all that waits.
    pub fn clear(&mut self) {
        let fresh = Self {
            lanes: std::mem::take(&mut self.lanes),
            now_ns: self.now_ns,
            ..Self::default()
        };
        *self = fresh;
    }

    /// Another boot: its clock begins anew, and nothing of the one before goes on.
    pub fn begin_anew(&mut self) {
        let mut lanes = std::mem::take(&mut self.lanes);
        lanes.forget_all();
        *self = Self {
            lanes,
            ..Self::default()
        };
    }

    /// A thread is gone for good.
    pub fn forget(&mut self, thread: ThreadId) {
        self.restored.remove(&thread);
        if self
            .by_pid
            .get(&thread.pid)
            .is_some_and(|(id, _)| *id == thread)
        {
            self.by_pid.remove(&thread.pid);
        }
    }

    /// `taken` numbers of a CPU's sequence stream were taken when the sender wrote this. When
    /// all of them have arrived, the CPU is complete up to now.
    pub fn taken(&mut self, lane: LaneId, taken: u64) {
        let now_ns = self.now_ns;
        let lane = self.lanes.get(lane);
        lane.heard_ns = now_ns;
        // A batch may be overtaken by one that was sent later: the highest count holds.
        lane.taken = lane.taken.max(taken);
        if lane.taken <= lane.next_n {
            lane.complete_ns = lane.complete_ns.max(now_ns);
        }
    }

    /// Takes a chunk in. False: it was judged before. The second value: it came after its
    /// time had been handed on.
    pub fn chunk(&mut self, arrival: Arrival) -> (bool, bool) {
        let Arrival {
            lane: id, first_n, ..
        } = arrival;
        let count = u64::from(arrival.count);
        let tick_ns = arrival.tick_ns;
        let now_ns = self.now_ns;
        let lane = self.lanes.get(id);
        lane.heard_ns = now_ns;
        if lane.was_judged(Stream::Sequence, first_n, count)
            || self.present.contains(&(id, first_n))
        {
            return (false, false);
        }
        let late = first_n < lane.next_n;
        lane.next_n = lane.next_n.max(first_n.saturating_add(count));
        // Jiffies are floored at both ends: a tick less is surely complete, a tick more
        // surely holds every syscall.
        let closed_ns = arrival.closed_ns;
        lane.complete_ns = lane.complete_ns.max(closed_ns.saturating_sub(tick_ns));
        let rank = lane.rank;
        let closed_ns = closed_ns.saturating_add(tick_ns);
        let late = late || closed_ns < self.lanes.complete_ns(now_ns).saturating_sub(2 * tick_ns);
        let mut keys = Vec::with_capacity(arrival.runs.len());
        for run in arrival.runs {
            let thread = run.thread;
            self.note(thread, run.process);
            let word = run.calls.first().map_or(0, |call| call.word);
            let key = (run.exec_id, run.migrations, rank, first_n, word);
            keys.push((thread, key));
            self.waiting.entry(thread).or_default().insert(
                key,
                Waiting {
                    lane: id,
                    first_n,
                    opened_ns: arrival.opened_ns,
                    tick_ns,
                    run,
                    at: 0,
                },
            );
        }
        self.present.insert((id, first_n));
        self.bytes += arrival.bytes;
        let chunk = Chunk {
            count: arrival.count,
            bytes: arrival.bytes,
            batch: arrival.batch,
            keys,
        };
        self.chunks.insert((closed_ns, id, first_n), chunk);
        (true, late)
    }

    /// Takes a record in. False: it was judged before.
    pub fn event(&mut self, event: Event) -> bool {
        let (stream, number) = event.number;
        if self.lanes.get(event.lane).was_judged(stream, number, 1) {
            return false;
        }
        if let Act::Fork(_, child, process) = event.act {
            self.note(child, process);
            let (first_n, word) = event.place;
            self.forks
                .insert(child, (event.lane, first_n, event.pid, word));
        }
        let (first_n, word) = event.place;
        let list = self
            .events
            .entry((event.lane, first_n, event.pid))
            .or_default();
        let at = list.partition_point(|other| {
            (other.place.1, other.time_ns, other.number) <= (word, event.time_ns, event.number)
        });
        if list
            .get(at.wrapping_sub(1))
            .is_some_and(|other| other.number == event.number)
        {
            return false;
        }
        list.insert(at, event);
        self.event_count += 1;
        true
    }

    fn note(&mut self, thread: ThreadId, process: ProcessId) {
        let newest = self.by_pid.entry(thread.pid).or_insert((thread, process));
        if newest.0.start_ns <= thread.start_ns {
            *newest = (thread, process);
        }
    }

    /// Hands on everything whose time is complete.
    pub fn release(&mut self) -> Released {
        let complete_ns = self.lanes.complete_ns(self.now_ns);
        self.release_until(complete_ns)
    }

    /// Hands on everything: a recording's end.
    pub fn finish(&mut self) -> Released {
        self.release_until(u64::MAX)
    }

    fn release_until(&mut self, complete_ns: u64) -> Released {
        self.complete_ns = complete_ns;
        // Whatever is handed on in this call is handed on thread by thread, older threads
        // first: parents are older than their children.
        let mut last: BTreeMap<(u64, ThreadId), RunKey> = BTreeMap::new();
        let mut done = Vec::new();
        while let Some(entry) = self.chunks.first_entry() {
            if entry.key().0 > complete_ns && self.bytes <= MOST_BYTES {
                break;
            }
            let ((_, lane, first_n), chunk) = entry.remove_entry();
            self.bytes = self.bytes.saturating_sub(chunk.bytes);
            for (thread, key) in &chunk.keys {
                let most = last.entry((thread.start_ns, *thread)).or_insert(*key);
                *most = (*most).max(*key);
            }
            done.push((lane, first_n, chunk));
        }
        self.find_strays();
        for ((_, thread), key) in last {
            self.hand_on(thread, key, None, 0);
        }
        for (lane, first_n, _) in &done {
            self.strays_of_chunk(*lane, *first_n);
        }
        self.hand_on_strays();
        for (lane, first_n, chunk) in done {
            let count = chunk.count;
            self.present.remove(&(lane, first_n));
            self.lanes
                .get(lane)
                .judge(Stream::Sequence, first_n, u64::from(count));
            self.out
                .judged
                .push((lane.load_id, lane.cpu, first_n, count));
            self.out.settled.push(chunk.batch);
        }
        std::mem::take(&mut self.out)
    }
}

mod hand;
#[cfg(test)]
pub(crate) mod simulate;

#[cfg(test)]
mod tests;
