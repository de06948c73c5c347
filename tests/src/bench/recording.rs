//! Batches of a real collector, recorded, and made new again for every turn: what came before
//! would be dropped as a copy.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use ravn_shared::event::{Event, Record};
use ravn_shared::kind::Stream;
use ravn_shared::link::random_id;
use ravn_shared::show;
use ravn_shared::wire::{Header, Lost, decode_batch, encode_batch, encode_record};

/// Word of a chunk that defines a thread, without its slot, and that of a time mark.
const DEFINE: u16 = 0x8040;
const TIME: u16 = 0x8080;
const SLOT: u16 = 0x3f;

/// What was recorded.
#[derive(Debug)]
pub struct Recording {
    batches: Vec<Vec<u8>>,
    /// Numbers of each stream of a CPU.
    spans: BTreeMap<(Stream, u16), u64>,
    /// From the first record to past the last.
    length_ns: u64,
    /// Times that it was made new, over all turns.
    times: u64,
    run_id: u64,
    batch_no: u64,
    /// What it is made of.
    pub mix: Mix,
}

/// What a recording is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mix {
    /// Events (records other than chunks), by kind.
    pub kinds: BTreeMap<String, u64>,
    /// Chunks of sequences.
    pub chunks: u64,
    /// Syscalls in them.
    pub syscalls: u64,
    /// Bytes of all batches.
    pub bytes: u64,
    /// Batches.
    pub batches: u64,
}

impl Mix {
    fn add(&mut self, records: &[Record<'_>], bytes: usize) {
        self.batches += 1;
        self.bytes += bytes as u64;
        for record in records {
            if let Event::Chunk(chunk) = &record.event {
                self.chunks += 1;
                self.syscalls += u64::from(chunk.count);
            } else {
                let kind = show::kind(&record.event).to_owned();
                *self.kinds.entry(kind).or_default() += 1;
            }
        }
    }

    /// Events, chunks apart.
    pub fn events(&self) -> u64 {
        self.kinds.values().sum()
    }

    /// In words: the commonest kinds first, those below one in a hundred together.
    pub fn words(&self) -> String {
        let events = self.events().max(1);
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), name.as_str()));
        let share = |count: u64| 100.0 * count as f64 / events as f64;
        let (many, few): (Vec<_>, Vec<_>) = kinds
            .into_iter()
            .partition(|(_, count)| share(**count) >= 1.0);
        let mut words: Vec<String> = many
            .iter()
            .map(|(name, count)| format!("{name} {:.0} %", share(**count)))
            .collect();
        if !few.is_empty() {
            let rest = few.iter().map(|(_, count)| **count).sum();
            words.push(format!("{} more kinds {:.1} %", few.len(), share(rest)));
        }
        format!(
            "{} events ({}) and {} chunks with {} syscalls in {} batches, {:.0} bytes an event and \
             {:.1} KiB a batch",
            self.events(),
            words.join(", "),
            self.chunks,
            self.syscalls,
            self.batches,
            self.bytes as f64 / events as f64,
            self.bytes as f64 / 1024.0 / self.batches.max(1) as f64
        )
    }
}

impl Recording {
    /// Of batches as they were pushed, oldest first. The collector's own records (what was there
    /// before it) and batches of counters alone are left out.
    ///
    /// # Errors
    /// When one cannot be decoded, or nothing is left.
    pub fn of(all: &[Vec<u8>]) -> Result<Self> {
        let mut batches = Vec::new();
        let mut spans: BTreeMap<(Stream, u16), u64> = BTreeMap::new();
        let mut mix = Mix::default();
        let mut times_ns = (u64::MAX, 0);
        let mut came: BTreeMap<(Stream, u16), u64> = BTreeMap::new();
        for bytes in all {
            let batch = decode_batch(bytes).context("a batch of the collector's")?;
            let mut records = batch.records;
            records.retain(|record| record.event.stream() != Stream::Collector);
            for record in &records {
                times_ns = (
                    times_ns.0.min(record.time_ns),
                    times_ns.1.max(record.time_ns),
                );
                let lane = (record.event.stream(), record.cpu);
                *came.entry(lane).or_default() += record.event.numbers();
                let end = record.n + record.event.numbers();
                let span = spans.entry(lane).or_default();
                *span = end.max(*span);
            }
            if !records.is_empty() {
                let bytes = encoded(&batch.header, &records)?;
                mix.add(&records, bytes.len());
                batches.push(bytes);
            }
        }
        ensure!(!batches.is_empty(), "nothing was recorded");
        for ((stream, cpu), span) in &spans {
            let came = came.get(&(*stream, *cpu)).copied().unwrap_or_default();
            ensure!(
                came == *span,
                "{span} numbers of stream {} on CPU {cpu}, and {came} were recorded: something was \
                 lost, so record again on a quieter machine",
                stream.name()
            );
        }
        Ok(Self {
            batches,
            spans,
            length_ns: times_ns.1 - times_ns.0 + 1,
            times: 0,
            run_id: random_id(),
            batch_no: 0,
            mix,
        })
    }

