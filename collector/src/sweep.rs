//! Every 250 ms: idle CPUs' chunks flushed, counters read, losses told.

use std::collections::BTreeMap;

use anyhow::Result;
use ravn_shared::kind::{Reason, Stream};
use ravn_shared::wire::Lost;

use crate::batch::Counts;
use crate::programs::{Counters, Programs};

/// How often, nanoseconds.
pub const EVERY_NS: u64 = 250_000_000;

/// Counts by stream and reason.
pub type Reasons = BTreeMap<(Stream, Reason), u64>;

/// What the collector itself counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own<'a> {
    /// What it lost of this load.
    pub lost: Option<&'a Reasons>,
    /// Samples of this load that were no record.
    pub malformed: Counts,
    /// Records of its own stream.
    pub said: u64,
}

/// What the last sweep saw of the active load.
#[derive(Debug, Default)]
pub struct Sweep {
    last: Counters,
    told: Lost,
    /// Losses of the loads before.
    past: Reasons,
}

impl Sweep {
    /// Flushes the chunk of each CPU on which nothing was appended since the last sweep:
    /// a busy one flushes by itself within a second.
    ///
    /// # Errors
    /// When the counters cannot be read. A CPU that cannot be reached is left.
    pub fn flush_idle(&mut self, programs: &Programs) -> Result<()> {
        let counters = programs.counters()?;
        let sequence = |counters: &Counters, cpu: u32| {
            counters
                .taken
                .iter()
                .find(|(stream, at, _)| *stream == Stream::Sequence && u32::from(*at) == cpu)
                .map(|taken| taken.2)
        };
        for (cpu, _) in &counters.waiting {
            if sequence(&counters, *cpu) == sequence(&self.last, *cpu)
                && let Err(error) = programs.flush(*cpu)
            {
                tracing::debug!("cannot flush CPU {cpu}: {error:#}; is it offline?");
            }
        }
        self.last = counters;
        Ok(())
    }

    /// The counters as batches tell them, if they changed since they were last told.
    pub fn changes(&mut self, load_id: u64, own: Own<'_>) -> Option<Lost> {
        let lost = lost(load_id, &self.last, own);
        (lost != self.told).then(|| {
            self.told = lost.clone();
            lost
        })
    }

    /// Another load is the active one; this is what the one before lost.
    pub fn turn(&mut self, lost: Lost) {
        for (stream, reason, count) in lost.reasons {
            // The collector's own count goes on.
            if stream != Stream::Collector {
                *self.past.entry((stream, reason)).or_default() += count;
            }
        }
        self.told = Lost::default();
        self.last = Counters::default();
    }

    /// All that was lost so far: in the kernel and here.
    pub fn total_lost(&self) -> u64 {
        self.all().values().sum()
    }

    /// Losses by `stream.reason`.
    pub fn lost_by(&self) -> BTreeMap<String, u64> {
        self.all()
            .into_iter()
            .map(|((stream, reason), count)| {
                (format!("{}.{}", stream.name(), reason.name()), count)
            })
            .collect()
    }

    fn all(&self) -> Reasons {
        let mut all = self.past.clone();
        for (stream, reason, count) in &self.told.reasons {
            *all.entry((*stream, *reason)).or_default() += count;
        }
        all
    }
}

/// Counters of a load as batches tell them.
pub fn lost(load_id: u64, counters: &Counters, own: Own<'_>) -> Lost {
    let mut reasons = counters.reasons.clone();
    for (at, count) in own.lost.into_iter().flatten() {
        *reasons.entry(*at).or_default() += count;
    }
    for (stream, count) in own.malformed.iter() {
        reasons.insert((stream, Reason::Malformed), count);
    }
    let mut taken = counters.taken.clone();
    if own.said > 0 {
        taken.push((Stream::Collector, 0, own.said));
    }
    Lost {
        load_id,
        taken,
        reasons: reasons
            .into_iter()
            .map(|((stream, reason), count)| (stream, reason, count))
            .collect(),
    }
}
