//! What writing a record costs, next to the same values written by plain rmp-serde.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use ravn_shared::event::{Event, Open, Place, Record, Task};
use ravn_shared::kind::Kind;
use ravn_shared::wire::encode_record;
use serde::Serialize;
use serde_bytes::Bytes;

use super::figure::{Figure, Target};

/// Records of one side of a pair: some milliseconds.
const RECORDS: usize = 20_000;
const PATH: &[u8] = b"/var/lib/app/data/file.db";

fn record(n: u64) -> Record<'static> {
    Record {
        cpu: 1,
        n,
        time_ns: 12_345_678_901_234 + n,
        task: Task {
            tgid: 4242,
            pid: 4243,
            start_ns: 12_000_000_000_000,
            parent_tgid: 4000,
            parent_start_ns: 11_000_000_000_000,
            uid: 1000,
            gid: 1000,
            cgroup_id: 7331,
            comm: b"worker",
        },
        place: Place {
            first_n: 1_000_000,
            word: 77,
        },
        event: Event::Open(Open {
            path: PATH,
            flags: 0o102_001,
            mode: 0o100_644,
            ino: 1_234_567,
            dev: 8 << 20 | 1,
            created: false,
            cut: false,
        }),
    }
}

/// The values of [`record`] as nested tuples, which is what the wire has.
fn tuple(n: u64) -> impl Serialize {
    let task = (
        4242u32,
        4243u32,
        12_000_000_000_000u64,
        4000u32,
        11_000_000_000_000u64,
        1000u32,
        1000u32,
        7331u64,
        Bytes::new(b"worker"),
    );
    let open = (
        Bytes::new(PATH),
        0o102_001u32,
        0o100_644u32,
        1_234_567u64,
        8u32 << 20 | 1,
        false,
        false,
    );
    let kind = Kind::Open;
    (
        kind as u16,
        kind.stream() as u8,
        1u16,
        n,
        12_345_678_901_234 + n,
        task,
        (1_000_000u64, 77u32),
        open,
    )
}

/// Pairs of both, each into a buffer that is used again.
///
/// # Errors
/// When the two do not write the same bytes.
pub fn figure(pairs: usize) -> Result<Figure> {
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    encode_record(&record(3), &mut ours)?;
    tuple(3).serialize(&mut rmp_serde::Serializer::new(&mut plain))?;
    ensure!(
        ours == plain,
        "the plain tuple is not the record any more:\n{ours:02x?}\n{plain:02x?}"
    );
    let mut measured = Vec::new();
    for pair in 0..pairs {
        let mut sides = [0.0; 2];
        for side in [pair % 2, 1 - pair % 2] {
            let buffer = if side == 0 { &mut plain } else { &mut ours };
            sides[side] = if side == 0 {
                timed(buffer, &tuple(3), |tuple, out| {
                    Ok(tuple.serialize(&mut rmp_serde::Serializer::new(out))?)
                })?
            } else {
                timed(buffer, &record(3), |record, out| {
                    Ok(encode_record(record, out)?)
                })?
            };
        }
        measured.push((sides[0], sides[1]));
    }
    let what = format!(
        "encoding a record of {} bytes, over rmp-serde into a reused buffer",
        ours.len()
    );
    Ok(Figure::totals(&what, &measured, Target::AtMost(1.1)))
}

/// Nanoseconds of one value; what is in it is hidden from the compiler.
fn timed<T>(
    buffer: &mut Vec<u8>,
    value: &T,
    encode: impl Fn(&T, &mut Vec<u8>) -> Result<()>,
) -> Result<f64> {
    let mut quiet = f64::INFINITY;
    for _ in 0..5 {
        let began = Instant::now();
        for _ in 0..RECORDS {
            buffer.clear();
            encode(std::hint::black_box(value), buffer).context("encode")?;
            std::hint::black_box(&buffer);
        }
        quiet = quiet.min(began.elapsed().as_nanos() as f64 / RECORDS as f64);
    }
    Ok(quiet)
}
