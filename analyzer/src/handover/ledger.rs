//! The ledger: every number that was taken is judged, lost by a reason, under way, dead, or
//! unexplained. Pure; what changed goes into the checkpoint as `l:` fields.

use std::collections::{BTreeMap, BTreeSet};

use ravn_shared::kind::{Reason, Stream};
use ravn_shared::wire::Header;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::account::{Account, Side};
use super::numbers::Numbers;
use super::window::Window;
use crate::checkpoint::{CheckpointError, Field};

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
    /// Batches that could not be read, and those that were not this host's.
    dead_batches: u64,
    /// There was no checkpoint: numbers from before are not ours to account for.
    fresh: bool,
    ticks: u64,
    streams: usize,
    changed: BTreeSet<Part>,
    gone: Vec<String>,
    window: Window,
}

#[derive(Debug, Default)]
struct Load {
    streams: BTreeMap<(Stream, u16), Numbers>,
    counts: BTreeMap<Counter, Count>,
    /// The ledger began in its middle.
    midway: bool,
    /// Tick of its first news, and of its last.
    born: u64,
    touched: u64,
}

/// Kernel counters live as long as the load, the collector's as long as its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Counter(u64, Stream, Reason);

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Count {
    base: u64,
    now: u64,
}

/// A field of the checkpoint that has to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Numbers(u64, Stream, u16),
    Counts(u64),
    Past,
}

