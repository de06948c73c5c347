//! From LPUSH to a checkpoint that covers it, with the scorer off, next to a plain client that
//! LPUSHes and RPOPs the same elements.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ravn_shared::wire::decode_batch;

use super::figure::{Figure, TOTALS, Target};
use super::live::{lost, settled, sum, under_way};
use super::process::{cpu_ns, own_thread_cpu_ns};
use super::recording::Recording;
use super::taken::Taker;
use super::{Report, Settings, progress};
use crate::harness::Sandbox;

/// Rounds of the trigger program's mix that are recorded, by each of two processes; of its
/// syscalls, so many by each of two threads.
const ROUNDS: &str = "2000";
const SYSCALLS: &str = "20000";
/// Rings that hold all of it.
const RINGS: &str = "[rings]\nsyscall = 67108864\nfile = 67108864\nnetwork = 67108864\n\
                     security = 67108864\n";
/// Elements and bytes of one pipeline: the collector's own limits.
const PIPELINE: usize = 32;
const PIPELINE_BYTES: usize = 1 << 20;
/// Batches in Redis at which the pusher waits, as the collector does at a half of its bound.
const MOST_WAITING: usize = 1000;
/// Bytes of one turn.
const TURN_BYTES: f64 = 48.0 * 1024.0 * 1024.0;
/// The rate of a turn is that between these shares of it: its start, and the last commit, which
/// waits for its second, are no part of a flow.
const FROM: f64 = 0.15;
const TO: f64 = 0.9;
/// Between two looks at what is covered.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// The plain client's list.
const PLAIN: &str = "plain";
const MIB: f64 = 1024.0 * 1024.0;
/// A rule that looks at nothing which is in the mix: no configuration has none at all.
const RULE: &str = include_str!("../../../analyzer/rules/kexec.yml");

/// Measures both sides in turn, then the decoder alone.
///
/// # Errors
/// When a daemon does not start, or not everything is judged.
pub fn run(settings: &Settings) -> Result<Report> {
    let mut report = Report::default();
    let mut sandbox = Sandbox::new()?;
    progress("recording the mix")?;
    let mut recording = record(&mut sandbox)?;
    report
        .notes
        .push(format!("the mix: {}", recording.mix.words()));
    report.notes.push(format!(
        "scorer off: model = \"none\", and one rule that looks at nothing in the mix; pipelines of \
         at most {PIPELINE} elements and {} KiB on both sides; the rate is of bytes LPUSHed and \
         covered by a commit (or LPUSHed and RPOPped), between {FROM} and {TO} of a turn",
        PIPELINE_BYTES / 1024
    ));
    start_without_scorer(&mut sandbox)?;

    let share = if settings.quick { 3.0 } else { 1.0 };
    let times = (TURN_BYTES / share / recording.mix.bytes as f64).ceil() as u64;
    let (mut turns, mut plain, mut pushed) = (Vec::new(), Vec::new(), 0);
    let pairs = settings.pairs(20);
    // The first is warm-up: caches, and the allocators of three processes.
    for pair in 0..=pairs {
        progress(&format!("pair {pair} of {pairs}"))?;
        let mut elements = Vec::new();
        for _ in 0..times {
            elements.extend(recording.again()?);
        }
        pushed += times * recording.mix.events();
        // In turn which side goes first: a drift of the machine then weighs on both alike.
        let mut side = |first: bool| -> Result<()> {
            if first == (pair % 2 == 0) {
                turns.push(turn(&sandbox, &elements, times * recording.mix.events())?);
            } else {
                plain.push(plain_rate(&sandbox, &elements)?);
            }
            Ok(())
        };
        side(true)?;
        side(false)?;
    }
    let (ledger, _) = settled(&sandbox, &["records", "syscalls"])?;
    let judged = sum(&ledger, "records", "judged")?;
    ensure!(
        judged == pushed && lost(&ledger, "records") == 0,
        "{pushed} events were pushed: {ledger}"
    );
    figures(&mut report, &turns[1..], &plain[1..]);
    report
        .figures
        .push(decoding(&recording, settings.pairs(40))?);
    Ok(report)
}

/// All that a collector hands over of a storm of many kinds, and of syscalls beside it.
fn record(sandbox: &mut Sandbox) -> Result<Recording> {
    // A process of the storm must not spend its budget, nor fill a ring: what is lost would be a gap.
    sandbox.add_to_filter("budget = 0\n")?;
    sandbox.write_collector_toml(RINGS)?;
    sandbox.start_collector()?;
    let taker = Taker::start(sandbox, |all: &mut Vec<Vec<u8>>, _, bytes| {
        all.push(bytes.to_vec());
        Ok(())
    })?;
    let files = sandbox.folder().join("files");
    fs::create_dir(&files)?;
    let files = files.to_string_lossy().into_owned();
    std::thread::scope(|scope| {
        let mix = || sandbox.trigger(&["mix", &files, ROUNDS]);
        let storms = [
            scope.spawn(mix),
            scope.spawn(mix),
            scope.spawn(|| sandbox.trigger(&["syscalls", "1", SYSCALLS, "2"])),
        ];
        storms.into_iter().try_for_each(|storm| {
            storm.join().ok().context("a thread panicked")??;
            anyhow::Ok(())
        })
    })?;
    // A second, in which idle CPUs are flushed; then the end, in which all is.
    std::thread::sleep(Duration::from_secs(1));
    let mut collector = sandbox.collector.take().context("no collector")?;
    collector.stop()?;
    sandbox.pins.unload()?;
    Recording::of(&taker.end()?)
}

