//! Promise: while the host is busy, every act is told as on a quiet line: exactly once, with the
//! kernel's truth in its fields; what is not told of files and network is counted, and process
//! life and security are never lost. Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use ravn_shared::event::Record;
use ravn_shared::kind::{Class, Kind, Reason, Stream};
use ravn_tests::acts::mix;
use ravn_tests::harness::programs::program;
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::tally::Tally;
use ravn_tests::harness::truth::Truth;
use ravn_tests::harness::{Sandbox, every_act};

/// Processes that make the load; more than CPUs here, so that everybody waits for one.
const NOISE: usize = 3;

/// How often every act is done.
const ROUNDS: usize = 5;

/// A process of the load, which ends with the test.
struct Noise(Child);

impl Noise {
    fn start(sandbox: &Sandbox) -> Self {
        let mut command = sandbox.command(program("trigger").unwrap()).unwrap();
        let folder = sandbox.folder().to_string_lossy();
        command.args(["mix", &folder, &u64::MAX.to_string()]);
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Of whom the records are held against the truth: the load goes by a name of its own.
fn no_noise(record: &Record<'_>) -> bool {
    record.task.comm != mix::NAME.as_bytes()
}

#[test]
fn every_act_is_told_under_load() {
    let name = "kernel_load::every_act_is_told_under_load";
    if !can_run(name, Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    every_act::prepare(&sandbox, "").unwrap();
    sandbox.start_collector().unwrap();
    let mut tally = Tally::default();
    tally.keep = Some(no_noise);
    let truths = std::thread::scope(|scope| {
        let acting = scope.spawn(|| {
            let noise: Vec<_> = (0..NOISE).map(|_| Noise::start(&sandbox)).collect();
            let mut truths = Vec::new();
            for _ in 0..ROUNDS {
                for group in every_act::GROUPS {
                    group(&sandbox, &mut |args| {
                        truths.push((args.join(" "), sandbox.trigger(args)?));
                        Ok(())
                    })
                    .unwrap();
                }
                every_act::clean(&sandbox).unwrap();
            }
            for mut noise in noise {
                let ended = noise.0.try_wait().unwrap();
                assert!(ended.is_none(), "the load ended by itself: {ended:?}");
            }
            truths
        });
        let mut connection = sandbox.redis.admin().unwrap();
        let key = sandbox.keys().raw();
        let mut take = |tally: &mut Tally, enough: &dyn Fn(&Tally) -> bool| {
            let deadline = Instant::now() + Duration::from_secs(60);
            tally
                .take_until(&mut connection, &key, deadline, enough)
                .unwrap();
        };
        take(&mut tally, &|_| acting.is_finished());
        let truths = acting.join().unwrap();
        let fence = sandbox.trigger(&["fence"]).unwrap();
        take(&mut tally, &|tally| {
            let gone = |seen: &_| told(seen, &fence, "exit");
            tally.kept.iter().any(gone) && BALANCED.iter().all(|stream| tally.balances(*stream))
        });
        truths
    });
    eprintln!("{} acts under load; {tally}", truths.len());
    assert_eq!(tally.repeated, 0);
    for stream in [Stream::Syscall, Stream::Security] {
        assert_eq!(tally.lost(stream), 0, "{tally}");
    }
    // The load was one: most of what happened, whatever share of the CPUs it got.
    let records: u64 = tally.kinds.values().sum();
    assert!(records > 5 * tally.kept.len() as u64, "{tally}");

    // Every kind of the programs has an act; the others are the collector's own, and chunks.
    for kind in Kind::ALL
        .iter()
        .filter(|kind| kind.stream() != Stream::Collector)
    {
        let acted = truths.iter().any(|(_, truth)| truth.kind == kind.name());
        let elsewhere = match kind {
            Kind::Chunk => true,
            Kind::Compat => !cfg!(target_arch = "x86_64"),
            _ => false,
        };
        assert!(acted || elsewhere, "no act is of kind {}", kind.name());
    }
    let cgroup = sandbox.cgroup().unwrap().id().unwrap();
    let mut excused = Vec::new();
    for (words, truth) in &truths {
        if let Err(error) = truth.check(&tally.kept, cgroup) {
            assert!(
                truth.records(&tally.kept).is_empty() && may_be_lost(truth, &tally),
                "{words}: {error:#}\n{tally}"
            );
            excused.push(words);
        }
    }
    assert!(
        excused.len() as u64 <= lost(&tally),
        "not told, and not counted: {excused:?}\n{tally}"
    );
}

/// The streams whose numbers are held against each other.
const BALANCED: [Stream; 4] = [
    Stream::Syscall,
    Stream::File,
    Stream::Network,
    Stream::Security,
];

fn told(seen: &ravn_tests::harness::events::Seen, truth: &Truth, kind: &str) -> bool {
    seen.tgid == truth.tgid && seen.kind == kind
}

/// Whether an act is of little value, and its stream lost something.
fn may_be_lost(truth: &Truth, tally: &Tally) -> bool {
    let kind = kind(&truth.kind);
    kind.class() == Class::Ordinary && lost_of(kind.stream(), tally) > 0
}

fn kind(name: &str) -> Kind {
    let mut all = Kind::ALL.iter().copied();
    all.find(|kind| kind.name() == name).unwrap()
}

/// What a stream lost, but for what one process alone had too much of: no trigger comes near.
fn lost_of(stream: Stream, tally: &Tally) -> u64 {
    let recursion = tally.lost_by(stream, Reason::Recursion);
    tally.lost(stream) + recursion - tally.lost_by(stream, Reason::Budget)
}

fn lost(tally: &Tally) -> u64 {
    [Stream::File, Stream::Network]
        .into_iter()
        .map(|stream| lost_of(stream, tally))
        .sum()
}