#[derive(Serialize, Deserialize)]
struct Counts(bool, Vec<(Counter, Count)>);

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
        let lost = &header.lost;
        let midway = self.fresh && header.batch_no != 0;
        self.load(lost.load_id, midway);
        for (stream, cpu, taken) in &lost.taken {
            let id = load_of(header, *stream);
            self.load(id, midway);
            // In the middle of a load a counter alone does not say where counting began.
            let known = self.loads.get(&id).is_some_and(|load| {
                !load.midway || load.streams.contains_key(&(*stream, *cpu))
            });
            if known
                && let Some(numbers) = self.numbers(id, *stream, *cpu, 0)
                && numbers.taken(*taken)
            {
                self.changed.insert(Part::Numbers(id, *stream, *cpu));
            }
        }
        for (stream, reason, count) in &lost.reasons {
            let id = load_of(header, *stream);
            let run = if of_the_kernel(*reason) { 0 } else { header.run_id };
            self.count(id, Counter(run, *stream, *reason), *count, midway);
        }
    }

    fn count(&mut self, id: u64, counter: Counter, count: u64, midway: bool) {
        let load = self.load(id, midway);
        // What was lost before the ledger came is not its to account for; the collector
        // sends its counters at least once a second.
        let before = load.midway && load.touched <= load.born + 1;
        let base = if before { count } else { 0 };
        let known = load.counts.entry(counter).or_insert(Count { base, now: base });
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
            self.changed.insert(Part::Numbers(id, stream, cpu));
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
            self.changed.insert(Part::Numbers(id, Stream::Sequence, cpu));
        }
    }

    /// The sequence thread is done with these syscalls.
    pub fn judged(&mut self, id: u64, cpu: u16, first: u64, count: u32) {
        if let Some(numbers) = self.numbers(id, Stream::Sequence, cpu, first) {
            numbers.judged(first, u64::from(count));
            self.changed.insert(Part::Numbers(id, Stream::Sequence, cpu));
        }
    }

    /// A batch went to `events:dead` whole; its records show as a gap.
    pub fn dead_batch(&mut self) {
        self.dead_batches += 1;
        self.changed.insert(Part::Past);
    }

    /// Batches that went to `events:dead` so far.
    pub fn dead_batches(&self) -> u64 {
        self.dead_batches
    }

    /// A second has passed.
    pub fn tick(&mut self, now_ns: u64) {
        self.ticks += 1;
        for numbers in self.loads.values_mut().flat_map(|load| load.streams.values_mut()) {
            numbers.mark(now_ns);
        }
        let snapshot = self.snapshot(now_ns);
        self.window.push(snapshot);
    }

    /// What was lost in the last 60 s.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// The whole balance.
    pub fn account(&self, now_ns: u64) -> Account {
        let mut account = self.past.clone();
        for load in self.loads.values() {
            let of_load = load.account(now_ns);
            account.records.add(&of_load.records);
            account.syscalls.add(&of_load.syscalls);
        }
        account
    }

    fn load(&mut self, id: u64, midway: bool) -> &mut Load {
        if !self.loads.contains_key(&id) && self.loads.len() >= MAX_LOADS {
            self.sum_up();
        }
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
        load
    }

    fn numbers(&mut self, id: u64, stream: Stream, cpu: u16, first: u64) -> Option<&mut Numbers> {
        let full = self.streams >= MAX_STREAMS;
        let load = self.load(id, false);
        let (midway, known) = (load.midway, load.streams.contains_key(&(stream, cpu)));
        if !known {
            if full {
                return None;
            }
            self.streams += 1;
        }
        let base = if midway { first } else { 0 };
        let load = self.loads.get_mut(&id)?;
        Some(
            load.streams
                .entry((stream, cpu))
                .or_insert_with(|| Numbers::starting_at(base)),
        )
    }

    /// Adds the load that was longest silent to the past.
    fn sum_up(&mut self) {
        let Some(id) = self
            .loads
            .iter()
            .min_by_key(|(_, load)| load.touched)
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

    /// Fields that changed since the last call.
    pub fn changed(&mut self) -> Vec<Field> {
        let gone = std::mem::take(&mut self.gone).into_iter().map(|name| (name, None));
        let mut fields: Vec<Field> = gone.collect();
        for part in std::mem::take(&mut self.changed) {
            let field = match part {
                Part::Numbers(id, stream, cpu) => self
                    .loads
                    .get(&id)
                    .and_then(|load| load.streams.get(&(stream, cpu)))
                    .map(|numbers| (numbers_field(id, stream, cpu), packed(numbers))),
                Part::Counts(id) => self.loads.get(&id).map(|load| {
                    let all = load.counts.iter().map(|(counter, count)| (*counter, *count));
                    (counts_field(id), packed(&Counts(load.midway, all.collect())))
                }),
                Part::Past => Some(("l:past".to_owned(), packed(&(&self.past, self.dead_batches)))),
            };
            fields.extend(field.map(|(name, value)| (name, Some(value))));
        }
        fields
    }

    /// Makes [`Ledger::changed`] give everything: Redis lost what it had.
    pub fn all_changed(&mut self) {
        self.changed.insert(Part::Past);
        for (id, load) in &self.loads {
            self.changed.insert(Part::Counts(*id));
            let streams = load.streams.keys();
            self.changed
                .extend(streams.map(|(stream, cpu)| Part::Numbers(*id, *stream, *cpu)));
        }
    }

    /// Takes a field of the checkpoint back.
    ///
    /// # Errors
    /// A field that this version did not write; nothing of it is used then.
    pub fn restore(&mut self, field: &str, value: &[u8]) -> Result<(), CheckpointError> {
        self.fresh = false;
        let damaged = |cause: &str| CheckpointError {
            field: ravn_shared::text::escape(field.as_bytes()),
            cause: cause.to_owned(),
        };
        let parts: Vec<&str> = field.split(':').collect();
        match parts.as_slice() {
            ["l", "past"] => {
                let (past, dead) = unpacked(value).ok_or_else(|| damaged("not the past's sums"))?;
                (self.past, self.dead_batches) = (past, dead);
            }
            ["l", "c", id] => {
                let id = hex(id).ok_or_else(|| damaged("no load in its name"))?;
                let Counts(midway, counts) =
                    unpacked(value).ok_or_else(|| damaged("not a load's counts"))?;
                let load = self.load(id, false);
                load.midway = midway;
                load.counts.extend(counts);
            }
            ["l", "n", id, stream, cpu] => {
                let name = (|| {
                    let stream = Stream::try_from(stream.parse::<u8>().ok()?).ok()?;
                    Some((hex(id)?, stream, cpu.parse::<u16>().ok()?))
                })();
                let (id, stream, cpu) = name.ok_or_else(|| damaged("no stream in its name"))?;
                let mut numbers: Numbers =
                    unpacked(value).ok_or_else(|| damaged("not a stream's numbers"))?;
                if !numbers.restored() {
                    return Err(damaged("numbers that contradict each other"));
                }
                *self
                    .numbers(id, stream, cpu, 0)
                    .ok_or_else(|| damaged("more streams than any host has"))? = numbers;
            }
            _ => return Err(damaged("no field of this version's ledger")),
        }
        Ok(())
    }
}

