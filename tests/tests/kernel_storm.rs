//! Promise: after a storm, what was done = what was delivered + what was counted as lost, to the
//! record. Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ravn_shared::kind::{Kind, Reason, Stream};
use ravn_tests::harness::Sandbox;
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::tally::Tally;

/// Half as many files as records: each is created and removed.
const FILES: u64 = 500_000;

/// Lets four processes make a million records at once, and counts what arrives.
fn storm(name: &str, drop_in: &str) -> Option<Tally> {
    if !can_run(name, Need::Kernel).unwrap() {
        return None;
    }
    let mut sandbox = Sandbox::new().unwrap();
    let folder = sandbox.folder().join("collector.toml.d");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("storm.toml"), drop_in).unwrap();
    sandbox.start_collector().unwrap();
    let files = sandbox.folder().to_str().unwrap().to_owned();
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let storms: Vec<_> = (0..4)
            .map(|_| {
                let args = ["storm", &files, &(FILES / 4).to_string(), "0"].map(str::to_owned);
                let sandbox = &sandbox;
                scope.spawn(move || {
                    let args: Vec<&str> = args.iter().map(String::as_str).collect();
                    sandbox.trigger(&args).map(drop)
                })
            })
            .collect();
        let mut connection = sandbox.redis.admin().unwrap();
        let key = sandbox.keys().raw();
        let deadline = Instant::now() + Duration::from_secs(90);
        // The collector's own proofs of life are in every ring, one record each: what the
        // network ring, which nothing else fills here, took.
        let all = |tally: &Tally| {
            let taken = tally.taken(Stream::File);
            taken == 2 * FILES + tally.taken(Stream::Network)
                && tally.delivered(Stream::File) + tally.lost(Stream::File) == taken
        };
        let arrived = tally.take_until(&mut connection, &key, deadline, all);
        for storm in storms {
            storm.join().unwrap().unwrap();
        }
        arrived.unwrap();
    });
    eprintln!("{tally}");
    assert_eq!(tally.repeated, 0, "{tally}");
    // Who was there from the first to the last act is not lost with them.
    assert_eq!(tally.lost(Stream::Syscall), 0, "{tally}");
    assert_eq!(tally.kinds["exec"], 4, "{tally}");
    Some(tally)
}

#[test]
fn a_million_events_are_delivered_or_counted() {
    let name = "kernel_storm::a_million_events_are_delivered_or_counted";
    let small = "[rings]\nfile = 65536\n[filter]\nbudget = 0\n";
    let Some(tally) = storm(name, small) else {
        return;
    };
    assert_eq!(tally.lost_by(Stream::File, Reason::Budget), 0, "{tally}");
    assert!(tally.delivered(Stream::File) > 0, "{tally}");
}

#[test]
fn what_passes_the_budget_of_a_process_is_cut_and_counted() {
    let name = "kernel_storm::what_passes_the_budget_of_a_process_is_cut_and_counted";
    let Some(tally) = storm(name, "[filter]\nbudget = 1000\n") else {
        return;
    };
    assert!(
        tally.lost_by(Stream::File, Reason::Budget) > FILES,
        "{tally}"
    );
    // Four processes, a thousand a window each, and the storm lasts some windows.
    assert!(tally.delivered(Stream::File) >= 4000, "{tally}");
}

/// Rounds of each of the four processes, of 18 to 19 records: a million in all.
const ROUNDS: u64 = 13_500;

/// The collector's proofs of life in the numbers taken: a record each of these streams.
fn proofs(tally: &Tally, cgroup: u64) -> u64 {
    // The prover stands outside, and nothing of its stream is lost.
    tally.kinds["memfd"] - tally.kinds_of[&(cgroup, "memfd")]
}

/// What was done of a stream's kinds.
fn of_stream(done: &BTreeMap<Kind, u64>, stream: Stream) -> u64 {
    let own = done.iter().filter(|(kind, _)| kind.stream() == stream);
    own.map(|(_, count)| count).sum()
}

#[test]
fn a_million_events_of_many_kinds_are_delivered_or_counted() {
    let name = "kernel_storm::a_million_events_of_many_kinds_are_delivered_or_counted";
    if !can_run(name, Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    let folder = sandbox.folder().join("collector.toml.d");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("storm.toml"), "[filter]\nbudget = 0\n").unwrap();
    sandbox.start_collector().unwrap();
    let cgroup = sandbox.cgroup().unwrap().id().unwrap();
    let files = sandbox.folder().to_str().unwrap().to_owned();
    let streams = [
        Stream::Syscall,
        Stream::File,
        Stream::Network,
        Stream::Security,
    ];
    let mut tally = Tally::default();
    let done = std::thread::scope(|scope| {
        let storms: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| sandbox.trigger(&["mix", &files, &ROUNDS.to_string()])))
            .collect();
        let mut connection = sandbox.redis.admin().unwrap();
        let key = sandbox.keys().raw();
        let mut take = |enough: &dyn Fn(&Tally) -> bool| {
            let deadline = Instant::now() + Duration::from_secs(90);
            tally.take_until(&mut connection, &key, deadline, enough)
        };
        take(&|_| storms.iter().all(|storm| storm.is_finished())).unwrap();
        let mut done = BTreeMap::new();
        for storm in storms {
            let truth = storm.join().unwrap().unwrap();
            for (name, count) in truth.fields["kinds"].as_object().unwrap() {
                let kind = *Kind::ALL.iter().find(|kind| kind.name() == name).unwrap();
                *done.entry(kind).or_default() += count.as_u64().unwrap();
            }
        }
        // An event that found its CPU in another program's hands took no number.
        let all = |tally: &Tally| {
            streams.iter().all(|stream| {
                let recursion = tally.lost_by(*stream, Reason::Recursion);
                let told = tally.taken(*stream) + recursion;
                tally.balances(*stream) && told == of_stream(&done, *stream) + proofs(tally, cgroup)
            })
        };
        take(&all).unwrap_or_else(|error| panic!("done: {done:?}; {error:#}"));
        done
    });
    eprintln!("{tally}");
    let events: u64 = done.values().sum();
    assert!(events > 1_000_000, "{events}");
    assert_eq!(tally.repeated, 0, "{tally}");
    let whole = |stream: Stream| tally.lost(stream) + tally.lost_by(stream, Reason::Recursion) == 0;
    assert!(whole(Stream::Syscall) && whole(Stream::Security), "{tally}");
    for (kind, count) in &done {
        let told = tally.kinds_of.get(&(cgroup, kind.name())).copied();
        let told = told.unwrap_or_default();
        if whole(kind.stream()) {
            assert_eq!(told, *count, "{}: {tally}", kind.name());
        } else {
            assert!(told <= *count, "{}: {tally}", kind.name());
        }
    }
}
