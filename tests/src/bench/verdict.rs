//! From a rule's event in the kernel to `threat_updates`, idle and beside a flood of files.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ravn_shared::clock::{boottime_ns, offset_ns};

use super::figure::{Figure, Target};
use super::live::{Flood, enliven};
use super::{Report, Settings, progress};
use crate::harness::ledger::alerts;
use crate::harness::sandbox::PATIENCE;
use crate::harness::{Sandbox, wait_until};

/// Load beside the second half, records a second, and what is tried when the machine cannot keep
/// up with it: so much of the one before.
const LOAD: f64 = 50_000.0;
const LESS: f64 = 0.85;
const LEAST: f64 = 2_000.0;
/// The load is reached by so much of it.
const REACHED: f64 = 0.95;
/// A new analyzer has no queue before it after this, or the load is more than the machine can do.
const CAUGHT_UP: Duration = Duration::from_secs(8);
/// Batches in the list that are no queue, so many looks after one another.
const FEW: u64 = 8;
const LOOKS: u32 = 4;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Longer than any run.
const FLOOD_S: f64 = 3600.0;

/// Measures both.
///
/// # Errors
/// When a daemon does not start, or a hit is never told.
pub fn run(settings: &Settings) -> Result<Report> {
    let mut report = Report::default();
    let mut sandbox = Sandbox::new()?;
    sandbox.add_to_filter("budget = 0\n")?;
    enliven(&mut sandbox)?;
    report.notes.push(
        "an image in memory is executed under a new analyzer each time (a level falls slowly), which \
         has no queue before it; from the time of the exec's record, to the millisecond below, to the \
         word HIGH at a subscriber"
            .to_owned(),
    );
    let hits = settings.pairs(40);
    let idle = (0..hits)
        .map(|hit| {
            progress(&format!("idle, hit {} of {hits}", hit + 1))?;
            ensure!(fresh(&mut sandbox)?, "a queue without a load");
            self::hit(&sandbox)
        })
        .collect::<Result<Vec<Hit>>>()?;
    figures("idle", &idle, 100.0, &mut report);

    let (mut flood, mut asked) = sustainable(&mut sandbox, LOAD)?;
    let mut began = counted(&sandbox)?;
    let mut loaded = Vec::new();
    let mut behind = 0;
    while loaded.len() < hits {
        progress(&format!(
            "{asked:.0} records/s asked for, hit {} of {hits}",
            loaded.len() + 1
        ))?;
        if fresh(&mut sandbox)? {
            loaded.push(hit(&sandbox)?);
        } else {
            behind += 1;
        }
        if behind > hits.div_ceil(4) {
            progress(&format!("{asked:.0} records/s are too many after all"))?;
            drop(flood);
            emptied(&sandbox)?;
            (flood, asked) = sustainable(&mut sandbox, asked * LESS)?;
            began = counted(&sandbox)?;
            loaded.clear();
            behind = 0;
        }
    }
    let ended = counted(&sandbox)?;
    drop(flood);
    let rate = (ended.0 - began.0) as f64 / (ended.1 - began.1).as_secs_f64();
    report.figures.push(Figure {
        what: format!(
            "load beside it, of {LOAD:.0} asked for, that a new analyzer catches up with"
        ),
        value: rate,
        unit: "records/s",
        low: rate,
        high: rate,
        runs: 1,
        target: Target::AtLeast(REACHED * LOAD),
    });
    figures(
        &format!("at {rate:.0} records/s"),
        &loaded,
        250.0,
        &mut report,
    );
    if behind > 0 {
        report.notes.push(format!(
            "under load {behind} more analyzers were not caught up after {CAUGHT_UP:?}, and not asked"
        ));
    }
    Ok(report)
}

fn figures(name: &str, hits: &[Hit], bound: f64, report: &mut Report) {
    let event: Vec<f64> = hits.iter().map(|hit| hit.event_ms).collect();
    let act: Vec<f64> = hits.iter().map(|hit| hit.act_ms).collect();
    for (times, from, q, quantile, target) in [
        (&event, "kernel event", 0.5, "p50", Target::None),
        (&event, "kernel event", 0.99, "p99", Target::AtMost(bound)),
        (
            &act,
            "start of the program that does it",
            0.5,
            "p50",
            Target::None,
        ),
        (
            &act,
            "start of the program that does it",
            0.99,
            "p99",
            Target::None,
        ),
    ] {
        let what = format!("{from} to threat_updates, {name}, {quantile}");
        let figure = Figure::quantile(&what, "ms", times, q, target);
        report.figures.push(figure);
    }
}

/// What a rule's hit took to be told.
#[derive(Clone, Copy, Debug)]
struct Hit {
    /// From its record's time.
    event_ms: f64,
    /// From before the program that makes it did anything.
    act_ms: f64,
}

