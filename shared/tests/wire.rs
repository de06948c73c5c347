//! The wire: what is written is read, what nobody wrote is refused, and the bytes are those
//! that `docs/wire.md` promises.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use proptest::prelude::*;
use ravn_shared::event::{Event, Exit, Named, Open, Place, Record, Rename, Task};
use ravn_shared::kind::{Class, Reason, Stream};
use ravn_shared::wire::{self, Header, Lost, WireError};

fn header<'a>(host: &'a str, lost: Lost) -> Header<'a> {
    Header {
        schema: wire::SCHEMA,
        host,
        boot_id: b"0123456789abcdef",
        run_id: 7,
        batch_no: 3,
        clock_offset_ns: -1,
        class: Class::Ordinary,
        source: ("x86_64", 250),
        lost,
    }
}

fn encode(header: &Header<'_>, records: &[Record<'_>]) -> Vec<u8> {
    let encoded: Vec<Vec<u8>> = records
        .iter()
        .map(|record| {
            let mut bytes = Vec::new();
            wire::encode_record(record, &mut bytes).unwrap();
            bytes
        })
        .collect();
    let mut out = Vec::new();
    wire::encode_batch(header, encoded.iter().map(Vec::as_slice), &mut out).unwrap();
    out
}

fn task(comm: &[u8]) -> Task<'_> {
    Task {
        tgid: 10,
        pid: 11,
        start_ns: 12,
        parent_tgid: 1,
        parent_start_ns: 2,
        uid: 1000,
        gid: 1000,
        cgroup_id: 99,
        comm,
    }
}

/// The batch of docs/wire.md.
fn golden() -> Vec<u8> {
    let lost = Lost {
        load_id: 5,
        taken: vec![(Stream::Syscall, 0, 42)],
        reasons: vec![(Stream::File, Reason::RingFull, 1)],
    };
    let exit = Record {
        cpu: 0,
        n: 41,
        time_ns: 1_000_000,
        task: task(b"sh"),
        place: Place {
            first_n: 100,
            word: 20,
        },
        event: Event::Exit(Exit {
            status: 256,
            thread_start_ns: 12,
            process: true,
        }),
    };
    let mut header = header("web-1", lost);
    header.class = Class::Essential;
    encode(&header, &[exit])
}

#[test]
fn the_documented_bytes_are_the_bytes() {
    let document = include_str!("../../docs/wire.md");
    let block = document
        .split("```hex\n")
        .nth(1)
        .expect("docs/wire.md has a hex block");
    let block = block.split("```").next().unwrap();
    let digits: String = block
        .lines()
        .flat_map(|line| line.split('#').next())
        .collect::<String>()
        .split_whitespace()
        .collect();
    let hex: String = golden().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        digits, hex,
        "docs/wire.md tells other bytes than the encoder writes"
    );
}

#[test]
fn a_batch_of_an_unknown_kind_keeps_its_place_in_the_count() {
    let unknown = Record {
        cpu: 1,
        n: 8,
        time_ns: 9,
        task: task(b"x"),
        place: Place::default(),
        event: Event::Unknown {
            kind: 999,
            stream: Stream::Security,
        },
    };
    let bytes = encode(
        &header("h", Lost::default()),
        std::slice::from_ref(&unknown),
    );
    let batch = wire::decode_batch(&bytes).unwrap();
    assert_eq!(batch.records, [unknown]);
}

#[test]
fn what_is_no_batch_is_refused_without_allocating_for_it() {
    // An array of 2^32-1 elements in five bytes.
    assert!(matches!(
        wire::decode_batch(&[0xdd, 0xff, 0xff, 0xff, 0xff]),
        Err(WireError::Truncated(_))
    ));
    // A bin of 4 GiB.
    assert!(matches!(
        wire::decode_batch(&[0x91, 0xc6, 0xff, 0xff, 0xff, 0xff]),
        Err(WireError::Truncated(_))
    ));
    assert_eq!(wire::decode_batch(&[0x91; 64]), Err(WireError::TooDeep));
    assert_eq!(
        wire::decode_batch(&vec![0xc0; wire::MAX_DECODE_BYTES + 1]),
        Err(WireError::TooLarge(1_048_577))
    );
    assert_eq!(
        wire::decode_batch(&[0xc0, 0xc0]),
        Err(WireError::Trailing(1))
    );
    assert!(
        matches!(
            wire::decode_batch(&[0xc7, 1, 2, 3]),
            Err(WireError::Truncated(0))
        ),
        "extensions"
    );
    assert!(matches!(
        wire::decode_batch(&[0x90]),
        Err(WireError::Shape(_))
    ));
    assert!(matches!(
        wire::decode_batch(b""),
        Err(WireError::Truncated(0))
    ));
}

#[test]
fn another_schema_is_named() {
    let mut other = header("h", Lost::default());
    other.schema = 2;
    assert_eq!(
        wire::decode_batch(&encode(&other, &[])),
        Err(WireError::Schema(2))
    );
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_written_is_read(
        path in bytes(), other in bytes(), n in any::<u64>(), time_ns in any::<u64>(), cpu in any::<u16>(),
        ino in any::<u64>(), word in any::<u32>(), flags in any::<u32>(), many in 0usize..40,
    ) {
        let open = Event::Open(Open { path: &path, flags, mode: 3, ino, dev: 4, created: true, cut: false });
        let named = |path| Named { dir: &other, path, resolved: false };
        let rename = Event::Rename(Rename { from: named(path.as_slice()), to: named(other.as_slice()), flags });
        let record = |event| Record {
            cpu, n, time_ns, task: task(b"a\xffb"), place: Place { first_n: n, word }, event,
        };
        let mut records = vec![record(open), record(rename)];
        for _ in 0..many {
            records.push(record(Event::Exit(Exit { status: flags, thread_start_ns: n, process: false })));
        }
        let lost = Lost { load_id: n, taken: vec![(Stream::Sequence, cpu, n)], reasons: vec![] };
        let bytes = encode(&header("host.example", lost), &records);
        let batch = wire::decode_batch(&bytes).unwrap();
        prop_assert_eq!(batch.records, records);
        prop_assert_eq!(batch.header.lost.load_id, n);
    }

    #[test]
    fn damaged_bytes_never_panic(at in 0usize..10_000, to in any::<u8>(), cut in 0usize..10_000) {
        let mut bytes = golden();
        let len = bytes.len();
        bytes[at % len] = to;
        let _ = wire::decode_batch(&bytes);
        let _ = wire::decode_batch(&bytes[..cut % len]);
    }
}
