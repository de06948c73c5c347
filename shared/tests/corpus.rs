//! The seeds of the fuzz targets `decode`, `sequences` and `words`: one batch of each kind, the
//! golden one, and what is refused. They are what this version writes; RAVN_GOLDEN=1 writes them
//! anew. Other seeds beside them (what once failed) stay.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod any;

use std::fs;
use std::path::Path;

use any::{Pool, batch, header, record};
use ravn_shared::event::{Chunk, Event, Fork, Place, Record, Task};
use ravn_shared::kind::{Class, Kind, Stream};
use ravn_shared::wire::{self, Lost, WireError};

fn seed(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let path = folder.join(target).join(name);
    if std::env::var_os("RAVN_GOLDEN").is_some() {
        fs::write(&path, bytes).unwrap();
    }
    let kept = fs::read(&path).unwrap_or_default();
    assert!(
        kept == bytes,
        "{} is not what this version writes; RAVN_GOLDEN=1 cargo test --test corpus",
        path.display()
    );
}

#[test]
fn each_kind_has_a_batch() {
    let text: Vec<u8> = b"/tmp/x\0\xff/etc/shadow a.b.example "
        .iter()
        .copied()
        .cycle()
        .take(500)
        .collect();
    let mut pool = Pool::new(&text);
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let one = record(*kind, &mut pool);
        let bytes = batch(
            &header(kind.class(), Lost::default()),
            std::slice::from_ref(&one),
        );
        assert_eq!(
            wire::decode_batch(&bytes).unwrap().records,
            std::slice::from_ref(&one)
        );
        seed("decode", &format!("kind_{}", kind.name()), &bytes);
        all.push(one);
    }
    let bytes = batch(&header(Class::Essential, Lost::default()), &all);
    seed("decode", "kinds", &bytes);
    seed("decode", "cut", &bytes[..bytes.len() / 2]);
    let unknown = Event::Unknown {
        kind: 999,
        stream: Stream::Security,
    };
    let one = Record {
        event: unknown,
        ..all[0].clone()
    };
    let bytes = batch(&header(Class::Essential, Lost::default()), &[one]);
    seed("decode", "unknown_kind", &bytes);
}

#[test]
fn what_is_refused_has_a_batch() {
    let empty = |schema| {
        let mut header = header(Class::Essential, Lost::default());
        header.schema = schema;
        batch(&header, &[])
    };
    let many = vec![record(Kind::Exit, &mut Pool::new(b"\0")); 257];
    let many = batch(&header(Class::Essential, Lost::default()), &many);
    let text = rmp_serde::to_vec(&(1, "h", "boot", "\u{1b}".repeat(600))).unwrap();
    for (name, bytes, error) in [
        ("schema_0", empty(0), Some(WireError::Schema(0))),
        ("schema_2", empty(2), Some(WireError::Schema(2))),
        ("empty", empty(1), None),
        ("deep", vec![0x91; 64], Some(WireError::TooDeep)),
        ("trailing", vec![0; 2], Some(WireError::Trailing(1))),
        (
            "long",
            vec![0xdd, 255, 255, 255, 255],
            Some(WireError::Truncated(0)),
        ),
        ("many", many, Some(WireError::TooManyRecords(257))),
        ("text", text, None),
    ] {
        if let Some(error) = error {
            let refused = wire::decode_batch(&bytes).unwrap_err();
            assert_eq!(
                std::mem::discriminant(&refused),
                std::mem::discriminant(&error),
                "{name}: {refused}"
            );
        }
        seed("decode", name, &bytes);
    }
}

/// Words: `threads` defined, switched between, with syscalls and marks of time.
fn words(threads: u8) -> (Vec<u8>, u32) {
    let mut words = Vec::new();
    let mut count = 0;
    let word = |word: u16, words: &mut Vec<u8>| words.extend(word.to_le_bytes());
    for thread in 0..threads {
        word(0x8040 | u16::from(thread), &mut words);
        for number in [100 + u64::from(thread), 100] {
            words.extend(number.to_le_bytes());
        }
        for number in [10 + u32::from(thread), 10, u32::from(thread), 1] {
            words.extend(number.to_le_bytes());
        }
        for call in [257, 0, 0x0803, 0x1802, 0x2001, 0x4004] {
            word(call, &mut words);
            count += 1;
        }
        word(0x8080, &mut words);
        word(u16::from(thread), &mut words);
    }
    word(0x8000, &mut words);
    word(60, &mut words);
    (words, count + 1)
}

#[test]
fn sequences_have_chunks() {
    for threads in [1, 3, 64] {
        seed("words", &format!("threads_{threads}"), &words(threads).0);
    }
    seed("words", "cut", &words(1).0[..20]);
    seed("words", "nobody", &[1, 0, 2, 0]);
    seed("words", "unknown", &[0xc0, 0xff]);

    let (bytes, count) = words(3);
    let chunk = |n, time_ns| Record {
        cpu: 1,
        n,
        time_ns,
        task: Task::default(),
        place: Place::default(),
        event: Event::Chunk(Chunk {
            count,
            ticks: 1,
            words: &bytes,
        }),
    };
    let fork = Record {
        cpu: 1,
        n: 5,
        time_ns: 50,
        task: Task {
            tgid: 10,
            pid: 10,
            start_ns: 100,
            ..Task::default()
        },
        place: Place {
            first_n: 0,
            word: 20,
        },
        event: Event::Fork(Fork {
            child_tgid: 11,
            child_pid: 11,
            child_start_ns: 101,
            thread: false,
        }),
    };
    let lost = Lost {
        load_id: 1,
        taken: vec![(Stream::Sequence, 1, u64::from(count) * 2)],
        reasons: Vec::new(),
    };
    let head = |class| header(class, lost.clone());
    let batches = [
        batch(&head(Class::Essential), &[fork]),
        batch(&head(Class::Sequences), &[chunk(0, 10)]),
        batch(
            &head(Class::Sequences),
            &[chunk(u64::from(count), 2_000_000_000)],
        ),
    ];
    let mut bytes = Vec::new();
    for batch in &batches {
        wire::decode_batch(batch).unwrap();
        bytes.extend(u16::try_from(batch.len()).unwrap().to_le_bytes());
        bytes.extend(batch);
    }
    seed("sequences", "fork_and_chunks", &bytes);
}
