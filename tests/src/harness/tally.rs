//! Counts what a collector hands over, as it comes: every number once, every loss by its reason.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use ravn_shared::event::Record;
use ravn_shared::kind::{Reason, Stream};
use ravn_shared::wire::decode_batch;

use super::events::Seen;

/// What arrived so far. Takes the batches out of Redis: only without an analyzer.
#[derive(Debug, Default)]
pub struct Tally {
    /// Numbers that arrived, by stream and CPU.
    seen: BTreeMap<(Stream, u16), Vec<bool>>,
    /// Numbers taken, as last told.
    taken: BTreeMap<(Stream, u16), u64>,
    /// Losses, as last told.
    lost: BTreeMap<(Stream, Reason), u64>,
    /// Numbers that came twice.
    pub repeated: u64,
    /// Records by kind.
    pub kinds: BTreeMap<&'static str, u64>,
    /// The same by the cgroup that they tell of.
    pub kinds_of: BTreeMap<(u64, &'static str), u64>,
    /// Which records are kept whole; None: none.
    pub keep: Option<fn(&Record<'_>) -> bool>,
    /// Those.
    pub kept: Vec<Seen>,
}

impl Tally {
    /// Takes batches until `enough` says so.
    ///
    /// # Errors
    /// At the deadline, with what was counted; when a batch cannot be decoded.
    pub fn take_until(
        &mut self,
        connection: &mut redis::Connection,
        key: &str,
        deadline: Instant,
        enough: impl Fn(&Self) -> bool,
    ) -> Result<()> {
        while !enough(self) {
            if Instant::now() > deadline {
                bail!("not all arrived in time: {self}");
            }
            let popped: Option<(String, Vec<u8>)> =
                redis::cmd("BRPOP").arg(key).arg(1).query(connection)?;
            if let Some((_, bytes)) = popped {
                self.batch(&bytes)?;
            }
        }
        Ok(())
    }

    fn batch(&mut self, bytes: &[u8]) -> Result<()> {
        let batch = decode_batch(bytes).context("decode a batch of the collector's")?;
        for (stream, cpu, taken) in &batch.header.lost.taken {
            let known = self.taken.entry((*stream, *cpu)).or_default();
            *known = (*known).max(*taken);
        }
        for (stream, reason, lost) in &batch.header.lost.reasons {
            let known = self.lost.entry((*stream, *reason)).or_default();
            *known = (*known).max(*lost);
        }
        for record in &batch.records {
            let (stream, n) = (record.event.stream(), usize::try_from(record.n)?);
            if stream == Stream::Sequence {
                continue;
            }
            let kind = ravn_shared::show::kind(&record.event);
            *self.kinds.entry(kind).or_default() += 1;
            let of = (record.task.cgroup_id, kind);
            *self.kinds_of.entry(of).or_default() += 1;
            if self.keep.is_some_and(|keep| keep(record)) {
                self.kept.push(Seen::of(record));
            }
            let seen = self.seen.entry((stream, record.cpu)).or_default();
            if seen.len() <= n {
                seen.resize(n + 1, false);
            }
            self.repeated += u64::from(std::mem::replace(&mut seen[n], true));
        }
        Ok(())
    }

    /// Numbers of a stream that were taken.
    pub fn taken(&self, stream: Stream) -> u64 {
        let of = self.taken.iter().filter(|((of, _), _)| *of == stream);
        of.map(|(_, taken)| taken).sum()
    }

    /// Records of a stream that arrived.
    pub fn delivered(&self, stream: Stream) -> u64 {
        let of = self.seen.iter().filter(|((of, _), _)| *of == stream);
        of.map(|(_, seen)| seen.iter().filter(|seen| **seen).count() as u64)
            .sum()
    }

    /// Numbers of a stream that were counted as lost.
    pub fn lost(&self, stream: Stream) -> u64 {
        let of = self
            .lost
            .iter()
            .filter(|((of, reason), _)| *of == stream && reason.numbered());
        of.map(|(_, lost)| lost).sum()
    }

    /// Whether every number of a stream that was taken has arrived or was counted as lost.
    pub fn balances(&self, stream: Stream) -> bool {
        self.delivered(stream) + self.lost(stream) == self.taken(stream)
    }

    /// Losses of a stream for one reason.
    pub fn lost_by(&self, stream: Stream, reason: Reason) -> u64 {
        self.lost.get(&(stream, reason)).copied().unwrap_or(0)
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for stream in Stream::ALL {
            let (taken, delivered) = (self.taken(stream), self.delivered(stream));
            if taken > 0 {
                let lost = self.lost(stream);
                write!(
                    f,
                    "{}: {taken} = {delivered} + {lost} lost; ",
                    stream.name()
                )?;
            }
        }
        write!(f, "{:?}, kinds {:?}", self.lost, self.kinds)
    }
}
