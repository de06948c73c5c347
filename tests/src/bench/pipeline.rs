//! From the kernel to the word: how many records a second arrive without loss, and how long an
//! attack takes to become HIGH.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ravn_shared::clock::boottime_ns;
use serde_json::Value;

use super::{Figure, Target};
use crate::harness::daemon::Daemon;
use crate::harness::sandbox::PATIENCE;
use crate::harness::{Sandbox, wait_until};

/// Runs from the act to HIGH.
const ATTACKS: usize = 20;
/// Length of a storm at one rate.
const STORM_S: u64 = 4;
/// Rates of a storm, records a second; the first that loses ends the climb.
const RATES: [u64; 10] = [
    1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 50_000, 75_000, 100_000, 150_000,
];

/// Measures both.
///
/// # Errors
/// When a daemon does not start, or an attack is never HIGH.
pub fn run() -> Result<Vec<Figure>> {
    let attacks = (0..ATTACKS).map(attack_ms).collect::<Result<Vec<f64>>>()?;
    let mut figures = vec![
        Figure::quantile(
            "memfd-exec to threat_level HIGH, p50",
            "ms",
            &attacks,
            0.5,
            Target::AtMost(200.0),
        ),
        Figure::quantile(
            "memfd-exec to threat_level HIGH, p99",
            "ms",
            &attacks,
            0.99,
            Target::AtMost(2000.0),
        ),
    ];
    figures.push(sustained()?);
    Ok(figures)
}

fn live() -> Result<Sandbox> {
    let mut sandbox = Sandbox::new()?;
    sandbox.start_analyzer()?;
    sandbox.start_collector()?;
    wait_until(PATIENCE, "threat_level LOW", || {
        Ok((sandbox.level()?.as_deref() == Some("LOW")).then_some(()))
    })?;
    Ok(sandbox)
}

/// One attack in a fresh world, because a level falls slowly; milliseconds from before the act.
fn attack_ms(run: usize) -> Result<f64> {
    let sandbox = live().with_context(|| format!("run {run}"))?;
    let mut reader = sandbox.redis.connect("reader")?;
    let truth = sandbox.trigger(&["memfd-exec"])?;
    let mut get = redis::cmd("GET");
    get.arg(sandbox.keys().threat_level());
    let end = Instant::now() + PATIENCE;
    while get.query::<Option<String>>(&mut reader)?.as_deref() != Some("HIGH") {
        if Instant::now() > end {
            bail!("run {run}: never HIGH: {:#}", sandbox.status()?);
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(boottime_ns().saturating_sub(truth.began_ns) as f64 / 1e6)
}

/// Climbs through the rates. What is reported is what the storm reached, by its own clock.
fn sustained() -> Result<Figure> {
    let sandbox = live()?;
    let folder = sandbox.folder().to_string_lossy().into_owned();
    let mut reached = Vec::new();
    for rate in RATES {
        let files = rate / 2;
        let (count, per_second) = ((files * STORM_S).to_string(), files.to_string());
        let truth = sandbox.trigger(&["storm", &folder, &count, &per_second])?;
        let number = |name: &str| truth.fields[name].as_u64().unwrap_or_default() as f64;
        let real = number("records") * 1000.0 / number("ms").max(1.0);
        let ledger = settled(&sandbox)?;
        let lost = lost(&ledger);
        eprintln!("  {rate} records/s asked for, {real:.0} reached, {lost} lost");
        if lost > 0 {
            break;
        }
        reached.push(real);
    }
    let best = reached.iter().copied().fold(0.0, f64::max);
    Ok(Figure {
        what: "records/s from kernel to verdict, none lost".to_owned(),
        value: best,
        unit: "records/s",
        low: best,
        high: best,
        runs: reached.len(),
        target: Target::AtLeast(5000.0),
    })
}

/// The ledger once nothing is under way any more.
fn settled(sandbox: &Sandbox) -> Result<Value> {
    let mut judged = None;
    wait_until(Duration::from_secs(60), "the queue to be empty", || {
        let status = sandbox.status()?;
        let records = &status["ledger"]["records"];
        let idle =
            records["queued"].as_u64() == Some(0) && records["in_flight"].as_u64() == Some(0);
        // The state is a second old at most: empty twice with the same count is the end.
        let now = (records["judged"].as_u64(), status["updated"].as_u64());
        let done = idle && judged.is_some_and(|(count, at)| count == now.0 && at != now.1);
        if judged.is_none_or(|(count, _)| count != now.0) || !idle {
            judged = Some(now);
        }
        Ok(done.then(|| status["ledger"].clone()))
    })
    .with_context(|| {
        let log = sandbox.analyzer.as_ref().map(Daemon::log);
        let status = sandbox.status().unwrap_or_default();
        format!("{status:#}\n{}", log.unwrap_or_default())
    })
}

/// Records lost or unexplained.
fn lost(ledger: &Value) -> u64 {
    let records = &ledger["records"];
    let reasons = records["lost"].as_object();
    let counted: u64 = reasons
        .into_iter()
        .flatten()
        .filter_map(|(_, count)| count.as_u64())
        .sum();
    counted
        + records["unexplained"].as_u64().unwrap_or_default()
        + records["dead"].as_u64().unwrap_or_default()
}