/// A new analyzer that knows nothing. False: it has a queue before it that does not end.
fn fresh(sandbox: &mut Sandbox) -> Result<bool> {
    if let Some(mut analyzer) = sandbox.analyzer.take() {
        analyzer.stop()?;
    }
    let keys = sandbox.keys();
    let mut connection = sandbox.redis.admin()?;
    // What it took and did not cover holds the hit before, which would be judged again.
    let consumers: Vec<String> = redis::cmd("SMEMBERS")
        .arg(keys.consumers())
        .query(&mut connection)?;
    let taken = consumers.iter().map(|consumer| keys.inflight(consumer));
    redis::cmd("DEL")
        .arg(keys.checkpoint())
        .arg(keys.alerts())
        .arg(taken.collect::<Vec<_>>())
        .exec(&mut connection)?;
    sandbox.start_analyzer()?;
    wait_until(PATIENCE, "threat_level LOW", || {
        Ok((sandbox.level()?.as_deref() == Some("LOW")).then_some(()))
    })?;
    let end = Instant::now() + CAUGHT_UP;
    let mut looks = 0;
    while looks < LOOKS {
        if Instant::now() > end {
            return Ok(false);
        }
        std::thread::sleep(LOOK_EVERY);
        let waiting: u64 = redis::cmd("LLEN").arg(keys.raw()).query(&mut connection)?;
        looks = if waiting <= FEW { looks + 1 } else { 0 };
    }
    Ok(true)
}

/// One hit, told by a subscriber that waits for it.
fn hit(sandbox: &Sandbox) -> Result<Hit> {
    let told = subscriber(sandbox)?;
    let truth = sandbox.trigger(&["memfd-exec"])?;
    let told_ns = told.join().ok().context("the subscriber panicked")??;
    // With what ends the number: 123 is no part of 1234.
    let pid = [',', '}'].map(|end| format!("\"pid\":{}{end}", truth.tgid));
    let alerts = alerts(sandbox)?;
    let alert = alerts
        .iter()
        .find(|(_, body)| pid.iter().any(|pid| body.to_string().contains(pid)))
        .with_context(|| format!("no alert on {} in {alerts:?}", truth.tgid))?;
    let time_ms = alert.1["time"]
        .as_i64()
        .context("an alert without a time")?;
    let event_ns = u64::try_from(time_ms * 1_000_000 - offset_ns())?;
    let ms = |since_ns: u64| told_ns.saturating_sub(since_ns) as f64 / 1e6;
    Ok(Hit {
        event_ms: ms(event_ns),
        act_ms: ms(truth.began_ns),
    })
}

/// A thread that waits for the word HIGH, and says when it came (CLOCK_BOOTTIME).
fn subscriber(sandbox: &Sandbox) -> Result<JoinHandle<Result<u64>>> {
    let mut connection = sandbox.redis.connect("reader")?;
    let channel = sandbox.keys().threat_updates();
    connection.set_read_timeout(Some(PATIENCE))?;
    let (ready, subscribed) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let mut subscription = connection.as_pubsub();
        subscription.subscribe(&channel)?;
        let _ = ready.send(());
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            let message = subscription.get_message()?;
            let now_ns = boottime_ns();
            if message.get_payload::<String>()? == "HIGH" {
                return Ok(now_ns);
            }
        }
        bail!("never HIGH")
    });
    // An error of the thread is told by its end.
    let _ = subscribed.recv();
    Ok(thread)
}

/// The highest load of at most `rate` that a new analyzer catches up with.
fn sustainable(sandbox: &mut Sandbox, mut rate: f64) -> Result<(Flood, f64)> {
    while rate > LEAST {
        let folder = sandbox.folder().to_path_buf();
        let flood = Flood::begin(sandbox, &folder, rate, FLOOD_S)?;
        // Past the first moments of a flow.
        std::thread::sleep(Duration::from_secs(2));
        if fresh(sandbox)? && fresh(sandbox)? {
            return Ok((flood, rate));
        }
        progress(&format!("{rate:.0} records/s are more than can be judged"))?;
        drop(flood);
        emptied(sandbox)?;
        rate *= LESS;
    }
    bail!("no load of more than {LEAST:.0} records/s is kept up with")
}

/// Waits until nothing is left of a flood.
fn emptied(sandbox: &Sandbox) -> Result<()> {
    wait_until(Duration::from_secs(120), "the queue to be empty", || {
        let raw = sandbox.keys().raw();
        let waiting: u64 = redis::cmd("LLEN")
            .arg(raw)
            .query(&mut sandbox.redis.admin()?)?;
        Ok((waiting == 0).then_some(()))
    })
}

/// Records that the collector counted so far, in the moment in which it tells them anew.
fn counted(sandbox: &Sandbox) -> Result<(u64, Instant)> {
    let mut connection = sandbox.redis.admin()?;
    let mut first = None;
    wait_until(PATIENCE, "the collector's count", || {
        std::thread::sleep(Duration::from_millis(20));
        let count: Option<u64> = redis::cmd("HGET")
            .arg(sandbox.keys().collector())
            .arg("events")
            .query(&mut connection)?;
        let before = *first.get_or_insert(count);
        let changed = count.filter(|_| before.is_some() && count != before);
        Ok(changed.map(|count| (count, Instant::now())))
    })
}
