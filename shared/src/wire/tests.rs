#![allow(clippy::unwrap_used)]

use super::check::check;
use super::*;
use crate::kind::Kind;

/// One record of each kind, its strings not empty where the kind is common.
fn batches() -> Vec<Vec<u8>> {
    let named = crate::event::Named {
        dir: b"/tmp",
        path: &[b'x'; 300],
        resolved: true,
    };
    let rich = [
        Event::Open(crate::event::Open {
            path: b"/etc/shadow",
            flags: u32::MAX,
            ino: u64::MAX,
            ..Default::default()
        }),
        Event::Unlink(named),
        Event::Unknown {
            kind: 9999,
            stream: Stream::File,
        },
    ];
    let empty = (0..128).filter_map(Kind::from_wire).map(Event::empty);
    let all: Vec<Event<'_>> = rich.into_iter().chain(empty).collect();
    all.chunks(4)
        .map(|events| {
            let header = Header {
                schema: SCHEMA,
                host: "a-host",
                boot_id: &[7; 16],
                run_id: u64::MAX,
                batch_no: 300,
                clock_offset_ns: -70_000,
                class: Class::Sequences,
                source: ("x86_64", 250),
                lost: Lost {
                    load_id: 9,
                    taken: vec![(Stream::File, 1, 70_000)],
                    reasons: vec![(Stream::File, Reason::RingFull, 3)],
                },
            };
            let bodies: Vec<Vec<u8>> = events
                .iter()
                .map(|event| {
                    let mut body = Vec::new();
                    let record = Record {
                        cpu: 3,
                        n: 1 << 40,
                        time_ns: 5,
                        task: Task {
                            comm: b"sh",
                            ..Task::default()
                        },
                        place: Place::default(),
                        event: event.clone(),
                    };
                    encode_record(&record, &mut body).unwrap();
                    body
                })
                .collect();
            let mut bytes = Vec::new();
            encode_batch(&header, bodies.iter().map(Vec::as_slice), &mut bytes).unwrap();
            bytes
        })
        .collect()
}

/// Every byte of every batch as it is and changed: both readers refuse the same, and
/// understand the same; what is no value at all is refused by its own name, in one pass.
#[test]
fn the_reader_and_rmp_serde_understand_the_same() {
    let (mut understood, mut refused, mut malformed) = (0, 0, 0);
    for batch in batches() {
        for at in 0..batch.len() {
            for to in [
                batch[at], 0, 1, 0x80, 0x92, 0xa1, 0xc0, 0xc3, 0xc4, 0xcd, 0xd1, 0xff,
            ] {
                let mut bytes = batch.clone();
                bytes[at] = to;
                if let Err(error) = check(&bytes) {
                    assert_eq!(decode_batch(&bytes), Err(error), "byte {at} made {to:#x}");
                    malformed += 1;
                    continue;
                }
                let ours = Flat::deserialize(&mut Reader::new(&bytes));
                let mut theirs = rmp_serde::Deserializer::from_read_ref(&bytes);
                let theirs = Flat::deserialize(&mut theirs);
                match (ours, theirs) {
                    (Ok(ours), Ok(theirs)) => {
                        assert_eq!(ours.header, theirs.header);
                        assert_eq!(ours.records, theirs.records);
                        understood += 1;
                    }
                    (Err(_), Err(_)) => refused += 1,
                    (ours, theirs) => panic!(
                        "byte {at} made {to:#x} of {batch:02x?}: {:?} and {:?}",
                        ours.map(|flat| flat.records),
                        theirs.map(|flat| flat.records)
                    ),
                }
            }
        }
    }
    assert!(
        understood > 10_000 && refused > 1000 && malformed > 1000,
        "{understood} {refused} {malformed}"
    );
}
