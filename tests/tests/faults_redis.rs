//! Promise: whatever becomes of Redis, both daemons come back by themselves within five seconds
//! of its end, every event is judged or counted as lost, nothing is said twice, and neither
//! watchdog is missed. Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use anyhow::Result;
use ravn_tests::harness::sandbox::PATIENCE;
use ravn_tests::harness::{Line, Sandbox, wait_until};

#[test]
fn killed_and_back_without_its_data() {
    let Some(mut line) = Line::start("faults_redis::killed_and_back_without_its_data").unwrap()
    else {
        return;
    };
    line.storm(6000, 2000).unwrap();
    line.attack().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    line.sandbox.redis.kill();
    std::thread::sleep(Duration::from_secs(1));
    line.sandbox.redis.run().unwrap();
    line.forget_alerts();
    let ended = Instant::now();
    line.after_fault(ended).unwrap();
}

/// What waited in Redis is the loss of Redis: counted, and told as such.
#[test]
fn killed_with_a_full_list() {
    let Some(mut line) = Line::start("faults_redis::killed_with_a_full_list").unwrap() else {
        return;
    };
    line.analyzer().unwrap().signal(libc::SIGSTOP).unwrap();
    line.storm(4000, 4000).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    line.sandbox.redis.kill();
    line.analyzer().unwrap().signal(libc::SIGCONT).unwrap();
    line.sandbox.redis.run().unwrap();
    line.forget_alerts();
    let ledger = line.after_fault(Instant::now()).unwrap();
    let lost = ledger["records"]["lost"]["redis.data_lost"].as_u64();
    assert!(lost > Some(4000), "{ledger}");
}

#[test]
fn killed_and_back_with_its_data() {
    let name = "faults_redis::killed_and_back_with_its_data";
    let mut sandbox = Sandbox::without_redis().unwrap();
    sandbox.redis.set_options(&["--appendonly", "yes"]);
    sandbox.redis.run().unwrap();
    let Some(mut line) = Line::within(name, sandbox).unwrap() else {
        return;
    };
    line.storm(6000, 2000).unwrap();
    line.attack().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    line.sandbox.redis.kill();
    std::thread::sleep(Duration::from_secs(1));
    line.attack().unwrap();
    line.sandbox.redis.run().unwrap();
    let ended = Instant::now();
    line.after_fault(ended).unwrap();
}

#[test]
fn stopped_for_twenty_seconds() {
    let Some(mut line) = Line::start("faults_redis::stopped_for_twenty_seconds").unwrap() else {
        return;
    };
    line.storm(40_000, 2000).unwrap();
    line.sandbox.redis.signal(libc::SIGSTOP).unwrap();
    line.attack().unwrap();
    std::thread::sleep(Duration::from_secs(20));
    line.sandbox.redis.signal(libc::SIGCONT).unwrap();
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();
}

/// For longer than a watchdog waits, and with new connections in that time.
#[test]
fn full() {
    let Some(mut line) = Line::start("faults_redis::full").unwrap() else {
        return;
    };
    line.order(&["CONFIG", "SET", "maxmemory", "1mb"]).unwrap();
    line.storm(10_000, 5000).unwrap();
    line.both_say("OOM").unwrap();
    std::thread::sleep(Duration::from_secs(8));
    for user in ["ravn-collector", "ravn-analyzer"] {
        line.order(&["CLIENT", "KILL", "USER", user]).unwrap();
    }
    std::thread::sleep(Duration::from_secs(4));
    line.order(&["CONFIG", "SET", "maxmemory", "512mb"])
        .unwrap();
    line.after_fault(Instant::now()).unwrap();
}

/// Something else filled Redis: halving the list once is not enough, and nothing but the
/// collector can free any more.
#[test]
fn filled_by_another() {
    let Some(mut line) = Line::start("faults_redis::filled_by_another").unwrap() else {
        return;
    };
    line.analyzer().unwrap().signal(libc::SIGSTOP).unwrap();
    line.storm(20_000, 8000).unwrap();
    std::thread::sleep(Duration::from_secs(4));
    let raw = line.sandbox.keys().raw();
    let mut admin = line.sandbox.redis.admin().unwrap();
    let waiting: usize = redis::cmd("MEMORY")
        .arg(&["USAGE", &raw, "SAMPLES", "0"])
        .query(&mut admin)
        .unwrap();
    let most = used(&mut admin) + (64 << 10);
    redis::cmd("SET")
        .arg("another")
        .arg(vec![0_u8; waiting / 100 * 58])
        .exec(&mut admin)
        .unwrap();
    redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", &most.to_string()])
        .exec(&mut admin)
        .unwrap();
    line.analyzer().unwrap().signal(libc::SIGCONT).unwrap();
    line.attack().unwrap();
    line.both_say("OOM").unwrap();
    wait_until(Duration::from_secs(5), "room in Redis", || {
        Ok((used(&mut admin) < most).then_some(()))
    })
    .unwrap();
    drop(admin);
    line.after_fault(Instant::now()).unwrap();
}