    /// The batches as they were recorded, without the collector's own records.
    pub fn batches(&self) -> &[Vec<u8>] {
        &self.batches
    }

    /// All batches once more, as if the same had happened again, right after the last time, by
    /// other processes.
    ///
    /// # Errors
    /// None in practice: what was decoded once is decoded again.
    pub fn again(&mut self) -> Result<Vec<Vec<u8>>> {
        let (times, load_id) = (self.times, self.run_id);
        let shift_ns = times * self.length_ns;
        let span = |stream: Stream, cpu: u16| self.spans.get(&(stream, cpu)).copied();
        let mut made = Vec::with_capacity(self.batches.len());
        for bytes in &self.batches {
            let batch = decode_batch(bytes)?;
            let chunks: Vec<Option<Vec<u8>>> = batch
                .records
                .iter()
                .map(|record| match &record.event {
                    Event::Chunk(chunk) => Some(moved_words(chunk.words, shift_ns)),
                    _ => None,
                })
                .collect();
            let mut records = batch.records;
            for (record, words) in records.iter_mut().zip(&chunks) {
                let stream = record.event.stream();
                record.n += times * span(stream, record.cpu).unwrap_or_default();
                record.place.first_n +=
                    times * span(Stream::Sequence, record.cpu).unwrap_or_default();
                moved(record, words.as_deref(), shift_ns);
            }
            let header = Header {
                run_id: self.run_id,
                batch_no: self.batch_no,
                lost: Lost {
                    load_id,
                    ..Lost::default()
                },
                ..batch.header
            };
            self.batch_no += 1;
            made.push(encoded(&header, &records)?);
        }
        self.times += 1;
        Ok(made)
    }
}

fn encoded(header: &Header<'_>, records: &[Record<'_>]) -> Result<Vec<u8>> {
    let mut bodies = Vec::with_capacity(records.len());
    for record in records {
        let mut body = Vec::new();
        encode_record(record, &mut body)?;
        bodies.push(body);
    }
    let mut bytes = Vec::new();
    encode_batch(header, bodies.iter().map(Vec::as_slice), &mut bytes)?;
    Ok(bytes)
}

/// Lets a record be of another process of the same number.
fn moved<'a>(record: &mut Record<'a>, words: Option<&'a [u8]>, shift_ns: u64) {
    record.time_ns += shift_ns;
    if !matches!(record.event, Event::Chunk(_)) {
        record.task.start_ns += shift_ns;
        record.task.parent_start_ns += shift_ns;
    }
    match &mut record.event {
        Event::Fork(fork) => fork.child_start_ns += shift_ns,
        Event::Exit(exit) => exit.thread_start_ns += shift_ns,
        Event::Chunk(chunk) => chunk.words = words.unwrap_or(chunk.words),
        _ => {}
    }
}