fn start_without_scorer(sandbox: &mut Sandbox) -> Result<()> {
    let rules = sandbox.folder().join("rules");
    fs::create_dir(&rules)?;
    fs::set_permissions(&rules, fs::Permissions::from_mode(0o755))?;
    fs::write(rules.join("kexec.yml"), RULE)?;
    let top = format!("model = \"none\"\nrules = \"{}\"", rules.display());
    sandbox.write_analyzer_toml(&top)?;
    sandbox.start_analyzer()?;
    Ok(())
}

/// What one turn of the product brought.
#[derive(Clone, Copy, Debug)]
struct Turn {
    bytes_per_s: f64,
    events_per_s: f64,
    /// CPU time of one event, nanoseconds: who pushes, the analyzer, Redis.
    pusher_ns: f64,
    analyzer_ns: f64,
    redis_ns: f64,
}

/// Pushes all elements, and sees them covered.
fn turn(sandbox: &Sandbox, elements: &[Vec<u8>], events: u64) -> Result<Turn> {
    let analyzer = sandbox.analyzer.as_ref().context("no analyzer")?.pid();
    let redis = sandbox.redis.pid()?;
    let before = (cpu_ns(analyzer)?, cpu_ns(redis)?);
    let pushed = AtomicUsize::new(0);
    let began = Instant::now();
    let (pusher_ns, covered) = std::thread::scope(|scope| {
        let pusher = scope.spawn(|| push(sandbox, elements, &pushed));
        let covered = watch(sandbox, elements, began, &pushed)?;
        let pusher_ns = pusher.join().ok().context("the pusher panicked")??;
        anyhow::Ok((pusher_ns, covered))
    })?;
    let share = |all: u64| all as f64 / events as f64;
    let (bytes, bytes_per_s) = (total(elements), rate(&covered)?);
    Ok(Turn {
        bytes_per_s,
        events_per_s: bytes_per_s * events as f64 / bytes as f64,
        pusher_ns: share(pusher_ns),
        analyzer_ns: share(cpu_ns(analyzer)? - before.0),
        redis_ns: share(cpu_ns(redis)? - before.1),
    })
}

/// LPUSHes as the collector does: pipelines, and a wait while too many stand there. Its CPU time.
fn push(sandbox: &Sandbox, elements: &[Vec<u8>], pushed: &AtomicUsize) -> Result<u64> {
    let mut connection = sandbox.redis.admin()?;
    let key = sandbox.keys().raw();
    let before = own_thread_cpu_ns()?;
    for some in pipelines(elements) {
        let mut pipeline = redis::pipe();
        for element in some {
            pipeline.lpush(&key, element.as_slice());
        }
        let lengths: Vec<usize> = pipeline.query(&mut connection)?;
        pushed.fetch_add(some.len(), Ordering::Release);
        let mut waiting = lengths.last().copied().unwrap_or_default();
        while waiting > MOST_WAITING {
            std::thread::sleep(Duration::from_millis(2));
            waiting = redis::cmd("LLEN").arg(&key).query(&mut connection)?;
        }
    }
    Ok(own_thread_cpu_ns()? - before)
}

/// The elements in groups that fit a pipeline.
fn pipelines(elements: &[Vec<u8>]) -> impl Iterator<Item = &[Vec<u8>]> {
    let mut rest = elements;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest.iter().take(PIPELINE).take_while(|element| {
            bytes += element.len();
            bytes <= PIPELINE_BYTES
        });
        let count = fitting.count().max(1).min(rest.len());
        let (some, after) = rest.split_at(count);
        rest = after;
        (!some.is_empty()).then_some(some)
    })
}

/// Seconds since `began`, and bytes covered until then, until all are.
fn watch(
    sandbox: &Sandbox,
    elements: &[Vec<u8>],
    began: Instant,
    pushed: &AtomicUsize,
) -> Result<Vec<(f64, u64)>> {
    let mut connection = sandbox.redis.admin()?;
    let ends: Vec<u64> = std::iter::once(0)
        .chain(elements.iter().scan(0, |end, element| {
            *end += element.len() as u64;
            Some(*end)
        }))
        .collect();
    let mut points = vec![(0.0, 0)];
    let end = began + Duration::from_secs(120);
    loop {
        std::thread::sleep(LOOK_EVERY);
        ensure!(Instant::now() < end, "the queue does not empty");
        // In this order: what is pushed in between is not taken for covered.
        let arrived = pushed.load(Ordering::Acquire);
        let waiting = usize::try_from(under_way(&mut connection, sandbox)?)?;
        let covered = arrived.saturating_sub(waiting);
        points.push((began.elapsed().as_secs_f64(), ends[covered]));
        if covered == elements.len() {
            return Ok(points);
        }
    }
}

