//! One stream of one CPU: which of its numbers came, which are missing.

use std::collections::VecDeque;

use ravn_shared::kind::Stream;
use serde::{Deserialize, Serialize};

use super::ranges::Ranges;

/// How long a number may be missing before it counts as a gap, nanoseconds: batches of
/// another class overtake, and a sequence waits up to 1.5 s.
pub const SETTLE_NS: u64 = 3_000_000_000;
/// Most times that Redis lost something, kept apart; the nearest two are taken together.
const MAX_EXCUSES: usize = 8;
/// End of an excuse that still stands.
const OPEN: u64 = u64::MAX;

/// The numbers of (load, stream, CPU). What is serialised is what a restart needs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Numbers {
    /// Where counting began; 0 unless the ledger came in the middle of a load.
    base: u64,
    /// One past the highest number known to be taken.
    taken: u64,
    /// Syscalls: those that the sequence thread has judged. Records: those observed.
    judged: Ranges,
    /// Of the judged, the ones that broke the judge.
    dead: u64,
    /// Numbers that Redis may have lost, as ranges in rising order that do not overlap: what
    /// is missing in them is its loss.
    #[serde(default)]
    excuses: Vec<(u64, u64)>,
    /// Below it nothing was under way at the last [`Self::mark`], so no loss of Redis begins
    /// there. Checkpoints from before it was saved: all that was told.
    #[serde(default = "all")]
    settled: u64,
    /// Syscalls that arrived; of records nothing is kept here. After a restart, what was
    /// not judged arrives anew out of the in-flight list.
    #[serde(skip)]
    arrived: Ranges,
    /// `taken` as it was known at a time, oldest first.
    #[serde(skip)]
    marks: VecDeque<(u64, u64)>,
    /// What was settled when [`Self::hold`] was called last.
    #[serde(skip)]
    floor: u64,
    /// Of what is saved something changed.
    #[serde(skip)]
    changed: bool,
}

const fn all() -> u64 {
    u64::MAX
}

/// Sums over numbers; each number taken is in exactly one of the last three.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Judged.
    pub judged: u64,
    /// Broke the judge.
    pub dead: u64,
    /// Arrived, but not judged yet.
    pub waiting: u64,
    /// Taken, but not arrived.
    pub missing: u64,
    /// Of `missing`, those that are missing for longer than [`SETTLE_NS`].
    pub settled: u64,
    /// Of `settled`, those that Redis may have lost.
    pub excused: u64,
}

impl Numbers {
    /// Starts at `base`.
    pub fn starting_at(base: u64) -> Self {
        Self {
            base,
            taken: base,
            settled: base,
            ..Self::default()
        }
    }

    /// A counter says that all numbers below `taken` were taken.
    pub fn taken(&mut self, taken: u64) {
        let more = taken > self.taken;
        self.taken = self.taken.max(taken);
        self.changed |= more;
    }

    /// What is saved must be written anew.
    pub fn touch(&mut self) {
        self.changed = true;
    }

    /// Whether what is saved changed since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// A record arrived and is judged at once; false if it had come before.
    pub fn record(&mut self, n: u64) -> bool {
        self.saw(n, 1);
        self.touch();
        self.judged.insert(n, 1) > 0
    }

    /// That record broke the judge.
    pub fn broke(&mut self) {
        self.dead = self.dead.saturating_add(1);
        self.touch();
    }

    /// Syscalls arrived.
    pub fn arrived(&mut self, first: u64, count: u64) {
        self.saw(first, count);
        self.touch();
        self.arrived.insert(first, count);
    }

    /// Syscalls were judged; how many of them had not been.
    pub fn judged(&mut self, first: u64, count: u64) -> u64 {
        self.saw(first, count);
        self.touch();
        self.arrived.insert(first, count);
        self.judged.insert(first, count)
    }

    fn saw(&mut self, first: u64, count: u64) {
        // A class that was held back may bring numbers from before the beginning.
        self.base = self.base.min(first);
        self.taken(first.saturating_add(count));
    }

