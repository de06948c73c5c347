//! Redis gone under load: nothing may be lost, and all must soon be judged once it is back.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ravn_shared::kind::Class;

use super::figure::{Figure, Target};
use super::live::{Flood, enliven, ledger, lost, settled, sum};
use super::taken::{Taker, frame};
use super::{Report, Settings, progress};
use crate::harness::Sandbox;

/// Records a second, and bytes that each takes on the wire, its batch's share included.
const RATE: f64 = 20_000.0;
const RECORD_BYTES: f64 = 128.0;
/// How long Redis is gone, seconds, and how long all goes well before.
const GONE_S: f64 = 30.0;
const LEAD_S: f64 = 3.0;
/// Storm that the size of a record is measured with.
const SIZE_S: f64 = 1.5;
/// The load is reached by so much of it.
const REACHED: f64 = 0.95;

/// Measures with the scorer off and on, in turn.
///
/// # Errors
/// When a daemon does not come back.
pub fn run(settings: &Settings) -> Result<Report> {
    let mut report = Report::default();
    let seconds = settings.seconds(GONE_S);
    progress("the size of a record")?;
    let bare = record_bytes(0)?;
    let padding = (RECORD_BYTES - bare).round().max(0.0) as usize;
    let bytes = record_bytes(padding)?;
    report.notes.push(format!(
        "Redis is killed (SIGKILL) and {seconds:.0} s later started with its data (appendonly, \
         everysec); meanwhile files are created and removed, {bytes:.0} bytes a record on the wire, \
         batch included; the load ends when Redis is started, and caught up is an empty queue with \
         every record and syscall judged, to the second in which the state says so"
    ));
    let mut sides = [Vec::new(), Vec::new()];
    let pairs = settings.pairs(3);
    for pair in 0..pairs {
        for side in [pair % 2, 1 - pair % 2] {
            let outage = outage(side == 1, padding, seconds)?;
            progress(&format!(
                "pair {} of {pairs}, scorer {}: {:.0} records/s, {} lost, caught up in {:.1} s",
                pair + 1,
                ["off", "on"][side],
                outage.rate,
                outage.lost,
                outage.caught_up_s
            ))?;
            sides[side].push(outage);
        }
    }
    for (outages, (name, bound)) in sides.iter().zip([("off", 10.0), ("on", 20.0)]) {
        let of = |value: fn(&Outage) -> f64| -> Vec<f64> { outages.iter().map(value).collect() };
        report.figures.extend([
            Figure::median(
                &format!("Redis gone for {seconds:.0} s, scorer {name}: load reached"),
                "records/s",
                &of(|outage| outage.rate),
                Target::AtLeast(REACHED * RATE),
            ),
            Figure::quantile(
                &format!("scorer {name}: records and syscalls lost, the most"),
                "",
                &of(|outage| outage.lost as f64),
                1.0,
                Target::AtMost(0.0),
            ),
            Figure::median(
                &format!("scorer {name}: caught up after its return"),
                "s",
                &of(|outage| outage.caught_up_s),
                Target::AtMost(bound),
            ),
            Figure::median(
                &format!("scorer {name}: share of the tokens scored meanwhile"),
                "",
                &of(|outage| outage.scored_share),
                Target::None,
            ),
        ]);
    }
    Ok(report)
}

struct Outage {
    rate: f64,
    lost: u64,
    caught_up_s: f64,
    scored_share: f64,
}

/// A folder whose path is longer by `padding`.
fn folder(sandbox: &Sandbox, padding: usize) -> Result<PathBuf> {
    let folder = sandbox.folder().join("x".repeat(padding + 1));
    fs::create_dir(&folder)?;
    Ok(folder)
}

/// Bytes of a record of the storm in `events:raw`, its share of the batch included.
fn record_bytes(padding: usize) -> Result<f64> {
    let mut sandbox = Sandbox::new()?;
    sandbox.add_to_filter("budget = 0\n")?;
    let folder = folder(&sandbox, padding)?;
    sandbox.start_collector()?;
    let taker = Taker::start(&sandbox, |(records, all): &mut (u64, usize), _, bytes| {
        let frame = frame(bytes)?;
        if frame.class == Class::Ordinary as u8 {
            *records += frame.records;
            *all += bytes.len();
        }
        Ok(())
    })?;
    Flood::begin(&sandbox, &folder, RATE, SIZE_S)?.end()?;
    std::thread::sleep(Duration::from_millis(200));
    let (records, bytes) = taker.end()?;
    ensure!(records > 0, "no record of the storm arrived");
    Ok(bytes as f64 / records as f64)
}

fn outage(scorer: bool, padding: usize, seconds: f64) -> Result<Outage> {
    let mut sandbox = Sandbox::without_redis()?;
    sandbox
        .redis
        .set_options(&["--appendonly", "yes", "--appendfsync", "everysec"]);
    sandbox.redis.run()?;
    sandbox.add_to_filter("budget = 0\n")?;
    sandbox.write_analyzer_toml(if scorer { "" } else { "model = \"none\"" })?;
    let folder = folder(&sandbox, padding)?;
    enliven(&mut sandbox)?;
    let flood = Flood::begin(&sandbox, &folder, RATE, LEAD_S + seconds)?;
    std::thread::sleep(Duration::from_secs_f64(LEAD_S));
    let before = ledger(&mut sandbox.redis.admin()?, &sandbox)?;
    let (before, _) = before.context("nobody judges before the outage")?;
    sandbox.redis.kill();
    let (made, rate) = flood.end()?;
    sandbox.redis.run()?;
    let back = Instant::now();
    let (after, empty_at) = settled(&sandbox, &["records", "syscalls"])?;
    ensure!(
        sum(&after, "records", "produced")? >= made,
        "{made} records were made: {after}"
    );
    ensure!(
        sum(&before, "records", "judged")? < made,
        "all was judged before the outage: {before}"
    );
    let status = sandbox.status()?;
    Ok(Outage {
        rate,
        lost: lost(&after, "records") + lost(&after, "syscalls"),
        caught_up_s: empty_at.saturating_duration_since(back).as_secs_f64(),
        scored_share: status["scored_share"]
            .as_f64()
            .with_context(|| format!("no scored_share in {status}"))?,
    })
}
