//! The ledger: every number that was taken is judged, lost by a reason, under way, dead, or
//! unexplained. Pure; what changed goes into the checkpoint as `l:` fields.

mod account;
mod excuse;
#[cfg(test)]
mod excuse_tests;
mod load;
mod numbers;
mod ranges;
mod saved;
#[cfg(test)]
mod tests;
mod window;

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

use ravn_shared::kind::{Reason, Stream};
use ravn_shared::wire::{Header, MAX_BATCH_BYTES, MAX_RECORDS};

pub use account::{Account, Side};
use excuse::Excuse;
use load::{Count, Counter, Load, of_the_kernel, stage};
use numbers::Numbers;
use saved::{counts_field, numbers_field};
use window::Snapshot;
pub use window::Window;

/// Most loads that are kept apart; the one that was longest silent is summed up first. A
/// collector's run is a load too (of its own stream).
const MAX_LOADS: usize = 16;
/// Most streams in all: six of 1024 CPUs in two loads, and room.
const MAX_STREAMS: usize = 16_384;

/// What `record` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It comes for the first time.
    New,
    /// It came before.
    Repeat,
    /// There are more streams than any host has.
    NoRoom,
}

/// Accounts for everything that was produced on one host.
#[derive(Debug, Default)]
pub struct Ledger {
    loads: BTreeMap<u64, Load>,
    /// Sums of loads that are not kept apart any more.
    past: Account,
    /// Batches that could not be read.
    undecodable: u64,
    /// Batches that were not this host's.
    refused: u64,
    /// Records of kinds that this version does not know.
    unknown_kinds: u64,
    /// There was no checkpoint: numbers from before are not ours to account for.
    fresh: bool,
    ticks: u64,
    /// Times that a load was spoken of.
    news: u64,
    excuse: Option<Excuse>,
    /// Redis is away: nothing can come, so nothing settles.
    away: bool,
    /// More was in Redis than could be taken, at some time since the last tick.
    held: bool,
    /// When the last tick was.
    ticked_ns: Option<u64>,
    /// Time in which nothing could settle.
    stood_ns: u64,
    streams: usize,
    changed: BTreeSet<Part>,
    gone: Vec<String>,
    window: Window,
}

/// A field of the checkpoint that has to be written, beside those of [`Numbers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Counts(u64),
    Past,
    Window,
}

impl Ledger {
    /// An empty ledger, on a host that has no checkpoint.
    pub fn fresh() -> Self {
        Self {
            fresh: true,
            window: Window::from_nothing(),
            ..Self::default()
        }
    }

    /// The counters of a batch. Call before its records.
    pub fn header(&mut self, header: &Header<'_>) {
        self.heard();
        let lost = &header.lost;
        let midway = self.fresh && header.batch_no != 0;
        self.load(lost.load_id, midway);
        for (stream, cpu, taken) in &lost.taken {
            let id = load_of(header, *stream);
            self.load(id, midway);
            // In the middle of a load a counter alone does not say where counting began.
            let known = self
                .loads
                .get(&id)
                .is_some_and(|load| !load.midway || load.streams.contains_key(&(*stream, *cpu)));
            if known && let Some(numbers) = self.numbers(id, *stream, *cpu, 0) {
                numbers.taken(*taken);
            }
        }
        for (stream, reason, count) in &lost.reasons {
            let id = load_of(header, *stream);
            let run = if of_the_kernel(*reason) {
                0
            } else {
                header.run_id
            };
            self.count(id, Counter(run, *stream, *reason), *count, midway);
        }
    }

    fn count(&mut self, id: u64, counter: Counter, count: u64, midway: bool) {
        let load = self.load(id, midway);
        // What was lost before the ledger came is not its to account for; the collector
        // sends its counters at least once a second.
        let before = load.midway && load.touched <= load.born + 1;
        let base = if before { count } else { 0 };
        let known = load
            .counts
            .entry(counter)
            .or_insert(Count { base, now: base });
        if count > known.now {
            known.now = count;
            self.changed.insert(Part::Counts(id));
        }
    }

    /// A record that is no chunk arrived.
    pub fn record(&mut self, header: &Header<'_>, stream: Stream, cpu: u16, n: u64) -> Sight {
        let id = load_of(header, stream);
        let Some(numbers) = self.numbers(id, stream, cpu, n) else {
            return Sight::NoRoom;
        };
        if numbers.record(n) {
            Sight::New
        } else {
            Sight::Repeat
        }
    }

    /// That record broke the judge.
    pub fn broke(&mut self, header: &Header<'_>, stream: Stream, cpu: u16, n: u64) {
        if let Some(numbers) = self.numbers(load_of(header, stream), stream, cpu, n) {
            numbers.broke();
        }
    }

    /// A chunk of `count` syscalls arrived.
    pub fn chunk(&mut self, header: &Header<'_>, cpu: u16, first: u64, count: u32) {
        let id = header.lost.load_id;
        if let Some(numbers) = self.numbers(id, Stream::Sequence, cpu, first) {
            numbers.arrived(first, u64::from(count));
        }
    }

