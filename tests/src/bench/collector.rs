//! Kernel to Redis: how many records a second, at what price, in how much memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ravn_shared::kind::{Class, Stream};

use super::bracket::Bracket;
use super::encode;
use super::figure::{Figure, Target};
use super::process::{anonymous_mib, cpu_ns};
use super::report::Report;
use super::sensor::Sensor;
use super::storm::{Done, RECORD_BYTES, Storm, storm};
use super::taken::{Taker, frame, wait_quiet};
use super::{Settings, progress};

/// First rate of the climb, and what it grows by.
const FIRST: f64 = 100_000.0;
const GROWTH: f64 = 1.3;
/// How close the last rate without loss and the first with one are brought, and the storms that
/// this may take.
const NARROW: f64 = 0.02;
const MOST: usize = 25;
/// A storm that makes less than this of what was asked for is at its own limit.
const REACHED: f64 = 0.95;
/// A queue that is empty so soon after a storm did not grow during it: buffers of 192 MiB would
/// hide for long that the sensor is too slow.
const KEPT_UP: Duration = Duration::from_millis(500);
/// Rate at which CPU and memory are looked at.
const STEADY: f64 = 200_000.0;

/// Measures all four.
///
/// # Errors
/// When the sensor cannot be started.
pub fn run(settings: &Settings) -> Result<Report> {
    let mut report = Report::default();
    let alone = storm(f64::INFINITY, settings.seconds(3.0))?;
    report.notes.push(format!(
        "with nothing attached the generator makes {:.0} events/s",
        alone.rate()
    ));
    let mut sensor = Sensor::new("")?;
    report.notes.extend(sensor.strangers());
    sensor.on()?;
    highest_rate(&sensor, settings, &mut report)?;
    steady(&sensor, settings, &mut report)?;
    sensor.off()?;
    progress("encode")?;
    report.figures.push(encode::figure(settings.pairs(40))?);
    Ok(report)
}

/// What has come of storms so far.
#[derive(Debug, Default)]
struct Arrived {
    /// Records of the storm's class.
    records: AtomicU64,
    /// Losses of the storm's stream, by the sensor's own word, since its start.
    lost: AtomicU64,
}

/// Counts what is taken.
fn counting(sensor: &Sensor, arrived: &Arc<Arrived>) -> Result<Taker<()>> {
    let arrived = Arc::clone(arrived);
    Taker::start(sensor.sandbox(), move |(), _, bytes| {
        let frame = frame(bytes)?;
        if frame.class == Class::Essential as u8 {
            arrived.records.fetch_add(frame.records, Ordering::Relaxed);
        }
        let reasons = frame.lost.reasons.iter();
        let lost = reasons.filter(|(stream, ..)| *stream == Stream::Security);
        let lost = lost.map(|(.., count)| count).sum();
        arrived.lost.fetch_max(lost, Ordering::Relaxed);
        Ok(())
    })
}

/// One storm, and what became of it.
struct Outcome {
    done: Done,
    /// Records that never came, or that the sensor says it lost: the larger.
    lost: u64,
    /// From the storm's end until the last had come.
    behind: Duration,
}

impl Outcome {
    fn sustained(&self) -> bool {
        self.lost == 0 && self.behind <= KEPT_UP
    }
}

fn outcome(sensor: &Sensor, arrived: &Arc<Arrived>, rate: f64, seconds: f64) -> Result<Outcome> {
    let look = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let before = (look(&arrived.records), look(&arrived.lost));
    let taker = counting(sensor, arrived)?;
    let done = storm(rate, seconds)?;
    let ended = Instant::now();
    // Nothing is judged before all buffers are empty, and losses are told within a second.
    let (limit, quiet) = (Duration::from_secs(60), Duration::from_millis(1500));
    let last = wait_quiet(limit, quiet, done.rate() / 50.0, || look(&arrived.records))?;
    taker.end()?;
    // Other processes of the host add a few, which can hide as many; the sensor's own count
    // cannot be hidden.
    let missing = (before.0 + done.events).saturating_sub(look(&arrived.records));
    Ok(Outcome {
        lost: missing.max(look(&arrived.lost) - before.1),
        behind: last.saturating_duration_since(ended),
        done,
    })
}