impl Load {
    fn account(&self, now_ns: u64) -> Account {
        let mut account = Account::default();
        for stream in Stream::ALL {
            let side = match stream {
                Stream::Sequence => &mut account.syscalls,
                _ => &mut account.records,
            };
            side.add(&self.side(stream, now_ns));
        }
        account
    }

    /// The balance of one stream over all CPUs: counts by reason do not name a CPU.
    fn side(&self, stream: Stream, now_ns: u64) -> Side {
        let mut side = Side::default();
        let (mut missing, mut settled) = (0, 0);
        for cpu in self.streams.range((stream, 0)..=(stream, u16::MAX)) {
            let tally = cpu.1.tally(stream, now_ns);
            side.judged += tally.judged;
            side.dead += tally.dead;
            side.in_flight += tally.waiting;
            missing += tally.missing;
            settled += tally.settled;
        }
        let mut numbered = 0;
        for (Counter(_, of, reason), count) in &self.counts {
            let lost = count.now - count.base.min(count.now);
            if *of == stream && lost > 0 {
                let name = format!("{}.{}", stage(*reason), reason.name());
                *side.lost.entry(name).or_default() += lost;
                numbered += if reason.numbered() { lost } else { 0 };
            }
        }
        // A count may be ahead of the gap that it explains: they are not read in one moment.
        side.unexplained = settled.saturating_sub(numbered);
        side.queued = missing.saturating_sub(numbered + side.unexplained);
        side.produced = side.judged
            + side.lost.values().sum::<u64>()
            + side.queued
            + side.in_flight
            + side.dead
            + side.unexplained;
        side
    }
}

impl Ledger {
    /// Cumulative sums for the window of 60 s.
    fn snapshot(&self, now_ns: u64) -> super::window::Snapshot {
        let mut snapshot = super::window::Snapshot::default();
        for load in self.loads.values() {
            for stream in Stream::ALL {
                let side = load.side(stream, now_ns);
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

/// The collector numbers its own stream anew in each run.
fn load_of(header: &Header<'_>, stream: Stream) -> u64 {
    if stream == Stream::Collector {
        header.run_id
    } else {
        header.lost.load_id
    }
}

/// Who counts a reason: `bpf/`, the collector, or the analyzer.
const fn stage(reason: Reason) -> &'static str {
    match reason {
        Reason::Undecodable => "analyzer",
        _ if of_the_kernel(reason) => "kernel",
        _ => "collector",
    }
}

const fn of_the_kernel(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::RingFull | Reason::ScratchFull | Reason::Recursion | Reason::Budget
    )
}

fn numbers_field(id: u64, stream: Stream, cpu: u16) -> String {
    format!("l:n:{id:x}:{}:{cpu}", stream as u8)
}

fn counts_field(id: u64) -> String {
    format!("l:c:{id:x}")
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// Writing numbers and maps into a `Vec` cannot fail; an empty value would be refused, and
/// counted, when it is read.
fn packed<T: Serialize>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec(value).unwrap_or_default()
}

fn unpacked<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    rmp_serde::from_slice(value).ok()
}
