//! All that a collector pushed over several runs: taken off `events:raw` batch by batch, so that
//! the list never fills, and given back for an analyzer to judge.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use ravn_shared::event::Event;
use ravn_shared::kind::Stream;
use ravn_shared::show;
use ravn_shared::wire::decode_batch;

use super::Sandbox;

/// A stream of one CPU in one load; the collector's own in one run.
type Lane = (u64, u8, u16);

/// Batches in the order in which they were pushed, and what was in them.
#[derive(Debug, Default)]
pub struct Haul {
    batches: Vec<Vec<u8>>,
    numbers: BTreeMap<Lane, BTreeSet<u64>>,
    taken: BTreeMap<Lane, u64>,
    acts: BTreeMap<(String, u32), u64>,
    records: u64,
    repeats: u64,
}

impl Haul {
    /// Takes what is in the list now.
    ///
    /// # Errors
    /// When Redis does not answer, or a batch cannot be decoded.
    pub fn take(&mut self, sandbox: &Sandbox) -> Result<()> {
        let raw = sandbox.keys().raw();
        let (mut batches, _): (Vec<Vec<u8>>, u64) = redis::pipe()
            .atomic()
            .lrange(&raw, 0, -1)
            .del(&raw)
            .query(&mut sandbox.redis.admin()?)?;
        batches.reverse();
        for bytes in batches {
            self.add(&bytes)?;
            self.batches.push(bytes);
        }
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        let batch = decode_batch(bytes).context("decode a batch of the collector's")?;
        let load = batch.header.lost.load_id;
        let lane = |stream: Stream, cpu: u16| match stream {
            Stream::Collector => (batch.header.run_id, stream as u8, cpu),
            _ => (load, stream as u8, cpu),
        };
        for (stream, cpu, taken) in &batch.header.lost.taken {
            let known = self.taken.entry(lane(*stream, *cpu)).or_default();
            *known = (*known).max(*taken);
        }
        for record in &batch.records {
            if matches!(record.event, Event::Chunk(_)) {
                continue;
            }
            let lane = lane(record.event.stream(), record.cpu);
            if self.numbers.entry(lane).or_default().insert(record.n) {
                self.records += 1;
            } else {
                self.repeats += 1;
            }
            let kind = show::kind(&record.event).to_owned();
            self.acts.insert((kind, record.task.tgid), load);
        }
        Ok(())
    }

    /// Puts the batches back, the oldest first.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub fn give_back(&self, sandbox: &Sandbox) -> Result<()> {
        let mut connection = sandbox.redis.admin()?;
        for some in self.batches.chunks(64) {
            redis::cmd("LPUSH")
                .arg(sandbox.keys().raw())
                .arg(some)
                .exec(&mut connection)?;
        }
        Ok(())
    }

    /// Records that came, chunks apart.
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Records that came again.
    pub const fn repeats(&self) -> u64 {
        self.repeats
    }

    /// Numbers that were taken and did not come, chunks apart.
    pub fn missing(&self) -> u64 {
        let lanes: BTreeSet<&Lane> = self.numbers.keys().chain(self.taken.keys()).collect();
        lanes
            .into_iter()
            .filter(|lane| lane.1 != Stream::Sequence as u8)
            .map(|lane| {
                let came = self.numbers.get(lane);
                let last = came.and_then(BTreeSet::last).map_or(0, |last| last + 1);
                let taken = self.taken.get(lane).copied().unwrap_or_default().max(last);
                taken - came.map_or(0, |came| came.len() as u64)
            })
            .sum()
    }

    /// Whether a record of that kind and process came.
    pub fn has(&self, kind: &str, tgid: u32) -> bool {
        self.load_of(kind, tgid).is_some()
    }

    /// The load that made the last record of that kind and process.
    pub fn load_of(&self, kind: &str, tgid: u32) -> Option<u64> {
        self.acts.get(&(kind.to_owned(), tgid)).copied()
    }

    /// The loads that made records.
    pub fn loads(&self) -> BTreeSet<u64> {
        let own = Stream::Collector as u8;
        let kernel = self.numbers.keys().filter(|lane| lane.1 != own);
        kernel.map(|lane| lane.0).collect()
    }
}
