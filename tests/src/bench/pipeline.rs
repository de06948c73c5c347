//! From the kernel to the word: how many records a second arrive without loss, and how long an
//! attack takes to become HIGH.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ravn_shared::clock::boottime_ns;

use super::bracket::Bracket;
use super::figure::{Figure, Target};
use super::live::{Flood, live, lost, settled};
use super::{Report, Settings, progress};
use crate::harness::Sandbox;
use crate::harness::sandbox::PATIENCE;

/// First rate of the climb, records a second, and what it grows by.
const FIRST: f64 = 5_000.0;
const GROWTH: f64 = 1.6;
/// Length of a storm of the climb, and of those that a figure rests on: past what the rings, the
/// collector's buffer and the list can hold back of it.
const CLIMB_S: f64 = 5.0;
const STORM_S: f64 = 15.0;
/// Storms between a rate that is kept up with and one that is not, and how close they come.
const BISECTIONS: usize = 5;
const NARROW: f64 = 0.05;
/// A queue that is empty so soon after the storm did not grow during it. The state that says so
/// is up to a second old.
const KEPT_UP: Duration = Duration::from_secs(3);
/// A storm that makes less than this of what was asked for is at its own limit.
const REACHED: f64 = 0.9;

/// Measures both.
///
/// # Errors
/// When a daemon does not start, or an attack is never HIGH.
pub fn run(settings: &Settings) -> Result<Report> {
    let mut report = Report::default();
    let attacks = settings.pairs(40);
    let times = (0..attacks)
        .map(|run| {
            progress(&format!("attack {} of {attacks}", run + 1))?;
            attack_ms(run)
        })
        .collect::<Result<Vec<f64>>>()?;
    for (q, name, bound) in [(0.5, "p50", 200.0), (0.99, "p99", 2000.0)] {
        let what = format!("memfd-exec to threat_level HIGH, {name}");
        let figure = Figure::quantile(&what, "ms", &times, q, Target::AtMost(bound));
        report.figures.push(figure);
    }
    sustained(settings, &mut report)?;
    Ok(report)
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

/// What became of one storm.
#[derive(Clone, Copy, Debug)]
struct Storm {
    asked: f64,
    /// Records a second that it made, by its own clock.
    made: f64,
    lost: u64,
    /// From its end until everything was judged.
    behind: Duration,
}

impl Storm {
    fn kept_up(&self) -> bool {
        self.lost == 0 && self.behind <= KEPT_UP
    }

    fn at_limit(&self) -> bool {
        self.made < REACHED * self.asked
    }
}

/// Climbs until the analyzer falls behind, narrows that down with long storms, then goes on until
/// something is lost.
fn sustained(settings: &Settings, report: &mut Report) -> Result<()> {
    let sandbox = live()?;
    let mut storms = 0;
    let mut storm = |rate: f64, seconds: f64| {
        storms += 1;
        storm(&sandbox, rate, settings.seconds(seconds))
    };
    let (mut climb, mut limit, mut loss) = (FIRST, None, None);
    let mut last_kept = FIRST / 2.0;
    loop {
        let mut done = storm(climb, CLIMB_S)?;
        // A storm can have a bad moment; its limit is what it does not reach twice.
        if done.kept_up() && done.at_limit() {
            done = storm(climb, STORM_S)?;
            limit = (done.kept_up() && done.at_limit()).then_some(done.made);
        }
        if !done.kept_up() {
            break;
        }
        last_kept = done.made;
        if limit.is_some() {
            break;
        }
        climb *= GROWTH;
    }

    let mut bracket = Bracket::default();
    // The generator's limit was reached in a long storm already.
    let mut next = limit.is_none().then_some(last_kept);
    if let Some(limit) = limit {
        bracket.add(limit, true);
    }
    for _ in 0..=BISECTIONS {
        let Some(asked) = next else { break };
        let done = storm(asked, STORM_S)?;
        bracket.add(done.made, done.kept_up());
        loss = (done.lost > 0).then_some(done.made).or(loss);
        // What a short storm did not keep up with is tried for long too.
        next = match bracket.failed() {
            None => {
                let higher = climb;
                climb *= GROWTH;
                Some(higher)
            }
            Some(_) => bracket.next(NARROW),
        };
    }
    let mut rate = bracket.failed().unwrap_or(climb);
    while loss.is_none() && limit.is_none() {
        rate *= GROWTH;
        let done = storm(rate, STORM_S)?;
        loss = (done.lost > 0).then_some(done.made);
        limit = done.at_limit().then_some(done.made);
    }

    report.notes.push(match (loss, limit) {
        (Some(loss), _) => format!("the first loss of a long storm was at {loss:.0} records/s"),
        (None, limit) => format!(
            "no loss was seen up to the generator's own limit, {:.0} records/s on the CPUs that \
             it shares with the whole pipeline",
            limit.unwrap_or_default()
        ),
    });
    let best = bracket.best();
    report.figures.push(Figure {
        what: "records/s from kernel to verdict, none lost and no queue growing".to_owned(),
        value: best,
        unit: "records/s",
        low: best,
        high: bracket.failed().unwrap_or(best),
        runs: storms,
        target: Target::AtLeast(5000.0),
    });
    Ok(())
}

/// One storm, waited for until it is judged.
fn storm(sandbox: &Sandbox, rate: f64, seconds: f64) -> Result<Storm> {
    let before = lost(&sandbox.status()?["ledger"], "records");
    let (_, made) = Flood::begin(sandbox, sandbox.folder(), rate, seconds)?.end()?;
    let ended = Instant::now();
    let (ledger, empty_at) = settled(sandbox, &["records"])?;
    let done = Storm {
        asked: rate,
        made,
        lost: lost(&ledger, "records").saturating_sub(before),
        behind: empty_at.saturating_duration_since(ended),
    };
    progress(&format!(
        "{rate:.0} records/s asked for, {made:.0} made, {} lost, {:.1} s behind",
        done.lost,
        done.behind.as_secs_f64()
    ))?;
    Ok(done)
}
