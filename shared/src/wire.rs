//! Batches: what an element of `events:raw` is.
//!
//! A batch is a MessagePack array, positional:
//! `[schema, host, boot_id, run_id, batch_no, clock_offset_ns, class, [arch, hz], lost,
//! records]`, with `lost = [load_id, [[stream, cpu, numbers_taken], …], [[stream,
//! reason, count], …]]`. A record is `[kind, stream, cpu, n, time_ns, task or nil, [first_n,
//! word], payload]`. `docs/wire.md` tells the same with golden bytes.

use std::fmt;

use serde::de::{self, DeserializeSeed, IgnoredAny, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::{Event, Place, Record, Task};
use crate::kind::{Class, Reason, Stream};
use crate::pack::{self, PackError};

mod check;
mod payload;
mod read;

use payload::Payload;
use read::Reader;

/// Version of this layout.
pub const SCHEMA: u16 = 1;
/// Most records in a batch.
pub const MAX_RECORDS: usize = 256;
/// Most bytes in a batch that is sent; the last record may go past it.
pub const MAX_BATCH_BYTES: usize = 256 * 1024;
/// Most bytes that a decoder looks at.
pub const MAX_DECODE_BYTES: usize = 1024 * 1024;
/// Deepest nesting that a decoder follows.
pub const MAX_DEPTH: usize = 8;
/// Most characters that an error tells of what the sender wrote.
const MAX_SAID: usize = 200;

/// Why bytes are not a batch.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    /// Larger than any batch may be.
    #[error("{0} bytes, at most {MAX_DECODE_BYTES} are looked at")]
    TooLarge(usize),
    /// Nested deeper than any batch.
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A length that the input cannot hold, or an end in the middle.
    #[error("cut off, or a length that the input cannot hold, at byte {0}")]
    Truncated(usize),
    /// Bytes after the batch.
    #[error("{0} bytes after the batch")]
    Trailing(usize),
    /// More records than a batch may have.
    #[error("{0} records, at most {MAX_RECORDS}")]
    TooManyRecords(usize),
    /// A layout that this version cannot read.
    #[error(
        "schema {0}; this version reads {SCHEMA}; run a collector and an analyzer of one version"
    )]
    Schema(u64),
    /// Well-formed MessagePack of another shape.
    #[error("not a batch: {0}")]
    Shape(String),
}

/// What every batch says of its sender, beside its records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header<'a> {
    /// [`SCHEMA`] of the sender.
    pub schema: u16,
    /// Name of the host, `[A-Za-z0-9._-]{1,64}`.
    pub host: &'a str,
    /// The kernel's boot id, 16 bytes.
    #[serde(with = "serde_bytes")]
    pub boot_id: &'a [u8],
    /// One run of the collector.
    pub run_id: u64,
    /// Number of the batch in that run, from 0.
    pub batch_no: u64,
    /// CLOCK_REALTIME − CLOCK_BOOTTIME when it was sent, nanoseconds.
    pub clock_offset_ns: i64,
    /// Class of all its records.
    pub class: Class,
    /// Architecture (`x86_64`) and jiffies per second of the kernel.
    pub source: (&'a str, u32),
    /// Counters of the sender; empty when nothing changed.
    pub lost: Lost,
}

/// Cumulative counters since the programs were loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The load of the BPF programs that numbered the records of this batch.
    pub load_id: u64,
    /// Numbers taken so far, by stream and CPU.
    pub taken: Vec<(Stream, u16, u64)>,
    /// Records (or syscalls) lost so far, by stream and reason.
    pub reasons: Vec<(Stream, Reason, u64)>,
}

/// A decoded batch; its records borrow from the bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch<'a> {
    /// Who sent it, and the counters.
    pub header: Header<'a>,
    /// Its records, sorted by time.
    pub records: Vec<Record<'a>>,
}

/// Appends one encoded record to `out`.
///
/// # Errors
/// None in practice: a record has nothing that [`pack`] refuses.
pub fn encode_record(record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), PackError> {
    pack::append(record, out)
}

/// Puts a batch together from a header and records that [`encode_record`] wrote, and
/// appends it to `out`.
///
/// # Errors
/// As [`encode_record`].
pub fn encode_batch<'r>(
    header: &Header<'_>,
    records: impl ExactSizeIterator<Item = &'r [u8]>,
    out: &mut Vec<u8>,
) -> Result<(), PackError> {
    begin_batch(header, records.len(), out)?;
    for record in records {
        out.extend_from_slice(record);
    }
    Ok(())
}

/// Appends what a batch of `records` records has before them; as many encoded records follow.
///
/// # Errors
/// As [`encode_record`].
pub fn begin_batch(
    header: &Header<'_>,
    records: usize,
    out: &mut Vec<u8>,
) -> Result<(), PackError> {
    let at = out.len();
    pack::append(header, out)?;
    // A struct is written as an array of its fields; the batch is flat: what the header begins
    // with, the marker of nine elements, becomes that of ten.
    out[at] = 0x9a;
    pack::array_len(records, out)
}