    /// Remembers what is taken now; what was taken [`SETTLE_NS`] ago is settled.
    pub fn mark(&mut self, now_ns: u64) {
        if self.marks.back().is_some_and(|last| last.0 == now_ns) {
            self.marks.pop_back();
        }
        self.marks.push_back((now_ns, self.taken));
        while self
            .marks
            .get(1)
            .is_some_and(|mark| mark.0.saturating_add(SETTLE_NS) <= now_ns)
        {
            self.marks.pop_front();
        }
        let settled = self.settled(now_ns);
        self.changed |= settled > self.settled;
        self.settled = self.settled.max(settled);
    }

    /// Nothing settles until [`SETTLE_NS`] after the next [`Self::mark`].
    pub fn hold(&mut self) {
        if let Some(last) = self.marks.back() {
            self.floor = self.settled(last.0);
            self.marks.clear();
        }
    }

    /// Redis lost what it held: what was not settled yet may have been in it, and what is taken
    /// until [`Self::excuse_ends`].
    pub fn excuse(&mut self) {
        if self.is_excused() {
            return;
        }
        self.touch();
        // What the one before may have lost is lost already.
        let before = self.excuses.last().map_or(self.base, |last| last.1);
        self.excuses.push((self.settled.max(before), OPEN));
        if self.excuses.len() > MAX_EXCUSES {
            // A gap between the two is excused then, so as few numbers as can be.
            let between = |at: &usize| self.excuses[at + 1].0 - self.excuses[*at].1;
            if let Some(at) = (0..MAX_EXCUSES).min_by_key(between) {
                let next = self.excuses.remove(at + 1);
                self.excuses[at].1 = next.1;
            }
        }
    }

    /// Whether an excuse still stands.
    pub fn is_excused(&self) -> bool {
        self.excuses.last().is_some_and(|last| last.1 == OPEN)
    }

    /// What is taken from now on cannot have been lost then.
    pub fn excuse_ends(&mut self) {
        if let Some(last) = self.excuses.last_mut()
            && last.1 == OPEN
        {
            last.1 = self.taken.max(last.0);
            self.touch();
        }
    }

    /// What was known to be taken [`SETTLE_NS`] ago.
    fn settled(&self, now_ns: u64) -> u64 {
        self.marks
            .iter()
            .rev()
            .find(|mark| mark.0.saturating_add(SETTLE_NS) <= now_ns)
            .map_or(self.floor, |mark| mark.1)
            .max(self.base)
    }

    /// Everything so far, summed up.
    pub fn tally(&self, stream: Stream, now_ns: u64) -> Tally {
        let here = if stream == Stream::Sequence {
            &self.arrived
        } else {
            &self.judged
        };
        let settled = self.settled(now_ns);
        let missing_below = |end: u64| (end - self.base).saturating_sub(here.count_below(end));
        let excused = self.excuses.iter().map(|(from, to)| {
            let (from, to) = (*from.max(&self.base), *to.min(&settled));
            if from < to {
                missing_below(to).saturating_sub(missing_below(from))
            } else {
                0
            }
        });
        Tally {
            judged: self.judged.count().saturating_sub(self.dead),
            dead: self.dead,
            waiting: here.count().saturating_sub(self.judged.count()),
            missing: (self.taken - self.base).saturating_sub(here.count()),
            settled: missing_below(settled),
            excused: excused.sum(),
        }
    }

    /// Call after reading it back: what was judged has arrived. False if it is damaged.
    pub fn restored(&mut self) -> bool {
        self.arrived = self.judged.clone();
        self.settled = self.settled.min(self.taken);
        // Older versions let them overlap.
        let mut end = 0;
        for (from, to) in &mut self.excuses {
            *from = end.max(*from);
            *to = (*to).max(*from);
            end = *to;
        }
        self.base <= self.taken
            && self.judged.is_sound()
            && self.judged.end() <= self.taken
            && self.judged.first().is_none_or(|first| self.base <= first)
    }
}
