//! Handing on: runs, and the records between their syscalls.

use std::collections::{HashMap, HashSet};

use super::{Act, Chunk, Cursor, DEEPEST, Event, Item, MOST_EVENTS, Merge, RunKey, Waiting};
use crate::sequence::chunk::ThreadId;
use crate::sequence::lane::LaneId;

impl Merge {
    /// Hands on the runs of `thread` up to `last`; of that one only what stands before the
    /// word `stop`, if given, and the records there.
    pub(super) fn hand_on(
        &mut self,
        thread: ThreadId,
        last: RunKey,
        stop: Option<u32>,
        depth: usize,
    ) {
        self.pull_parent(thread, depth);
        while let Some((key, mut waiting)) = self.take_first(thread, last) {
            let stop = stop.filter(|_| key == last);
            self.run(thread, key, &mut waiting, stop);
            if stop.is_some() && waiting.at < waiting.run.calls.len() {
                self.waiting.entry(thread).or_default().insert(key, waiting);
                return;
            }
        }
    }

    fn take_first(&mut self, thread: ThreadId, last: RunKey) -> Option<(RunKey, Waiting)> {
        let runs = self.waiting.get_mut(&thread)?;
        let first = runs.first_entry().filter(|entry| *entry.key() <= last);
        let taken = first.map(|entry| entry.remove_entry());
        if runs.is_empty() {
            self.waiting.remove(&thread);
        }
        taken
    }

    /// A child goes on from its parent's state at the fork, so the parent comes first.
    fn pull_parent(&mut self, child: ThreadId, depth: usize) {
        let Some((lane, first_n, pid, word)) = self.forks.remove(&child) else {
            return;
        };
        let list = self.events.get(&(lane, first_n, pid));
        let fork = list.and_then(|list| {
            list.iter()
                .find(|event| matches!(event.act, Act::Fork(_, id, _) if id == child))
                .copied()
        });
        let Some(fork) = fork else {
            // Handed on already, or a stray.
            self.hand_on_strays_until(child);
            return;
        };
        let parent = self.thread_of(&fork);
        let rank = self.lanes.find(lane).map_or(0, |lane| lane.rank);
        let runs = self.waiting.get(&parent);
        let mut in_chunk = runs
            .into_iter()
            .flatten()
            .filter(|(key, _)| (key.2, key.3) == (rank, first_n));
        let mut found = None;
        for (key, waiting) in &mut in_chunk {
            found = Some(*key);
            if waiting
                .run
                .calls
                .last()
                .is_some_and(|call| call.word >= word)
            {
                break;
            }
        }
        match found {
            Some(key) if depth < DEEPEST => self.hand_on(parent, key, Some(word), depth + 1),
            _ => {}
        }
        // Without a run there, or with one that ends before the fork, it is still to come.
        self.take_events(lane, first_n, parent, Some(word));
    }

    /// Hands on the calls of one run with the records between them.
    fn run(&mut self, thread: ThreadId, key: RunKey, waiting: &mut Waiting, stop: Option<u32>) {
        let (lane, first_n) = (waiting.lane, waiting.first_n);
        let run = (key.0, key.1);
        let restored = self.restored.get(&thread).copied();
        let time = |ticks: u16| {
            waiting
                .opened_ns
                .saturating_add(u64::from(ticks).saturating_mul(waiting.tick_ns))
        };
        while let Some(call) = waiting.run.calls.get(waiting.at) {
            if stop.is_some_and(|stop| call.word >= stop) {
                break;
            }
            self.hand_on_strays_before(thread, time(call.ticks));
            self.take_events(lane, first_n, thread, Some(call.word));
            let cursor = Cursor {
                run,
                load_id: lane.load_id,
                place: (first_n, call.word),
            };
            let repeated = restored.is_some_and(|before| {
                before.load_id == cursor.load_id
                    && (before.run, before.place) >= (cursor.run, cursor.place)
            });
            if !repeated {
                self.out.items.push(Item {
                    thread,
                    process: waiting.run.process,
                    time_ns: time(call.ticks),
                    act: Act::Call(call.call),
                });
                self.out.cursors.insert(thread, cursor);
            }
            waiting.at += 1;
        }
        let next = self
            .waiting
            .get(&thread)
            .and_then(|runs| runs.keys().next());
        let more = next.is_some_and(|next| (next.2, next.3) == (key.2, key.3));
        match stop {
            Some(stop) => self.take_events(lane, first_n, thread, Some(stop)),
            // What stands after the last call belongs to the next run there, if there is one.
            None if more => {}
            None => self.take_events(lane, first_n, thread, None),
        }
    }

