//! Promise: a collector and an analyzer of two versions with one schema read each other as far as
//! both know; a batch of another schema is set aside, and the operator is told what to do.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use ravn_shared::clock;
use ravn_shared::event::{Event, Exit, Place, Record, Task};
use ravn_shared::kind::{Class, Stream};
use ravn_shared::wire::{self, Header, Lost, SCHEMA};
use ravn_tests::harness::ledger::{alerts, check_balance};
use ravn_tests::harness::{Sandbox, sandbox::PATIENCE, wait_until};

/// An analyzer of the host `this`, alone: the test is the collector.
fn analyzer() -> Sandbox {
    let mut sandbox = Sandbox::new().unwrap();
    sandbox.write_analyzer_toml("host = \"this\"\n").unwrap();
    sandbox.start_analyzer().unwrap();
    sandbox
}

fn push(sandbox: &Sandbox, schema: u16, records: &[Vec<u8>]) {
    let taken = [Stream::Syscall, Stream::Security].map(|stream| (stream, 0, 2));
    let header = Header {
        schema,
        host: "this",
        boot_id: &clock::boot_id().unwrap(),
        run_id: 1,
        batch_no: 0,
        clock_offset_ns: clock::offset_ns(),
        class: Class::Essential,
        source: ("x86_64", 250),
        lost: Lost {
            load_id: 1,
            taken: taken.to_vec(),
            reasons: Vec::new(),
        },
    };
    let mut bytes = Vec::new();
    wire::encode_batch(&header, records.iter().map(Vec::as_slice), &mut bytes).unwrap();
    let mut admin = sandbox.redis.admin().unwrap();
    let mut push = redis::cmd("LPUSH");
    push.arg("events:raw").arg(bytes).exec(&mut admin).unwrap();
}

fn record(n: u64, event: Event<'static>) -> Record<'static> {
    Record {
        cpu: 0,
        n,
        time_ns: clock::boottime_ns(),
        task: Task {
            tgid: 4242,
            pid: 4242,
            start_ns: 7,
            comm: b"newer",
            ..Task::default()
        },
        place: Place::default(),
        event,
    }
}

fn encoded(record: &Record<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    wire::encode_record(record, &mut bytes).unwrap();
    bytes
}

/// An exit's record with two more elements in its payload than this version knows.
fn longer(n: u64) -> Vec<u8> {
    let mut bytes = encoded(&record(
        n,
        Event::Exit(Exit {
            status: 0,
            thread_start_ns: 7,
            process: false,
        }),
    ));
    // The payload is last: an array of three, of which each element is one byte.
    let at = bytes.len() - 4;
    assert_eq!(bytes[at], 0x93);
    bytes[at] = 0x95;
    bytes.extend([0xa1, b'x', 0x2a]);
    bytes
}

#[test]
fn what_a_newer_collector_adds_is_read_as_far_as_it_is_known() {
    let sandbox = analyzer();
    let unknown = |n| {
        let stream = Stream::Security;
        encoded(&record(n, Event::Unknown { kind: 999, stream }))
    };
    push(
        &sandbox,
        SCHEMA,
        &[longer(0), unknown(0), longer(1), unknown(1)],
    );
    let status = wait_until(PATIENCE, "four records in the ledger", || {
        let status = sandbox.status()?;
        let judged = status["ledger"]["records"]["judged"].as_u64();
        Ok((judged == Some(4)).then_some(status))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{:#}", sandbox.status().unwrap_or_default()));
    assert_eq!(status["unknown_kinds"], 2, "{status:#}");
    assert_eq!(status["dead_batches"], 0, "{status:#}");
    check_balance(&status["ledger"]).unwrap();
    let doctor = sandbox.ravn(&["doctor"]).unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(
        said.contains("2 records of kinds that this analyzer does not know"),
        "{said}"
    );
}

#[test]
fn a_batch_of_another_schema_is_dead_counted_and_named() {
    let sandbox = analyzer();
    push(&sandbox, 0, &[]);
    push(&sandbox, 2, &[longer(0)]);
    wait_until(PATIENCE, "two dead batches in the state", || {
        let dead = sandbox.status()?["dead_batches"].as_u64();
        Ok((dead == Some(2)).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{:#}", sandbox.status().unwrap_or_default()));
    let mut admin = sandbox.redis.admin().unwrap();
    let letters: u64 = redis::cmd("LLEN")
        .arg("events:dead")
        .query(&mut admin)
        .unwrap();
    assert_eq!(letters, 2);
    let log = sandbox.analyzer.as_ref().unwrap().log();
    for schema in [0, 2] {
        let words = format!(
            "schema {schema}; this version reads 1; run a collector and an analyzer of one version"
        );
        assert!(log.contains(&words), "{log}");
    }
    let alerted = |body: &str| body.contains("ravn-undecodable") && body.contains("schema 0");
    wait_until(PATIENCE, "the alert", || {
        let alerts = alerts(&sandbox)?;
        let found = alerts.iter().any(|(_, body)| alerted(&body.to_string()));
        Ok(found.then_some(()))
    })
    .unwrap();
}