fn highest_rate(sensor: &Sensor, settings: &Settings, report: &mut Report) -> Result<()> {
    let seconds = settings.seconds(8.0);
    let arrived = Arc::new(Arrived::default());
    let (mut bracket, mut storms) = (Bracket::default(), 0);
    let (mut asked, mut short_of, mut limit) = (FIRST, false, None);
    loop {
        let outcome = outcome(sensor, &arrived, asked, seconds)?;
        storms += 1;
        let rate = outcome.done.rate();
        progress(&format!(
            "{asked:.0} records/s asked for, {rate:.0} made, {} lost, {:.1} s behind",
            outcome.lost,
            outcome.behind.as_secs_f64()
        ))?;
        bracket.add(rate, outcome.sustained());
        if bracket.failed().is_some() {
            match bracket.next(NARROW) {
                Some(next) if storms < MOST => asked = next,
                _ => break,
            }
            continue;
        }
        // A storm can have a bad moment; its limit is what it does not reach twice.
        let again = short_of;
        short_of = rate < REACHED * asked;
        if short_of && again {
            limit = Some(bracket.best());
            break;
        }
        if !short_of {
            asked *= GROWTH;
        }
    }
    let good = bracket.best();
    if let Some(limit) = limit {
        report.notes.push(format!(
            "the generator's own limit while the sensor runs is {limit:.0} records/s on these \
             CPUs, which it shares with the collector and Redis"
        ));
    }
    report.figures.push(Figure {
        what: format!(
            "records/s from kernel to Redis, none lost ({RECORD_BYTES} bytes each in the ring)"
        ),
        value: good,
        unit: "records/s",
        low: good,
        high: bracket.failed().unwrap_or(good),
        runs: storms,
        target: Target::AtLeast(600_000.0),
    });
    Ok(())
}

/// CPU time of the collector for one record, over what it uses with no storm, and its memory.
fn steady(sensor: &Sensor, settings: &Settings, report: &mut Report) -> Result<()> {
    let (pid, pairs) = (sensor.pid()?, settings.pairs(20));
    let taker = counting(sensor, &Arc::default())?;
    let (mut per_record, mut memory) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        progress(&format!("CPU and memory, pair {} of {pairs}", pair + 1))?;
        let idle = used(pid, 1.0, || Ok(()))?;
        let storm = Storm::begin(STEADY)?;
        // Past the first drain, so that a window begins and ends alike.
        std::thread::sleep(Duration::from_millis(100));
        let (before, mib) = (storm.made(), &mut memory);
        let loaded = used(pid, 1.0, || {
            mib.push(anonymous_mib(pid)?);
            Ok(())
        })?;
        let made = storm.made() - before;
        storm.end()?;
        ensure!(made > 0, "the storm made nothing");
        per_record.push(loaded.saturating_sub(idle) as f64 / 1000.0 / made as f64);
    }
    taker.end()?;
    report.figures.push(Figure::median(
        &format!("collector's CPU a record at {STEADY:.0}/s, drain to LPUSH"),
        "µs",
        &per_record,
        Target::AtMost(0.20),
    ));
    report.figures.push(Figure::quantile(
        "collector's anonymous memory at that rate, the most",
        "MiB",
        &memory,
        1.0,
        Target::AtMost(25.0),
    ));
    Ok(())
}

/// CPU time that the process used within so many seconds; `half` runs in the middle of them.
fn used(pid: u32, seconds: f64, half: impl FnOnce() -> Result<()>) -> Result<u64> {
    let before = cpu_ns(pid)?;
    std::thread::sleep(Duration::from_secs_f64(seconds / 2.0));
    half()?;
    std::thread::sleep(Duration::from_secs_f64(seconds / 2.0));
    Ok(cpu_ns(pid)?.saturating_sub(before))
}