    /// Hands on a thread's records in a chunk that stand before `word`; all without one.
    fn take_events(&mut self, lane: LaneId, first_n: u64, thread: ThreadId, word: Option<u32>) {
        let key = (lane, first_n, thread.pid);
        let Some(list) = self.events.get_mut(&key) else {
            return;
        };
        let mut list = std::mem::take(list);
        // The same id may have been another thread's before, in the same chunk.
        let taken: Vec<Event> = list
            .extract_if(.., |event| {
                word.is_none_or(|word| event.place.1 <= word) && self.thread_of(event) == thread
            })
            .collect();
        if list.is_empty() {
            self.events.remove(&key);
        } else {
            self.events.insert(key, list);
        }
        self.event_count -= taken.len();
        for event in taken {
            self.emit(&event);
        }
    }

    fn emit(&mut self, event: &Event) {
        let thread = self.thread_of(event);
        if let Act::Fork(_, child, _) = event.act {
            self.forks.remove(&child);
        }
        self.out.items.push(Item {
            thread,
            process: event.process,
            time_ns: event.time_ns,
            act: event.act,
        });
        let (stream, number) = event.number;
        self.lanes.get(event.lane).judge(stream, number, 1);
        self.out.settled.push(event.batch);
    }

    /// The thread of a record, whose header tells its process' start alone.
    fn thread_of(&self, event: &Event) -> ThreadId {
        let start_ns = event.thread_start_ns.unwrap_or_else(|| {
            let known = self.by_pid.get(&event.pid);
            match known.filter(|(_, process)| *process == event.process) {
                Some((thread, _)) if event.pid != event.process.tgid => thread.start_ns,
                _ => event.process.start_ns,
            }
        });
        ThreadId {
            pid: event.pid,
            start_ns,
        }
    }

    /// Sets aside the records that are due and that no run will take: their chunk holds
    /// nothing of their thread, or it is not there although its time is complete.
    pub(super) fn find_strays(&mut self, complete_ns: u64, done: &[(LaneId, u64, Chunk)]) {
        let done: HashMap<(LaneId, u64), HashSet<u32>> = done
            .iter()
            .map(|(lane, first_n, chunk)| {
                let pids = chunk.keys.iter().map(|(thread, _)| thread.pid);
                ((*lane, *first_n), pids.collect())
            })
            .collect();
        let crowded = self.event_count > MOST_EVENTS;
        let mut strays = Vec::new();
        self.events.retain(|(lane, first_n, pid), list| {
            match done.get(&(*lane, *first_n)) {
                Some(pids) if pids.contains(pid) => {}
                Some(_) => strays.append(list),
                None if self.present.contains(&(*lane, *first_n)) && !crowded => {}
                None => strays
                    .extend(list.extract_if(.., |event| event.time_ns <= complete_ns || crowded)),
            }
            !list.is_empty()
        });
        self.set_aside(strays);
    }

    /// Sets aside what is left of a chunk whose runs were all handed on.
    pub(super) fn strays_of_chunk(&mut self, lane: LaneId, first_n: u64) {
        let range = (lane, first_n, 0)..=(lane, first_n, u32::MAX);
        let keys: Vec<_> = self.events.range(range).map(|(key, _)| *key).collect();
        for key in keys {
            let list = self.events.remove(&key).unwrap_or_default();
            self.set_aside(list);
        }
    }

    fn set_aside(&mut self, mut strays: Vec<Event>) {
        self.event_count -= strays.len();
        strays.sort_by_key(|event| (event.time_ns, event.place, event.number));
        for event in strays {
            let thread = self.thread_of(&event);
            self.strays.entry(thread).or_default().push_back(event);
        }
    }

    fn hand_on_strays_before(&mut self, thread: ThreadId, time_ns: u64) {
        while let Some(list) = self.strays.get_mut(&thread) {
            if list.front().is_none_or(|event| event.time_ns > time_ns) {
                return;
            }
            if let Some(event) = list.pop_front() {
                self.emit(&event);
            }
        }
    }

    /// Hands on the parent's strays up to the fork of `child`.
    fn hand_on_strays_until(&mut self, child: ThreadId) {
        let is_fork = |event: &Event| matches!(event.act, Act::Fork(_, id, _) if id == child);
        let found = self
            .strays
            .iter()
            .find_map(|(parent, list)| Some((*parent, list.iter().position(is_fork)?)));
        let Some((parent, at)) = found else { return };
        let list = self.strays.entry(parent).or_default();
        let events: Vec<Event> = list.drain(..=at).collect();
        for event in events {
            self.emit(&event);
        }
    }

    /// Hands on all strays, by time over all threads.
    pub(super) fn hand_on_strays(&mut self) {
        let mut rest: Vec<Event> = self.strays.drain().flat_map(|(_, list)| list).collect();
        rest.sort_by_key(|event| (event.time_ns, event.place, event.number));
        for event in rest {
            self.emit(&event);
        }
    }
}
