//! Every 250 ms: idle CPUs' chunks flushed, counters read, losses told.

use std::collections::BTreeMap;

use anyhow::Result;
use ravn_shared::kind::{Reason, Stream};
use ravn_shared::wire::Lost;

use crate::batch::Counts;
use crate::outbox::Losses;
use crate::programs::{Counters, Programs};

/// How often, nanoseconds.
pub const EVERY_NS: u64 = 250_000_000;

/// What the last sweep saw.
#[derive(Debug, Default)]
pub struct Sweep {
    last: Counters,
    told: Lost,
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
    pub fn changes(
        &mut self,
        load_id: u64,
        collector: &Losses,
        malformed: &Counts,
    ) -> Option<Lost> {
        let lost = self.lost(load_id, collector, malformed);
        (lost != self.told).then(|| {
            self.told = lost.clone();
            lost
        })
    }

    /// All that was lost so far: in the kernel and here.
    pub fn total_lost(&self) -> u64 {
        self.told.reasons.iter().map(|(_, _, count)| count).sum()
    }

    /// Losses by `stream.reason`.
    pub fn lost_by(&self) -> BTreeMap<String, u64> {
        self.told
            .reasons
            .iter()
            .map(|(stream, reason, count)| (format!("{}.{}", stream.name(), reason.name()), *count))
            .collect()
    }

    fn lost(&self, load_id: u64, collector: &Losses, malformed: &Counts) -> Lost {
        let mut reasons = self.last.reasons.clone();
        for (at, count) in collector {
            *reasons.entry(*at).or_default() += count;
        }
        for (stream, count) in malformed.iter() {
            reasons.insert((stream, Reason::Malformed), count);
        }
        Lost {
            load_id,
            taken: self.last.taken.clone(),
            reasons: reasons
                .into_iter()
                .map(|((stream, reason), count)| (stream, reason, count))
                .collect(),
        }
    }
}
