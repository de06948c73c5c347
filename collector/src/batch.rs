//! Records of a drain, encoded as they come, cut into batches of one class.

use ravn_shared::kind::{Class, Stream};
use ravn_shared::pack::PackError;
use ravn_shared::wire::{self, Header, Lost, MAX_BATCH_BYTES, MAX_RECORDS};

/// An encoded batch and what would be lost with it.
#[derive(Debug)]
pub struct Batch {
    /// The class of all its records.
    pub class: Class,
    /// The element of the list.
    pub bytes: Vec<u8>,
    /// Numbers in it, by stream: records, or syscalls of chunks.
    pub counts: Counts,
}

/// Numbers taken by what a batch holds, by stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The load that took them.
    pub load_id: u64,
    numbers: [u64; Stream::ALL.len()],
}

impl Counts {
    /// None yet, of this load.
    pub fn of(load_id: u64) -> Self {
        Self {
            load_id,
            ..Self::default()
        }
    }

    /// Adds `count` numbers of `stream`.
    pub fn add(&mut self, stream: Stream, count: u64) {
        self.numbers[stream as usize] += count;
    }

    /// Streams with their counts, those above 0.
    pub fn iter(&self) -> impl Iterator<Item = (Stream, u64)> {
        Stream::ALL
            .into_iter()
            .zip(self.numbers)
            .filter(|(_, count)| *count > 0)
    }
}

/// What every batch of this run says alike.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Name of the host.
    pub host: String,
    /// The kernel's boot id.
    pub boot_id: [u8; 16],
    /// This run of the collector.
    pub run_id: u64,
    /// This load of the programs.
    pub load_id: u64,
    /// Jiffies per second.
    pub hz: u32,
}

/// An encoded record that waits for its batch.
#[derive(Clone, Copy, Debug)]
struct Pending {
    time_ns: u64,
    start: usize,
    end: usize,
    stream: Stream,
    numbers: u64,
}

/// How long a record waits for its batch to fill, by class, nanoseconds.
pub type Patience = [u64; Class::ALL.len()];

/// Nothing waits.
pub const AT_ONCE: Patience = [0; Class::ALL.len()];

/// Pending records of one class.
#[derive(Debug, Default)]
struct Shelf {
    bytes: Vec<u8>,
    pending: Vec<Pending>,
    since_ns: u64,
}

/// Sorts what was drained into batches.
#[derive(Debug)]
pub struct Batcher {
    origin: Origin,
    next_no: u64,
    shelves: [Shelf; Class::ALL.len()],
}

impl Batcher {
    /// Nothing pending, batch numbers from 0.
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            next_no: 0,
            shelves: Default::default(),
        }
    }

    /// The load that what is pushed is of.
    pub const fn load_id(&self) -> u64 {
        self.origin.load_id
    }

    /// What is pushed from now on is of this load. Nothing of another may be pending.
    pub fn set_load(&mut self, load_id: u64) {
        debug_assert!(self.shelves.iter().all(|shelf| shelf.pending.is_empty()));
        self.origin.load_id = load_id;
    }

    /// Encodes a record onto its class' shelf. `now` says when it was drained, CLOCK_BOOTTIME
    /// nanoseconds; the first of a shelf alone asks, for the clock costs as much as a field.
    ///
    /// # Errors
    /// As [`wire::encode_record`]; the shelf stays as it was.
    pub fn push(
        &mut self,
        record: &ravn_shared::event::Record<'_>,
        now: impl FnOnce() -> u64,
    ) -> Result<(), PackError> {
        let stream = record.event.stream();
        let class = record
            .event
            .kind()
            .map_or(Class::Essential, |kind| kind.class());
        let numbers = record.event.numbers();
        let shelf = &mut self.shelves[class as usize];
        let start = shelf.bytes.len();
        if let Err(error) = wire::encode_record(record, &mut shelf.bytes) {
            shelf.bytes.truncate(start);
            return Err(error);
        }
        if shelf.pending.is_empty() {
            shelf.since_ns = now();
        }
        shelf.pending.push(Pending {
            time_ns: record.time_ns,
            start,
            end: shelf.bytes.len(),
            stream,
            numbers,
        });
        Ok(())
    }

    /// Cuts the shelves into batches and passes each to `out`: those that are full, or whose
    /// oldest record waited for its class' `patience`. The first batch carries `lost`, which it
    /// takes.
    ///
    /// # Errors
    /// As [`wire::encode_batch`].
    pub fn cut(
        &mut self,
        now_ns: u64,
        patience: Patience,
        lost: &mut Option<Lost>,
        mut out: impl FnMut(Batch),
    ) -> Result<(), PackError> {
        for class in Class::ALL {
            let shelf = &mut self.shelves[class as usize];
            let due = now_ns.saturating_sub(shelf.since_ns) >= patience[class as usize];
            let full = shelf.pending.len() >= MAX_RECORDS || shelf.bytes.len() >= MAX_BATCH_BYTES;
            if shelf.pending.is_empty() || !(due || full) {
                continue;
            }
            let mut shelf = std::mem::take(shelf);
            shelf.pending.sort_by_key(|record| record.time_ns);
            let mut rest = shelf.pending.as_slice();
            while !rest.is_empty() {
                let (batch, left) = rest.split_at(batch_len(rest));
                rest = left;
                out(self.seal(class, &shelf.bytes, batch, lost.take())?);
            }
            shelf.bytes.clear();
            shelf.pending.clear();
            self.shelves[class as usize] = shelf;
        }
        Ok(())
    }

    /// A batch without records, to tell of losses alone.
    ///
    /// # Errors
    /// As [`wire::encode_batch`].
    pub fn empty(&mut self, lost: Lost) -> Result<Batch, PackError> {
        self.seal(Class::Essential, &[], &[], Some(lost))
    }

    fn seal(
        &mut self,
        class: Class,
        bytes: &[u8],
        records: &[Pending],
        lost: Option<Lost>,
    ) -> Result<Batch, PackError> {
        let origin = &self.origin;
        let header = Header {
            schema: wire::SCHEMA,
            host: &origin.host,
            boot_id: &origin.boot_id,
            run_id: origin.run_id,
            batch_no: self.next_no,
            clock_offset_ns: ravn_shared::clock::offset_ns(),
            class,
            source: (std::env::consts::ARCH, origin.hz),
            lost: lost.unwrap_or_else(|| Lost {
                load_id: origin.load_id,
                ..Lost::default()
            }),
        };
        let mut counts = Counts::of(origin.load_id);
        let mut size = 0;
        for record in records {
            counts.add(record.stream, record.numbers);
            size += record.end - record.start;
        }
        let mut out = Vec::with_capacity(size + 256);
        wire::begin_batch(&header, records.len(), &mut out)?;
        // What was drained in the order of time lies so on its shelf: few copies.
        for run in records.chunk_by(|one, next| one.end == next.start) {
            if let [first, ..] = run
                && let [.., last] = run
            {
                out.extend_from_slice(&bytes[first.start..last.end]);
            }
        }
        self.next_no += 1;
        Ok(Batch {
            class,
            bytes: out,
            counts,
        })
    }
}