/// What fills Redis lies in the analyzer's own list: nobody but the analyzer can free any.
#[test]
fn filled_by_what_is_taken() {
    let Some(mut line) = Line::start("faults_redis::filled_by_what_is_taken").unwrap() else {
        return;
    };
    fill_by_what_is_taken(&mut line, false);
}

/// And no session can be had: to announce one takes memory too.
#[test]
fn filled_by_what_is_taken_and_cut_off() {
    let name = "faults_redis::filled_by_what_is_taken_and_cut_off";
    let Some(mut line) = Line::start(name).unwrap() else {
        return;
    };
    fill_by_what_is_taken(&mut line, true);
}

fn fill_by_what_is_taken(line: &mut Line, cut_off: bool) {
    let mut admin = line.sandbox.redis.admin().unwrap();
    let taken = wait_until(PATIENCE, "batches that are taken and not covered", || {
        line.analyzer()?.signal(libc::SIGSTOP)?;
        line.storm(4000, 8000)?;
        std::thread::sleep(Duration::from_secs(2));
        line.analyzer()?.signal(libc::SIGCONT)?;
        taken_whole(line, &mut admin)
    })
    .unwrap();
    // All but the last of it has to go: nothing that is there may wait for something to come.
    let most = used(&mut admin) - taken / 10 * 9;
    redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", &most.to_string()])
        .exec(&mut admin)
        .unwrap();
    if cut_off {
        line.order(&["CLIENT", "KILL", "USER", "ravn-analyzer"])
            .unwrap();
    }
    line.analyzer().unwrap().signal(libc::SIGCONT).unwrap();
    wait_until(PATIENCE, "a word of the analyzer", || {
        Ok((line.analyzer()?.says("OOM") > 0).then_some(()))
    })
    .unwrap();
    // Without a session: what waits 1.5 s by design, and then an attempt, every 2 s by then.
    wait_until(Duration::from_secs(10), "room in Redis", || {
        Ok((used(&mut admin) < most).then_some(()))
    })
    .unwrap();
    drop(admin);
    // So little room is enough to get out of it, not to work in.
    line.order(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    line.after_fault(Instant::now()).unwrap();
}

/// Stops the analyzer when it has taken all that waits; bytes of what it has not covered then,
/// None if it was too quick.
fn taken_whole(line: &mut Line, admin: &mut redis::Connection) -> Result<Option<usize>> {
    let keys = line.sandbox.keys();
    wait_until(PATIENCE, "an empty queue", || {
        let waiting: u64 = redis::cmd("LLEN").arg(keys.raw()).query(admin)?;
        Ok((waiting == 0).then_some(()))
    })?;
    line.analyzer()?.signal(libc::SIGSTOP)?;
    let consumers: Vec<String> = redis::cmd("SMEMBERS").arg(keys.consumers()).query(admin)?;
    let mut bytes = 0;
    for consumer in consumers {
        let usage: Option<usize> = redis::cmd("MEMORY")
            .arg("USAGE")
            .arg(keys.inflight(&consumer))
            .arg(&["SAMPLES", "0"])
            .query(admin)?;
        bytes += usage.unwrap_or(0);
    }
    Ok((bytes > 256 << 10).then_some(bytes))
}

/// Bytes that Redis uses.
fn used(admin: &mut redis::Connection) -> usize {
    let info: redis::InfoDict = redis::cmd("INFO").arg("memory").query(admin).unwrap();
    info.get("used_memory").unwrap()
}

#[test]
fn read_only() {
    let Some(mut line) = Line::start("faults_redis::read_only").unwrap() else {
        return;
    };
    line.order(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    line.storm(4000, 2000).unwrap();
    line.both_say_once("this is a replica").unwrap();
    line.order(&["REPLICAOF", "NO", "ONE"]).unwrap();
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();
}

#[test]
fn with_another_password() {
    let Some(mut line) = Line::start("faults_redis::with_another_password").unwrap() else {
        return;
    };
    line.storm(4000, 2000).unwrap();
    for user in ["ravn-collector", "ravn-analyzer"] {
        line.order(&["ACL", "SETUSER", user, "resetpass", ">another"])
            .unwrap();
        line.order(&["CLIENT", "KILL", "USER", user]).unwrap();
    }
    line.both_say_once("check redis.username and redis.password_file")
        .unwrap();
    for user in ["collector", "analyzer"] {
        let file = line.sandbox.folder().join(format!("{user}.password"));
        std::fs::write(file, "another\n").unwrap();
    }
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();
}

#[test]
fn without_its_socket_file() {
    let Some(mut line) = Line::start("faults_redis::without_its_socket_file").unwrap() else {
        return;
    };
    line.storm(4000, 2000).unwrap();
    let mut admin = line.sandbox.redis.admin().unwrap();
    std::fs::remove_file(line.sandbox.redis.socket()).unwrap();
    redis::cmd("CLIENT")
        .arg(&["KILL", "SKIPME", "yes"])
        .exec(&mut admin)
        .unwrap();
    drop(admin);
    line.both_say_once("No such file").unwrap();
    line.sandbox.redis.kill();
    line.sandbox.redis.run().unwrap();
    line.forget_alerts();
    line.after_fault(Instant::now()).unwrap();
}