/// Reads a batch. Nothing is allocated for lengths that the input does not hold.
///
/// # Errors
/// [`WireError`] names what is wrong; nothing of the batch is used then.
pub fn decode_batch(bytes: &[u8]) -> Result<Batch<'_>, WireError> {
    if bytes.len() > MAX_DECODE_BYTES {
        return Err(WireError::TooLarge(bytes.len()));
    }
    // Before all else: another schema may have another shape.
    if let Some(schema) = schema(bytes)
        && schema != u64::from(SCHEMA)
    {
        check::check(bytes)?;
        return Err(WireError::Schema(schema));
    }
    let mut input = Reader::new(bytes);
    let read = Flat::deserialize(&mut input);
    if read.is_err() || !input.is_at_end() {
        check::check(bytes)?;
    }
    let Flat {
        header,
        records: Records { read, count },
    } = read.map_err(|error| shape(&error))?;
    if header.boot_id.len() != 16 {
        return Err(WireError::Shape(format!(
            "boot_id of {} bytes",
            header.boot_id.len()
        )));
    }
    if count > MAX_RECORDS {
        return Err(WireError::TooManyRecords(count));
    }
    Ok(Batch {
        header,
        records: read,
    })
}

/// The first element of an array, if it is a number.
fn schema(mut bytes: &[u8]) -> Option<u64> {
    rmp::decode::read_array_len(&mut bytes).ok()?;
    rmp::decode::read_int(&mut bytes).ok()
}

/// The error in few words: it may quote a text of the sender's, however long.
fn shape(error: &read::Fault) -> WireError {
    WireError::Shape(error.to_string().chars().take(MAX_SAID).collect())
}

struct Flat<'a> {
    header: Header<'a>,
    records: Records<'a>,
}

/// Records, or how many there are if they are too many.
#[derive(Debug, PartialEq)]
struct Records<'a> {
    read: Vec<Record<'a>>,
    count: usize,
}

impl<'de> Deserialize<'de> for Records<'de> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct RecordsVisitor;
        impl<'de> Visitor<'de> for RecordsVisitor {
            type Value = Records<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of records")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let count = seq.size_hint().unwrap_or(0);
                let mut read = Vec::new();
                if count > MAX_RECORDS {
                    while seq.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(Records { read, count });
                }
                read.reserve_exact(count);
                while seq.next_element_seed(Onto(&mut read))?.is_some() {}
                let count = read.len();
                Ok(Records { read, count })
            }
        }
        input.deserialize_seq(RecordsVisitor)
    }
}

impl<'de> Deserialize<'de> for Flat<'de> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        struct FlatVisitor;
        impl<'de> Visitor<'de> for FlatVisitor {
            type Value = Flat<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a batch of ten elements")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut at = 0;
                let header = Header {
                    schema: element(&mut seq, &mut at)?,
                    host: element(&mut seq, &mut at)?,
                    boot_id: element::<&serde_bytes::Bytes, _>(&mut seq, &mut at)?,
                    run_id: element(&mut seq, &mut at)?,
                    batch_no: element(&mut seq, &mut at)?,
                    clock_offset_ns: element(&mut seq, &mut at)?,
                    class: element(&mut seq, &mut at)?,
                    source: element(&mut seq, &mut at)?,
                    lost: element(&mut seq, &mut at)?,
                };
                Ok(Flat {
                    header,
                    records: element(&mut seq, &mut at)?,
                })
            }
        }
        input.deserialize_tuple(10, FlatVisitor)
    }
}

fn element<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(
    seq: &mut A,
    at: &mut usize,
) -> Result<T, A::Error> {
    let value = seq
        .next_element()?
        .ok_or_else(|| de::Error::invalid_length(*at, &"more elements"))?;
    *at += 1;
    Ok(value)
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        let (kind, stream) = match (&self.event, self.event.kind()) {
            (Event::Unknown { kind, stream }, _) => (*kind, *stream),
            (_, Some(kind)) => (kind as u16, kind.stream()),
            (_, None) => return Err(serde::ser::Error::custom("a record without a kind")),
        };
        let mut tuple = output.serialize_tuple(8)?;
        tuple.serialize_element(&kind)?;
        tuple.serialize_element(&stream)?;
        tuple.serialize_element(&self.cpu)?;
        tuple.serialize_element(&self.n)?;
        tuple.serialize_element(&self.time_ns)?;
        let task = (!matches!(self.event, Event::Chunk(_))).then_some(&self.task);
        tuple.serialize_element(&task)?;
        tuple.serialize_element(&self.place)?;
        tuple.serialize_element(&PayloadOf(&self.event))?;
        tuple.end()
    }
}

/// The payload of an event, as one value.
struct PayloadOf<'e, 'a>(&'e Event<'a>);

impl Serialize for PayloadOf<'_, '_> {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        self.0.serialize_payload(output)
    }
}

/// Reads a record, and puts it where it stays: one is some 300 bytes, and each return of it a
/// copy.
struct Onto<'v, 'de>(&'v mut Vec<Record<'de>>);

impl<'de> DeserializeSeed<'de> for Onto<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_tuple(8, self)
    }
}

impl<'de> Visitor<'de> for Onto<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record of eight elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut at = 0;
        let kind: u16 = element(&mut seq, &mut at)?;
        let stream: Stream = element(&mut seq, &mut at)?;
        let cpu = element(&mut seq, &mut at)?;
        let n = element(&mut seq, &mut at)?;
        let time_ns = element(&mut seq, &mut at)?;
        let task: Option<Task<'de>> = element(&mut seq, &mut at)?;
        let place: Place = element(&mut seq, &mut at)?;
        let event = seq
            .next_element_seed(Payload { kind, stream })?
            .ok_or_else(|| de::Error::invalid_length(7, &"a payload"))?;
        let task = match &event {
            Event::Chunk(_) => None,
            _ => task,
        };
        self.0.push(Record {
            cpu,
            n,
            time_ns,
            task: task.unwrap_or_default(),
            place,
            event,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
