//! Promise: a time of day that is set changes no word, loses nothing, and holds nobody up: what
//! is judged has the time since boot. Needs root, BPF and libfaketime.
//!
//! Redis does not run under libfaketime (both bring an allocator's tricks); what a set clock
//! does to it is done by hand: keys that expire are gone at once, or stand for hours.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use ravn_tests::harness::clock::Clock;
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::{Line, Sandbox, wait_until};

const HOUR: i64 = 3600;

/// The time of day as the analyzer last told it, against the true one, seconds.
fn told(line: &Line) -> i64 {
    let mut admin = line.sandbox.redis.admin().unwrap();
    let updated: Option<i64> = redis::cmd("HGET")
        .arg(&["ravn:state", "updated"])
        .query(&mut admin)
        .unwrap();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    updated.unwrap_or_default() / 1000 - i64::try_from(now.as_secs()).unwrap()
}

/// Waits until the analyzer's clock is about so far off.
fn wait_told(line: &Line, off: i64) {
    wait_until(
        Duration::from_secs(5),
        "the analyzer's clock to be set",
        || Ok((told(line).abs_diff(off) < 60).then_some(())),
    )
    .unwrap_or_else(|error| panic!("{error:#}: {} s off", told(line)));
}

#[test]
fn set_forward_and_back() {
    let name = "faults_clock::set_forward_and_back";
    if !can_run(name, Need::Faketime).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    let clock = Clock::new(sandbox.folder()).unwrap();
    sandbox.environment = clock.variables();
    let Some(mut line) = Line::within(name, sandbox).unwrap() else {
        return;
    };
    line.storm(16_000, 2000).unwrap();
    clock.set(HOUR).unwrap();
    line.order(&["DEL", "events:lease", "threat_level", "ravn:state"])
        .unwrap();
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();
    wait_told(&line, HOUR);
    clock.set(-HOUR).unwrap();
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();
    wait_told(&line, -HOUR);
    // Killed, they would leave libfaketime's shared memory behind.
    line.analyzer().unwrap().stop().unwrap();
    line.collector().unwrap().stop().unwrap();
}

/// The lease of a holder that is gone would stand for two hours.
#[test]
fn a_stand_by_does_not_wait_for_a_clock_that_was_set_back() {
    let name = "faults_clock::a_stand_by_does_not_wait_for_a_clock_that_was_set_back";
    let Some(mut line) = Line::start(name).unwrap() else {
        return;
    };
    let second = line.stand_by("second").unwrap();
    line.analyzer().unwrap().kill().unwrap();
    line.order(&["PEXPIRE", "events:lease", "7200000"]).unwrap();
    line.sandbox.analyzer = Some(second);
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();
}