/// How many of the records make the next batch: at least one, at most
/// [`MAX_RECORDS`] or [`MAX_BATCH_BYTES`].
fn batch_len(records: &[Pending]) -> usize {
    let mut bytes = 0;
    let fitting = records
        .iter()
        .take(MAX_RECORDS)
        .take_while(|record| {
            bytes += record.end - record.start;
            bytes <= MAX_BATCH_BYTES
        })
        .count();
    fitting.max(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ravn_shared::event::{Event, Exit, Open, Place, Record, Task};

    use super::*;

    fn batcher() -> Batcher {
        Batcher::new(Origin {
            host: "h".to_owned(),
            boot_id: [1; 16],
            run_id: 2,
            load_id: 3,
            hz: 250,
        })
    }

    fn record<'a>(time_ns: u64, event: Event<'a>) -> Record<'a> {
        Record {
            cpu: 0,
            n: time_ns,
            time_ns,
            task: Task::default(),
            place: Place::default(),
            event,
        }
    }

    fn exit() -> Event<'static> {
        Event::Exit(Exit {
            status: 0,
            thread_start_ns: 1,
            process: true,
        })
    }

    #[test]
    fn batches_are_sorted_bounded_and_of_one_class() {
        let mut batcher = batcher();
        let path = [b'x'; 3000];
        for time in (0..600).rev() {
            batcher.push(&record(time, exit()), || 0).unwrap();
            let open = Open {
                path: &path,
                flags: 1,
                mode: 0,
                ino: 1,
                dev: 1,
                created: true,
                cut: false,
            };
            batcher
                .push(&record(time, Event::Open(open)), || 0)
                .unwrap();
        }
        let mut batches = Vec::new();
        batcher
            .cut(0, AT_ONCE, &mut None, |batch| batches.push(batch))
            .unwrap();
        let mut seen = [0; 3];
        for batch in &batches {
            assert!(batch.bytes.len() < MAX_BATCH_BYTES + 4096);
            let decoded = wire::decode_batch(&batch.bytes).unwrap();
            assert!(decoded.records.is_sorted_by_key(|record| record.time_ns));
            assert!(
                decoded
                    .records
                    .iter()
                    .all(|record| record.event.kind().unwrap().class() == batch.class)
            );
            assert_eq!(decoded.header.lost.load_id, 3);
            seen[batch.class as usize] += decoded.records.len();
        }
        assert_eq!(seen, [600, 600, 0]);
    }

    #[test]
    fn what_is_neither_full_nor_old_waits() {
        let mut batcher = batcher();
        batcher.push(&record(1, exit()), || 100).unwrap();
        let mut count = 0;
        batcher
            .cut(119, [20; 3], &mut None, |_| count += 1)
            .unwrap();
        assert_eq!(count, 0);
        batcher
            .cut(120, [20; 3], &mut None, |_| count += 1)
            .unwrap();
        assert_eq!(count, 1);
    }
}