/// The words with the starts of all threads in them moved.
fn moved_words(words: &[u8], shift_ns: u64) -> Vec<u8> {
    let mut moved = words.to_vec();
    let mut at = 0;
    while let Some(word) = moved.get(at..at + 2) {
        let word = u16::from_le_bytes([word[0], word[1]]);
        at += 2;
        if word & !SLOT == DEFINE {
            // The thread's start, then its process'.
            for start in [at, at + 8] {
                if let Some(field) = moved.get_mut(start..start + 8) {
                    let mut bytes = [0; 8];
                    bytes.copy_from_slice(field);
                    let start_ns = u64::from_le_bytes(bytes) + shift_ns;
                    field.copy_from_slice(&start_ns.to_le_bytes());
                }
            }
            at += 32;
        } else if word == TIME {
            at += 2;
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ravn_shared::event::{Chunk, Exit, Place, Task};
    use ravn_shared::kind::Class;
    use ravn_shared::wire::SCHEMA;
    use ravn_shared::words::{Word, Words};

    use super::*;

    fn words(start_ns: u64) -> Vec<u8> {
        let mut words = vec![5, 0, 0x80, 0x80, 0x41, 0x80];
        words.extend((DEFINE | 3).to_le_bytes());
        words.extend(start_ns.to_le_bytes());
        words.extend((start_ns - 1).to_le_bytes());
        for id in [11u32, 10, 0, 1] {
            words.extend(id.to_le_bytes());
        }
        words.extend(39u16.to_le_bytes());
        words
    }

    fn recorded() -> Recording {
        record_from(0).unwrap()
    }

    /// An exit of number `n`, and a chunk of two syscalls.
    fn record_from(n: u64) -> Result<Recording> {
        let header = Header {
            schema: SCHEMA,
            host: "a-host",
            boot_id: &[7; 16],
            run_id: 1,
            batch_no: 9,
            clock_offset_ns: 0,
            class: Class::Sequences,
            source: ("x86_64", 250),
            lost: Lost {
                load_id: 2,
                taken: vec![(Stream::Syscall, 1, 5)],
                reasons: Vec::new(),
            },
        };
        let record = |n, event| Record {
            cpu: 1,
            n,
            time_ns: 50_000,
            task: Task {
                tgid: 10,
                start_ns: 40_000,
                ..Task::default()
            },
            place: Place::default(),
            event,
        };
        let exit = record(
            n,
            Event::Exit(Exit {
                status: 0,
                thread_start_ns: 40_000,
                process: true,
            }),
        );
        let words = words(40_000);
        let chunk = record(
            0,
            Event::Chunk(Chunk {
                count: 2,
                ticks: 0,
                words: &words,
            }),
        );
        Recording::of(&[encoded(&header, &[exit, chunk]).unwrap()])
    }

    #[test]
    fn a_recording_with_a_gap_is_refused() {
        let error = record_from(4).unwrap_err().to_string();
        assert!(error.contains("5 numbers of stream syscall"), "{error}");
    }

    #[test]
    fn the_mix_counts_events_and_chunks_apart() {
        let mix = recorded().mix;
        assert_eq!((mix.events(), mix.chunks, mix.syscalls), (1, 1, 2));
        assert!(
            mix.words()
                .starts_with("1 events (exit 100 %) and 1 chunks")
        );
        let mut rare = mix.clone();
        rare.kinds.insert("open".to_owned(), 999);
        assert!(rare.words().contains("(open 100 %, 1 more kinds 0.1 %)"));
    }

    #[test]
    fn what_comes_again_has_numbers_of_its_own_and_is_of_another_process() {
        let mut recording = recorded();
        let (first, second) = (recording.again().unwrap(), recording.again().unwrap());
        let (first, second) = (
            decode_batch(&first[0]).unwrap(),
            decode_batch(&second[0]).unwrap(),
        );
        assert_eq!((first.header.batch_no, second.header.batch_no), (0, 1));
        let numbers =
            |batch: &[Record<'_>]| -> Vec<u64> { batch.iter().map(|record| record.n).collect() };
        assert_eq!(numbers(&first.records), [0, 0]);
        // One number of process life, two syscalls: the next begin there.
        assert_eq!(numbers(&second.records), [1, 2]);
        assert_eq!(second.records[0].place.first_n, 2);
        // Both happened at one time: the recording is a nanosecond long.
        assert_eq!(second.records[0].time_ns, 50_001);
        assert_eq!(second.records[0].task.start_ns, 40_001);
        let Event::Chunk(chunk) = &second.records[1].event else {
            panic!("{:?}", second.records[1]);
        };
        let defined = Words::new(chunk.words).find_map(|step| match step {
            Ok((_, Word::Define(3, thread))) => Some(thread),
            _ => None,
        });
        let thread = defined.unwrap();
        assert_eq!((thread.start_ns, thread.process_start_ns), (40_001, 40_000));
        assert_eq!((thread.pid, thread.tgid), (11, 10));
    }
}
