//! The wire: what is written is read, what nobody wrote is refused, and the bytes are those
//! that `docs/wire.md` promises.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod any;

use any::Pool;
use proptest::prelude::*;
use ravn_shared::event::{
    Close, Creds, Dns, Event, Exit, Kill, Named, Open, Place, Record, Rename, Socket, Target, Task,
    VmAccess,
};
use ravn_shared::kind::{Class, Kind, Reason, Stream};
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
    any::batch(header, records)
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

fn record(event: Event<'_>) -> Record<'_> {
    Record {
        cpu: 1,
        n: 8,
        time_ns: 9,
        task: task(b"x"),
        place: Place::default(),
        event,
    }
}

#[test]
fn every_kind_is_written_and_read() {
    for kind in Kind::ALL {
        let mut one = record(Event::empty(*kind));
        if *kind == Kind::Chunk {
            one.task = Task::default();
        }
        let bytes = encode(&header("h", Lost::default()), std::slice::from_ref(&one));
        let batch = wire::decode_batch(&bytes).unwrap();
        assert_eq!(batch.records, [one], "{}", kind.name());
    }
}

#[test]
fn fields_of_another_process_keep_their_places() {
    let process = Target {
        tgid: 5,
        pid: 6,
        start_ns: 7,
        uid: 8,
        comm: b"a\xffb",
    };
    let socket = Socket {
        family: 2,
        kind: 1,
        protocol: 6,
        local: &[127, 0, 0, 1],
        local_port: 80,
        remote: &[10, 0, 0, 1],
        remote_port: 4000,
        ret: -111,
        as_given: true,
    };
    let records = [
        record(Event::Kill(Kill {
            signal: 9,
            result: 2,
            process,
        })),
        record(Event::VmWrite(VmAccess {
            write: true,
            target: 3,
            ret: -1,
            process,
        })),
        record(Event::Close(Close {
            socket,
            sent: 1 << 40,
            received: 2,
            duration_ns: 3,
        })),
        record(Event::Dns(Dns {
            name: b"a.b",
            record_type: 16,
            cut: true,
            socket,
        })),
    ];
    let bytes = encode(&header("h", Lost::default()), &records);
    assert_eq!(wire::decode_batch(&bytes).unwrap().records, records);
}

/// A recording of an earlier version has fewer elements in some payloads.
#[test]
fn elements_that_are_missing_at_the_end_are_empty() {
    let ids = [1u32, 2, 3, 4];
    let creds = (105u16, 0i32, ids, ids, 5u64, 1u32);
    let place = (0u64, 0u32);
    let old = (64u16, 4u8, 1u16, 8u64, 9u64, task(b"x"), place, creds);
    let bytes = rmp_serde::to_vec(&old).unwrap();
    let mut batch = Vec::new();
    let head = header("h", Lost::default());
    wire::encode_batch(&head, [bytes.as_slice()].into_iter(), &mut batch).unwrap();
    let expected = Creds {
        syscall: 105,
        uids: ids,
        gids: ids,
        cap_effective: 5,
        user_ns_level: 1,
        ..Creds::default()
    };
    let read = wire::decode_batch(&batch).unwrap();
    assert_eq!(read.records[0].event, Event::Creds(expected));
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

/// One payload's bytes in a batch of one record of `kind`.
fn with_payload(kind: Kind, payload: impl serde::Serialize) -> Vec<u8> {
    let place = (0u64, 0u32);
    let record = (kind as u16, kind.stream(), 1u16, 8u64, 9u64);
    let (kind, stream, cpu, n, time_ns) = record;
    let record = (kind, stream, cpu, n, time_ns, task(b"x"), place, payload);
    let bytes = rmp_serde::to_vec(&record).unwrap();
    let mut batch = Vec::new();
    let head = header("h", Lost::default());
    wire::encode_batch(&head, [bytes.as_slice()].into_iter(), &mut batch).unwrap();
    batch
}

/// A newer collector knows more of a kind: what this version knows of it is read.
#[test]
fn elements_behind_those_that_are_known_are_skipped() {
    let known = (256u32, 12u64, true);
    let newer = (known.0, known.1, known.2, "more", [1, 2, 3], ((), -1));
    for bytes in [
        with_payload(Kind::Exit, known),
        with_payload(Kind::Exit, newer),
    ] {
        let read = wire::decode_batch(&bytes).unwrap();
        let exit = Exit {
            status: 256,
            thread_start_ns: 12,
            process: true,
        };
        assert_eq!(read.records[0].event, Event::Exit(exit));
    }
}

#[test]
fn a_chunk_speaks_for_no_thread() {
    let bytes = with_payload(Kind::Chunk, (0u32, 0u32, serde_bytes::Bytes::new(b"")));
    let read = wire::decode_batch(&bytes).unwrap();
    assert_eq!(read.records[0].task, Task::default());
}

/// By its number, however else its batches look.
#[test]
fn another_schema_is_named() {
    for schema in [0, 2] {
        let mut other = header("h", Lost::default());
        other.schema = schema;
        assert_eq!(
            wire::decode_batch(&encode(&other, &[])),
            Err(WireError::Schema(u64::from(schema)))
        );
    }
    let shorter = rmp_serde::to_vec(&(70_000, "of another shape")).unwrap();
    let error = wire::decode_batch(&shorter).unwrap_err();
    assert_eq!(
        error.to_string(),
        "schema 70000; this version reads 1; run a collector and an analyzer of one version"
    );
}

#[test]
fn an_error_says_little_of_a_long_text() {
    let long = "\u{1b}[2J".repeat(20_000);
    let error =
        wire::decode_batch(&rmp_serde::to_vec(&(1, "h", "boot", &long)).unwrap()).unwrap_err();
    let said = error.to_string();
    assert!(said.len() < 300, "{said}");
    assert!(!said.contains('\u{1b}'), "{said}");
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
    fn every_kind_is_written_and_read_whatever_is_in_it(
        pool in prop::collection::vec(any::<u8>(), 1..2000), taken in any::<u64>(), cpu in any::<u16>(),
    ) {
        let mut drawn = Pool::new(&pool);
        let records: Vec<Record<'_>> =
            Kind::ALL.iter().map(|kind| any::record(*kind, &mut drawn)).collect();
        let lost = Lost {
            load_id: taken,
            taken: Stream::ALL.iter().map(|stream| (*stream, cpu, taken)).collect(),
            reasons: Reason::ALL.iter().map(|reason| (Stream::File, *reason, taken)).collect(),
        };
        let header = any::header(Class::Essential, lost);
        let bytes = encode(&header, &records);
        let batch = wire::decode_batch(&bytes);
        prop_assert_eq!(batch, Ok(wire::Batch { header, records }));
    }

    #[test]
    fn what_is_cut_off_is_refused(
        pool in prop::collection::vec(any::<u8>(), 1..500), which in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(),
    ) {
        let kind = *which.get(Kind::ALL);
        let records = [any::record(kind, &mut Pool::new(&pool))];
        let bytes = encode(&header("h", Lost::default()), &records);
        prop_assert!(wire::decode_batch(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn a_batch_has_at_most_so_many_records(
        pool in prop::collection::vec(any::<u8>(), 1..100), more in 0usize..3,
    ) {
        let mut drawn = Pool::new(&pool);
        let count = wire::MAX_RECORDS - 1 + more;
        let records: Vec<Record<'_>> =
            (0..count).map(|_| any::record(Kind::Exit, &mut drawn)).collect();
        let bytes = encode(&header("h", Lost::default()), &records);
        let read = wire::decode_batch(&bytes).map(|batch| batch.records.len());
        if count > wire::MAX_RECORDS {
            prop_assert_eq!(read, Err(WireError::TooManyRecords(count)));
        } else {
            prop_assert_eq!(read, Ok(count));
        }
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