/// Bytes a second between [`FROM`] and [`TO`] of what was covered in the end.
fn rate(points: &[(f64, u64)]) -> Result<f64> {
    let all = points.last().map_or(0, |last| last.1) as f64;
    let first = |share: f64| points.iter().find(|point| point.1 as f64 >= share * all);
    let (Some(from), Some(to)) = (first(FROM), first(TO)) else {
        anyhow::bail!("nothing was covered");
    };
    ensure!(
        to.0 > from.0,
        "all was covered in one commit: too short a turn"
    );
    Ok((to.1 - from.1) as f64 / (to.0 - from.0))
}

/// Bytes a second of a client that pushes and pops the same, a pipeline each, on one connection.
fn plain_rate(sandbox: &Sandbox, elements: &[Vec<u8>]) -> Result<f64> {
    let mut connection = sandbox.redis.admin()?;
    let began = Instant::now();
    for some in pipelines(elements) {
        let (mut push, mut pop) = (redis::pipe(), redis::pipe());
        for element in some {
            push.lpush(PLAIN, element.as_slice());
            pop.rpop(PLAIN, None);
        }
        push.exec(&mut connection)?;
        let came: Vec<Option<Vec<u8>>> = pop.query(&mut connection)?;
        ensure!(
            came.last().is_some_and(|last| last.as_ref() == some.last()),
            "what was popped is not what was pushed"
        );
    }
    Ok(total(elements) as f64 / began.elapsed().as_secs_f64())
}

fn total(elements: &[Vec<u8>]) -> u64 {
    elements.iter().map(|element| element.len() as u64).sum()
}

fn figures(report: &mut Report, turns: &[Turn], plain: &[f64]) {
    let both: Vec<f64> = turns
        .iter()
        .zip(plain)
        .map(|(turn, plain)| turn.bytes_per_s / plain)
        .collect();
    let of = |value: fn(&Turn) -> f64| -> Vec<f64> { turns.iter().map(value).collect() };
    let mib: Vec<f64> = plain.iter().map(|rate| rate / MIB).collect();
    report.figures.extend([
        Figure::median(
            "LPUSH to covered by a checkpoint, over a plain client's byte rate",
            TOTALS,
            &both,
            Target::AtLeast(0.7),
        ),
        Figure::median("of that the plain client", "MiB/s", &mib, Target::None),
        Figure::median(
            "of that the product",
            "MiB/s",
            &of(|turn| turn.bytes_per_s / MIB),
            Target::None,
        ),
        Figure::median(
            "the product's events, chunks apart",
            "events/s",
            &of(|turn| turn.events_per_s),
            Target::None,
        ),
    ]);
    for (what, values) in [
        ("CPU an event, who pushes", of(|turn| turn.pusher_ns)),
        ("CPU an event, analyzer", of(|turn| turn.analyzer_ns)),
        ("CPU an event, Redis", of(|turn| turn.redis_ns)),
    ] {
        let figure = Figure::median(what, "ns", &values, Target::None);
        report.figures.push(figure);
    }
}

/// The shared decoder alone, over the recording.
fn decoding(recording: &Recording, runs: usize) -> Result<Figure> {
    let events = recording.mix.events() as f64;
    let times = (0..runs)
        .map(|_| {
            let began = Instant::now();
            for bytes in recording.batches() {
                std::hint::black_box(decode_batch(std::hint::black_box(bytes))?);
            }
            Ok(began.elapsed().as_nanos() as f64 / events)
        })
        .collect::<Result<Vec<f64>>>()?;
    Ok(Figure::median(
        "decoding an event of the mix, its share of chunks in it",
        "ns",
        &times,
        Target::AtMost(400.0),
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_pipeline_ends_by_count_and_by_bytes_and_leaves_nothing() {
        let mut elements = vec![vec![0; 10]; PIPELINE + 1];
        elements.push(vec![0; PIPELINE_BYTES + 1]);
        elements.push(vec![0; PIPELINE_BYTES]);
        elements.push(vec![0; 1]);
        let sizes: Vec<usize> = pipelines(&elements).map(<[_]>::len).collect();
        assert_eq!(sizes, [PIPELINE, 1, 1, 1, 1]);
    }

    #[test]
    fn a_rate_is_that_of_the_flow_without_start_and_tail() {
        // A second of nothing, ten of 100 bytes each, and a last commit that waited for long.
        let mut points = vec![(0.0, 0)];
        points.extend((1..=10).map(|second| (f64::from(second + 1), second as u64 * 95)));
        points.push((20.0, 1000));
        let rate = rate(&points).unwrap();
        assert!((rate - 95.0).abs() < 1e-9, "{rate}");
        assert!(super::rate(&[(0.0, 0), (1.0, 1000)]).is_err());
    }
}
