//! Promise: analyzers may be killed, stopped and continued at any moment: another one, or the
//! next, goes on from the last commit, and nothing happens twice. Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use ravn_tests::harness::{Line, sandbox::PATIENCE, wait_until};

/// Rounds of SIGKILL; `scripts/soak kills` asks for more.
fn rounds() -> usize {
    std::env::var("RAVN_KILLS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(10)
}

#[test]
fn killed_at_random_times() {
    let Some(mut line) = Line::start("faults_analyzer::killed_at_random_times").unwrap() else {
        return;
    };
    let rounds = rounds();
    for round in 0..rounds {
        line.storm(2000, 4000).unwrap();
        // Of one rule only so many alerts are made in an hour.
        if round % rounds.div_ceil(10) == 0 {
            line.attack().unwrap();
        }
        let random = ravn_shared::link::random_id() % 600;
        std::thread::sleep(Duration::from_millis(random));
        line.analyzer().unwrap().kill().unwrap();
        line.sandbox
            .start_analyzer()
            .unwrap_or_else(|error| panic!("round {round}: {error:#}"));
    }
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();
}

/// What waits for other CPUs' sequences waits no longer than it must.
#[test]
fn a_stop_leaves_nothing_in_flight() {
    let name = "faults_analyzer::a_stop_leaves_nothing_in_flight";
    let Some(mut line) = Line::start(name).unwrap() else {
        return;
    };
    line.storm(2000, 4000).unwrap();
    line.collector().unwrap().signal(libc::SIGSTOP).unwrap();
    line.analyzer().unwrap().stop().unwrap();
    let (keys, mut admin) = (line.sandbox.keys(), line.sandbox.redis.admin().unwrap());
    let consumers: Vec<String> = redis::cmd("SMEMBERS")
        .arg(keys.consumers())
        .query(&mut admin)
        .unwrap();
    assert!(!consumers.is_empty());
    for consumer in consumers {
        let waiting: u64 = redis::cmd("LLEN")
            .arg(keys.inflight(&consumer))
            .query(&mut admin)
            .unwrap();
        assert_eq!(waiting, 0, "{consumer}");
    }
    line.collector().unwrap().signal(libc::SIGCONT).unwrap();
    line.sandbox.start_analyzer().unwrap();
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();
}

#[test]
fn a_stand_by_takes_over_from_a_killed_one() {
    let name = "faults_analyzer::a_stand_by_takes_over_from_a_killed_one";
    let Some(mut line) = Line::start(name).unwrap() else {
        return;
    };
    let second = line.stand_by("second").unwrap();
    line.storm(4000, 2000).unwrap();
    line.attack().unwrap();
    line.analyzer().unwrap().kill().unwrap();
    line.sandbox.analyzer = Some(second);
    let ledger = line.after_fault(Instant::now()).unwrap();
    line.check_whole(&ledger).unwrap();
}

/// It wakes with a lease that is another's, in the middle of whatever it did, and before any of
/// its own deadlines: only the lease that each commit watches holds it back.
#[test]
fn a_stopped_one_that_continues_commits_nothing() {
    let name = "faults_analyzer::a_stopped_one_that_continues_commits_nothing";
    let Some(mut line) = Line::start(name).unwrap() else {
        return;
    };
    let second = line.stand_by("second").unwrap();
    line.storm(8000, 2000).unwrap();
    line.attack().unwrap();
    line.analyzer().unwrap().signal(libc::SIGSTOP).unwrap();
    let stopped = Instant::now();
    let mut first = line.sandbox.analyzer.replace(second).unwrap();
    wait_until(PATIENCE, "the second to hold the lease", || {
        let mut asked = redis::cmd("GET");
        asked.arg("events:lease");
        let holder: Option<String> = asked.query(&mut line.sandbox.redis.admin()?)?;
        Ok(holder.filter(|holder| holder.ends_with(":second")))
    })
    .unwrap();
    first.signal(libc::SIGCONT).unwrap();
    wait_until(PATIENCE, "the first to see that its lease is lost", || {
        let lost = first.says("the lease is lost") > 0;
        let stands_by = first.said().status.contains("standing by for");
        Ok((lost && stands_by).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", first.log()));
    let ledger = line.after_fault(stopped).unwrap();
    line.check_whole(&ledger).unwrap();
    assert!(first.has_ended().unwrap().is_none());
}

/// Its rings fill meanwhile; what they cannot hold is counted by the kernel's side.
#[test]
fn the_collector_stopped_for_ten_seconds() {
    let name = "faults_analyzer::the_collector_stopped_for_ten_seconds";
    let Some(mut line) = Line::start(name).unwrap() else {
        return;
    };
    line.stopped = Some("collector");
    line.storm(60_000, 10_000).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    line.collector().unwrap().signal(libc::SIGSTOP).unwrap();
    std::thread::sleep(Duration::from_secs(10));
    line.collector().unwrap().signal(libc::SIGCONT).unwrap();
    line.after_fault(Instant::now()).unwrap();
}