    /// Nobody has to look at these syscalls any more; how many of them are newly judged.
    pub fn judged(&mut self, id: u64, cpu: u16, first: u64, count: u32) -> u64 {
        let Some(numbers) = self.numbers(id, Stream::Sequence, cpu, first) else {
            return 0;
        };
        numbers.judged(first, u64::from(count))
    }

    /// A batch went to `events:dead` whole: nobody could read it. What it held is a gap.
    pub fn undecodable(&mut self) {
        self.undecodable += 1;
        self.changed.insert(Part::Past);
    }

    /// A batch went to `events:dead` whole: it is not this host's, and no part of its balance.
    pub fn refused(&mut self) {
        self.refused += 1;
        self.changed.insert(Part::Past);
    }

    /// A record is of a kind that this version does not know: it has its place in the balance,
    /// and nobody judges what it says.
    pub fn unknown_kind(&mut self) {
        self.unknown_kinds += 1;
        self.changed.insert(Part::Past);
    }

    /// Records of unknown kinds so far.
    pub fn unknown_kinds(&self) -> u64 {
        self.unknown_kinds
    }

    /// Batches that went to `events:dead` so far.
    pub fn dead_batches(&self) -> u64 {
        self.undecodable + self.refused
    }

    /// A second has passed.
    pub fn tick(&mut self, now_ns: u64) {
        self.ticks += 1;
        self.settle(now_ns);
        let snapshot = self.snapshot(now_ns);
        let had_losses = self.window.has_losses();
        self.window.push(snapshot);
        // Without losses there is nothing in it that a restart must not forget.
        if had_losses || self.window.has_losses() {
            self.changed.insert(Part::Window);
        }
    }

    /// What was lost in the last 60 s.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// The whole balance.
    pub fn account(&self, now_ns: u64) -> Account {
        let mut account = self.past.clone();
        let time_ns = self.time(now_ns);
        for load in self.loads.values() {
            let of_load = load.account(time_ns);
            account.records.add(&of_load.records);
            account.syscalls.add(&of_load.syscalls);
        }
        // A batch that nobody could read explains as much as a batch can hold.
        let records = self.undecodable.saturating_mul(MAX_RECORDS as u64);
        account.records.explain(&undecodable(), records);
        let syscalls = self.undecodable.saturating_mul(MAX_BATCH_BYTES as u64 / 2);
        account.syscalls.explain(&undecodable(), syscalls);
        account
    }

    fn load(&mut self, id: u64, midway: bool) -> &mut Load {
        if !self.loads.contains_key(&id) && self.loads.len() >= MAX_LOADS {
            self.sum_up();
        }
        self.news += 1;
        let touched = self.ticks;
        let load = self.loads.entry(id).or_insert_with(|| {
            self.changed.insert(Part::Counts(id));
            Load {
                midway,
                born: touched,
                ..Load::default()
            }
        });
        load.touched = touched;
        load.last = self.news;
        load
    }

    fn numbers(&mut self, id: u64, stream: Stream, cpu: u16, first: u64) -> Option<&mut Numbers> {
        self.load(id, false);
        let load = self.loads.get_mut(&id)?;
        match load.streams.entry((stream, cpu)) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(_) if self.streams >= MAX_STREAMS => None,
            Entry::Vacant(new) => {
                self.streams += 1;
                let base = if load.midway { first } else { 0 };
                let mut numbers = Numbers::starting_at(base);
                if self.excuse.is_some() {
                    numbers.excuse();
                }
                Some(new.insert(numbers))
            }
        }
    }

    /// Adds the load that was longest silent to the past.
    fn sum_up(&mut self) {
        let Some(id) = self
            .loads
            .iter()
            .min_by_key(|(_, load)| load.last)
            .map(|(id, _)| *id)
        else {
            return;
        };
        if let Some(load) = self.loads.remove(&id) {
            let mut sums = load.account(u64::MAX);
            sums.records.close();
            sums.syscalls.close();
            self.past.records.add(&sums.records);
            self.past.syscalls.add(&sums.syscalls);
            self.streams -= load.streams.len();
            self.gone.push(counts_field(id));
            self.gone.extend(
                load.streams
                    .keys()
                    .map(|(stream, cpu)| numbers_field(id, *stream, *cpu)),
            );
            self.changed.insert(Part::Past);
        }
    }

    /// Cumulative sums for the window of 60 s.
    fn snapshot(&self, now_ns: u64) -> Snapshot {
        let mut snapshot = Snapshot::default();
        let time_ns = self.time(now_ns);
        for load in self.loads.values() {
            for stream in Stream::ALL {
                let side = load.side(stream, time_ns);
                let budget = format!("{}.{}", stage(Reason::Budget), Reason::Budget.name());
                let lost: u64 = side
                    .lost
                    .iter()
                    .filter(|(reason, _)| **reason != budget)
                    .map(|(_, count)| count)
                    .sum();
                snapshot.add(stream, lost + side.unexplained, side.produced);
            }
        }
        snapshot
    }
}

fn undecodable() -> String {
    format!(
        "{}.{}",
        stage(Reason::Undecodable),
        Reason::Undecodable.name()
    )
}

/// The collector numbers its own stream anew in each run.
fn load_of(header: &Header<'_>, stream: Stream) -> u64 {
    if stream == Stream::Collector {
        header.run_id
    } else {
        header.lost.load_id
    }
}
