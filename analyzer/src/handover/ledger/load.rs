//! One load of the programs: its streams, its counts, its balance.

use std::collections::BTreeMap;

use ravn_shared::kind::{Reason, Stream};
use serde::{Deserialize, Serialize};

use super::account::{Account, Side};
use super::numbers::Numbers;

/// One load of the BPF programs, or one run of the collector.
#[derive(Debug, Default)]
pub struct Load {
    pub(super) streams: BTreeMap<(Stream, u16), Numbers>,
    pub(super) counts: BTreeMap<Counter, Count>,
    /// The ledger began in its middle.
    pub(super) midway: bool,
    /// Tick of its first news, and of its last.
    pub(super) born: u64,
    pub(super) touched: u64,
    /// Its last news, counted among those of all loads: many come within a tick.
    pub(super) last: u64,
}

/// What was in Redis when it lost its data: counted by the analyzer, which alone misses it.
pub const REDIS_LOST: &str = "redis.data_lost";

/// Kernel counters live as long as the load, the collector's as long as its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Counter(pub u64, pub Stream, pub Reason);

/// A counter's value, and what it was when the ledger began.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Count {
    /// At the beginning.
    pub base: u64,
    /// Now.
    pub now: u64,
}

impl Load {
    /// Records and syscalls of this load.
    pub fn account(&self, now_ns: u64) -> Account {
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
    pub fn side(&self, stream: Stream, now_ns: u64) -> Side {
        let mut side = Side::default();
        let (mut missing, mut settled, mut excused) = (0, 0, 0);
        for cpu in self.streams.range((stream, 0)..=(stream, u16::MAX)) {
            let tally = cpu.1.tally(stream, now_ns);
            side.judged += tally.judged;
            side.dead += tally.dead;
            side.in_flight += tally.waiting;
            missing += tally.missing;
            settled += tally.settled;
            excused += tally.excused;
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
        side.explain(REDIS_LOST, excused);
        side.produced = side.judged
            + side.lost.values().sum::<u64>()
            + side.queued
            + side.in_flight
            + side.dead
            + side.unexplained;
        side
    }
}

/// Who counts a reason: `bpf/`, the collector, or the analyzer.
pub const fn stage(reason: Reason) -> &'static str {
    match reason {
        Reason::Undecodable => "analyzer",
        _ if of_the_kernel(reason) => "kernel",
        _ => "collector",
    }
}

/// Whether the kernel counts it; its counters live as long as the load.
pub const fn of_the_kernel(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::RingFull | Reason::ScratchFull | Reason::Recursion | Reason::Budget
    )
}
