//! From batches to the merge, the same live and from a recording.

use std::collections::BTreeMap;

use ravn_shared::event::{self, Record};
use ravn_shared::kind::Stream;
use ravn_shared::tokens::{self, Program};
use ravn_shared::wire::{Batch, Header, WireError, decode_batch};

use super::chunk::{self, ThreadId};
use super::lane::LaneId;
use super::merge::{Act, Arrival, Event, ExecAct, Merge, Released};
use crate::horizon::Horizon;
use crate::model::rng;
use crate::verdict::ProcessId;

/// Jiffies a second where a batch does not say.
const USUAL_HZ: u32 = 250;

/// (load, CPU, first number, count) of a chunk.
pub type Numbers = (u64, u16, u64, u32);

/// A batch of which something waits.
#[derive(Debug, Default)]
struct Open {
    left: usize,
    chunks: Vec<Numbers>,
}

/// Takes batches in and hands on what is complete.
#[derive(Default)]
pub struct Intake {
    /// Holds what waits.
    pub merge: Merge,
    /// Chunks that came after their time was handed on.
    pub late: u64,
    /// Chunks whose words could not be read to their end.
    pub malformed: u64,
    open: BTreeMap<u64, Open>,
    last: u64,
}

impl Intake {
    /// Takes in a batch; `id` grows from batch to batch. Its records tell of no time behind the
    /// horizon.
    ///
    /// # Errors
    /// The bytes are no batch; nothing of it is used, and it counts as done.
    pub fn batch(&mut self, id: u64, bytes: &[u8], horizon: Horizon) -> Result<(), WireError> {
        self.last = self.last.max(id);
        let batch = decode_batch(bytes)?;
        let Batch {
            header,
            mut records,
        } = batch;
        for record in &mut records {
            record.time_ns = horizon.bound(record.time_ns);
        }
        let newest = records.iter().map(|record| record.time_ns).max();
        self.merge.advance(newest.unwrap_or(0));
        let mut open = Open::default();
        for record in &records {
            self.record((id, horizon), &header, record, &mut open);
        }
        for (stream, cpu, taken) in &header.lost.taken {
            if *stream == Stream::Sequence {
                let lane = LaneId {
                    load_id: header.lost.load_id,
                    cpu: *cpu,
                };
                self.merge.taken(lane, *taken);
            }
        }
        if open.left > 0 {
            self.open.insert(id, open);
        }
        Ok(())
    }

    fn record(
        &mut self,
        (id, horizon): (u64, Horizon),
        header: &Header<'_>,
        record: &Record<'_>,
        open: &mut Open,
    ) {
        let lane = LaneId {
            load_id: header.lost.load_id,
            cpu: record.cpu,
        };
        if let event::Event::Chunk(chunk) = &record.event {
            let (runs, broken) = chunk::runs(chunk.words);
            self.malformed += u64::from(broken);
            let hz = match header.source.1 {
                0 => USUAL_HZ,
                hz => hz.min(100_000),
            };
            let tick_ns = 1_000_000_000 / u64::from(hz);
            let span_ns = u64::from(chunk.ticks).saturating_mul(tick_ns);
            let (new, late) = self.merge.chunk(Arrival {
                lane,
                first_n: record.n,
                count: chunk.count,
                opened_ns: record.time_ns,
                closed_ns: horizon.bound(record.time_ns.saturating_add(span_ns)),
                tick_ns,
                runs,
                bytes: chunk.words.len(),
                batch: id,
            });
            self.late += u64::from(late);
            if new {
                open.left += 1;
                open.chunks
                    .push((lane.load_id, lane.cpu, record.n, chunk.count));
            }
        } else if let Some(event) = event_of(id, lane, record) {
            open.left += usize::from(self.merge.event(event));
        }
    }

    /// Hands on what is complete; everything, at the end of a recording.
    pub fn release(&mut self, finish: bool) -> Released {
        let released = if finish {
            self.merge.finish()
        } else {
            self.merge.release()
        };
        for id in &released.settled {
            if let Some(open) = self.open.get_mut(id) {
                open.left = open.left.saturating_sub(1);
                if open.left == 0 {
                    self.open.remove(id);
                }
            }
        }
        released
    }

    /// Of every batch up to this one nothing waits.
    pub fn done_upto(&self) -> u64 {
        self.open
            .first_key_value()
            .map_or(self.last, |(id, _)| id.saturating_sub(1))
    }

    /// Gives up all that waits; returns the numbers of its chunks, which nobody will judge.
    pub fn give_up(&mut self) -> Vec<Numbers> {
        let open = std::mem::take(&mut self.open);
        open.into_values().flat_map(|open| open.chunks).collect()
    }
}

/// The merge's view of a record other than a chunk; None for kinds without a token.
fn event_of(batch: u64, lane: LaneId, record: &Record<'_>) -> Option<Event> {
    let task = &record.task;
    let process = ProcessId {
        tgid: task.tgid,
        start_ns: task.start_ns,
    };
    let token = tokens::of_event(record);
    let act = match &record.event {
        event::Event::Exec(exec) => Act::Exec(ExecAct {
            tokens: tokens::of_exec(exec, task),
            program: Program::of(exec.path),
            path_hash: rng::hash(exec.path),
            leads_session: exec.session == task.tgid,
        }),
        event::Event::Fork(fork) => {
            let child = ThreadId {
                pid: fork.child_pid,
                start_ns: fork.child_start_ns,
            };
            let of = if fork.thread {
                process
            } else {
                ProcessId {
                    tgid: fork.child_tgid,
                    start_ns: fork.child_start_ns,
                }
            };
            Act::Fork(token?, child, of)
        }
        event::Event::Exit(exit) => Act::Exit(token?, exit.process),
        _ => Act::Event(token?),
    };
    let thread_start_ns = match &record.event {
        event::Event::Exit(exit) => Some(exit.thread_start_ns),
        _ => None,
    };
    Some(Event {
        lane,
        number: (record.event.stream(), record.n),
        place: (record.place.first_n, record.place.word),
        time_ns: record.time_ns,
        pid: task.pid,
        process,
        thread_start_ns,
        act,
        batch,
    })
}
