//! Handing on: runs, and the records between their syscalls.

use std::collections::VecDeque;

use super::{Act, Cursor, DEEPEST, Event, Item, MOST_EVENTS, Merge, RunKey, Waiting};
use crate::sequence::chunk::ThreadId;
use crate::sequence::lane::LaneId;

/// Where handing on a run stops.
#[derive(Clone, Copy)]
enum Stop<'a> {
    /// At its end.
    End,
    /// Before this word.
    Word(u32),
    /// Before a record of the thread that stands in no run of it.
    Stray(&'a Event),
}

impl Waiting {
    /// When a call was made, to the tick.
    fn time_ns(&self, ticks: u16) -> u64 {
        self.opened_ns
            .saturating_add(u64::from(ticks).saturating_mul(self.tick_ns))
    }

    /// Whether a stray stands before the call at `ticks`. Of the same CPU the place tells, of
    /// another the time; within a tick's doubt the syscall goes first, as it surely does
    /// before its thread's exit.
    fn follows(&self, stray: &Event, ticks: u16) -> bool {
        if stray.lane == self.lane {
            return stray.place.0 < self.first_n;
        }
        stray.time_ns < self.time_ns(ticks).saturating_sub(self.tick_ns)
    }
}

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
        while let Some((key, waiting)) = self.take_first(thread, last) {
            let stop = stop.filter(|_| key == last).map_or(Stop::End, Stop::Word);
            if !self.run(thread, key, waiting, stop) {
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
            self.hand_on_strays_until(child, depth);
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
        self.take_events(lane, first_n, parent, word);
    }

    /// Hands on the calls of one run with the records between them. False: it stopped inside
    /// and waits again.
    fn run(&mut self, thread: ThreadId, key: RunKey, mut waiting: Waiting, stop: Stop<'_>) -> bool {
        let (lane, first_n) = (waiting.lane, waiting.first_n);
        let run = (key.0, key.1);
        let restored = self.restored.get(&thread).copied();
        let mut reached = None;
        while let Some(call) = waiting.run.calls.get(waiting.at) {
            let stopped = match stop {
                Stop::End => false,
                Stop::Word(word) => call.word >= word,
                Stop::Stray(stray) => waiting.follows(stray, call.ticks),
            };
            if stopped {
                break;
            }
            self.hand_on_strays_before(thread, &waiting, call.ticks);
            self.take_events(lane, first_n, thread, call.word);
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
                    time_ns: waiting.time_ns(call.ticks),
                    act: Act::Call(call.call),
                });
                reached = Some(cursor);
            }
            waiting.at += 1;
        }
        if let Some(cursor) = reached {
            self.out.cursors.insert(thread, cursor);
        }
        if let Stop::Word(word) = stop {
            self.take_events(lane, first_n, thread, word);
        }
        if waiting.at < waiting.run.calls.len() {
            self.waiting.entry(thread).or_default().insert(key, waiting);
            return false;
        }
        let mut rest = self.waiting.get(&thread).into_iter().flatten();
        // What stands after the last call belongs to the next run there, if there is one. If
        // not, the thread may have been elsewhere in between: the time decides.
        if !rest.any(|(other, _)| (other.2, other.3) == (key.2, key.3)) {
            let complete_ns = self.complete_ns;
            let left =
                self.pick_events(lane, first_n, thread, |event| event.time_ns <= complete_ns);
            self.set_aside(left);
        }
        true
    }

    /// Hands on a thread's records in a chunk that stand before `word`. Asked for at every call,
    /// so it looks at those records alone.
    fn take_events(&mut self, lane: LaneId, first_n: u64, thread: ThreadId, word: u32) {
        let key = (lane, first_n, thread.pid);
        let Some(list) = self.events.get_mut(&key) else {
            return;
        };
        let due = list.partition_point(|event| event.place.1 <= word);
        if due == 0 {
            return;
        }
        let due: Vec<Event> = list.drain(..due).collect();
        // The same id may have been another thread's before, in the same chunk.
        let (own, others): (Vec<Event>, Vec<Event>) = due
            .into_iter()
            .partition(|event| self.thread_of(event) == thread);
        if let Some(list) = self.events.get_mut(&key) {
            for event in others.into_iter().rev() {
                list.push_front(event);
            }
            if list.is_empty() {
                self.events.remove(&key);
            }
        }
        for event in own {
            self.event_count -= 1;
            self.emit(&event);
        }
    }

    fn pick_events(
        &mut self,
        lane: LaneId,
        first_n: u64,
        thread: ThreadId,
        due: impl Fn(&Event) -> bool,
    ) -> Vec<Event> {
        let key = (lane, first_n, thread.pid);
        let Some(mut list) = self.events.remove(&key) else {
            return Vec::new();
        };
        let mut picked = Vec::new();
        list.retain(|event| {
            let picks = due(event) && self.thread_of(event) == thread;
            picked.extend(picks.then_some(*event));
            !picks
        });
        if !list.is_empty() {
            self.events.insert(key, list);
        }
        picked
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

    /// Sets aside the records whose time is complete and that no run of their thread in their
    /// chunk is there for, any more or at all: the time decides where they stand.
    pub(super) fn find_strays(&mut self) {
        let crowded = self.event_count > MOST_EVENTS;
        let due = |event: &Event| event.time_ns <= self.complete_ns || crowded;
        let mut events = std::mem::take(&mut self.events);
        let mut strays = Vec::new();
        events.retain(|_, list| {
            list.retain(|event| {
                let stray = due(event) && (crowded || !self.has_run(self.thread_of(event), event));
                strays.extend(stray.then_some(*event));
                !stray
            });
            !list.is_empty()
        });
        self.events = events;
        self.set_aside(strays);
    }

    /// Whether a run of `thread` waits in the chunk in which `event` stands.
    fn has_run(&self, thread: ThreadId, event: &Event) -> bool {
        let mut runs = self.waiting.get(&thread).into_iter().flatten();
        runs.any(|(_, run)| (run.lane, run.first_n) == (event.lane, event.place.0))
    }

    /// Sets aside what is left of a chunk whose runs were all handed on.
    pub(super) fn strays_of_chunk(&mut self, lane: LaneId, first_n: u64) {
        let range = (lane, first_n, 0)..=(lane, first_n, u32::MAX);
        let keys: Vec<_> = self.events.range(range).map(|(key, _)| *key).collect();
        for key in keys {
            let list = self.events.remove(&key).unwrap_or_default();
            self.set_aside(list.into());
        }
    }

    fn set_aside(&mut self, strays: Vec<Event>) {
        self.event_count -= strays.len();
        let when = |event: &Event| (event.time_ns, event.place, event.number);
        for event in strays {
            let thread = self.thread_of(&event);
            let list = self.strays.entry(thread).or_default();
            let at = list.partition_point(|other| when(other) <= when(&event));
            list.insert(at, event);
        }
    }

    /// Hands on the strays that stand before a call.
    fn hand_on_strays_before(&mut self, thread: ThreadId, waiting: &Waiting, ticks: u16) {
        while let Some(list) = self.strays.get_mut(&thread) {
            let Some(event) = list.pop_front_if(|event| waiting.follows(event, ticks)) else {
                return;
            };
            self.emit(&event);
        }
    }

    /// Hands on the parent's strays up to the fork of `child`.
    fn hand_on_strays_until(&mut self, child: ThreadId, depth: usize) {
        let is_fork = |event: &Event| matches!(event.act, Act::Fork(_, id, _) if id == child);
        let found = self
            .strays
            .iter()
            .find_map(|(parent, list)| Some((*parent, list.iter().position(is_fork)?)));
        let Some((parent, at)) = found else { return };
        let list = self.strays.entry(parent).or_default();
        let events: Vec<Event> = list.drain(..=at).collect();
        for event in events {
            self.stray(&event, depth + 1);
        }
    }

    /// Hands on all strays, by time over all threads; then those that were set aside meanwhile,
    /// behind the last call of a run that a stray took with it.
    pub(super) fn hand_on_strays(&mut self) {
        while !self.strays.is_empty() {
            let mut order: Vec<(u64, ThreadId)> = self
                .strays
                .iter()
                .flat_map(|(thread, list)| list.iter().map(|event| (event.time_ns, *thread)))
                .collect();
            order.sort_unstable();
            // One may be handed on with another: then fewer are left than were listed.
            for (_, thread) in order {
                let event = self.strays.get_mut(&thread).and_then(VecDeque::pop_front);
                if let Some(event) = event {
                    self.stray(&event, 0);
                }
            }
            self.strays.retain(|_, list| !list.is_empty());
        }
    }

    /// Hands on a stray, after the calls of its thread that stand before it.
    fn stray(&mut self, event: &Event, depth: usize) {
        let thread = self.thread_of(event);
        if depth < DEEPEST {
            self.pull_parent(thread, depth);
            while let Some((key, waiting)) = self.take_first(thread, LAST) {
                if !self.run(thread, key, waiting, Stop::Stray(event)) {
                    break;
                }
            }
        }
        self.emit(event);
    }
}

/// After every run.
const LAST: RunKey = (u32::MAX, u32::MAX, u32::MAX, u64::MAX, u32::MAX);
