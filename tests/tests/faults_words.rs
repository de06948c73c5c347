//! Promise: whatever Redis refuses, each daemon says once what and the mend, and goes on by
//! itself when it is mended; what is no batch of this host's is set aside, counted, alerted on.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use ravn_shared::kind::Class;
use ravn_shared::wire::{self, Header, Lost, SCHEMA};
use ravn_tests::harness::ledger::alerts;
use ravn_tests::harness::{Line, Sandbox, sandbox::PATIENCE, wait_until};

#[test]
fn without_its_rights() {
    let Some(mut line) = Line::start("faults_words::without_its_rights").unwrap() else {
        return;
    };
    line.order(&["ACL", "SETUSER", "ravn-collector", "-lpush"])
        .unwrap();
    line.order(&["ACL", "SETUSER", "ravn-analyzer", "-multi"])
        .unwrap();
    line.storm(2000, 2000).unwrap();
    line.both_say_once("load the ACL file that came with RAVN")
        .unwrap();
    line.order(&["ACL", "SETUSER", "ravn-collector", "+lpush"])
        .unwrap();
    line.order(&["ACL", "SETUSER", "ravn-analyzer", "+multi"])
        .unwrap();
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();
}

#[test]
fn with_a_disk_that_takes_nothing() {
    let mut sandbox = Sandbox::without_redis().unwrap();
    sandbox.redis.set_options(&["--save", "3600 1"]);
    sandbox.redis.run().unwrap();
    let name = "faults_words::with_a_disk_that_takes_nothing";
    let Some(mut line) = Line::within(name, sandbox).unwrap() else {
        return;
    };
    let mut admin = line.sandbox.redis.admin().unwrap();
    let mut save = || redis::cmd("BGSAVE").exec(&mut admin).unwrap();
    // A folder where its file must go.
    let dump = line.sandbox.folder().join("dump.rdb");
    std::fs::create_dir(&dump).unwrap();
    save();
    line.both_say_once("Redis cannot save to disk").unwrap();
    std::fs::remove_dir(&dump).unwrap();
    save();
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();
}

#[test]
fn while_it_loads() {
    let Some(mut line) = Line::start("faults_words::while_it_loads").unwrap() else {
        return;
    };
    let mut admin = line.sandbox.redis.admin().unwrap();
    let mut many = redis::pipe();
    for n in 0..1500 {
        many.cmd("SET").arg(format!("other:{n}")).arg(n).ignore();
    }
    many.exec(&mut admin).unwrap();
    redis::cmd("SAVE").exec(&mut admin).unwrap();
    line.sandbox.redis.kill();
    // A large file takes seconds; here each key does its part of them.
    let slow = [
        ["--key-load-delay", "2000"],
        ["--loading-process-events-interval-bytes", "1024"],
    ];
    line.sandbox.redis.set_options(slow.as_flattened());
    line.sandbox.redis.run().unwrap();
    let ended = Instant::now();
    line.forget_alerts();
    line.both_say_once("Redis is loading its data").unwrap();
    line.after_fault(ended).unwrap();
}

/// An empty batch of `host`.
fn batch(host: &str) -> Vec<u8> {
    let header = Header {
        schema: SCHEMA,
        host,
        boot_id: &[1; 16],
        run_id: 1,
        batch_no: 0,
        clock_offset_ns: 0,
        class: Class::Essential,
        source: ("x86_64", 250),
        lost: Lost::default(),
    };
    let mut bytes = Vec::new();
    wire::encode_batch(&header, std::iter::empty(), &mut bytes).unwrap();
    bytes
}

#[test]
fn what_is_not_of_this_host_is_set_aside_and_alerted_on() {
    let mut sandbox = Sandbox::new().unwrap();
    sandbox.write_analyzer_toml("host = \"this\"\n").unwrap();
    sandbox.start_analyzer().unwrap();
    let mut admin = sandbox.redis.admin().unwrap();
    let mut push = |bytes: &[u8]| {
        let mut push = redis::cmd("LPUSH");
        push.arg("events:raw").arg(bytes).exec(&mut admin).unwrap();
    };
    push(&batch("this"));
    push(&batch("that\u{1b}[2J"));
    push(b"no batch");
    let alerted = |rule: &str| {
        wait_until(PATIENCE, rule, || {
            let alerts = alerts(&sandbox)?;
            let alert = alerts
                .iter()
                .map(|(_, body)| body.to_string())
                .find(|body| body.contains(rule));
            Ok(alert)
        })
        .unwrap()
    };
    let forged = alerted("ravn-forged-batch");
    assert!(
        forged.contains("that") && !forged.contains('\u{1b}'),
        "{forged}"
    );
    alerted("ravn-undecodable");
    let letters = [b"no batch".to_vec(), batch("that\u{1b}[2J")];
    wait_until(PATIENCE, "both batches in events:dead", || {
        let mut asked = redis::cmd("LRANGE");
        asked.arg(&["events:dead", "0", "-1"]);
        let dead: Vec<Vec<u8>> = asked.query(&mut sandbox.redis.admin()?)?;
        Ok((dead == letters).then_some(()))
    })
    .unwrap();
    wait_until(Duration::from_secs(5), "two batches counted", || {
        let status = sandbox.status()?;
        Ok((status["dead_batches"] == 2).then_some(()))
    })
    .unwrap();
    assert_eq!(sandbox.level().unwrap().as_deref(), Some("HIGH"));
}
