//! How long a record takes from the kernel to a reader of Redis, at two rates.

use std::time::Duration;

use anyhow::{Result, ensure};
use ravn_shared::clock::boottime_ns;
use ravn_shared::wire::decode_batch;

use super::figure::{Figure, Target};
use super::report::Report;
use super::sensor::Sensor;
use super::storm::Storm;
use super::taken::Taker;
use super::{Settings, progress};

/// Rates, records a second, with the bound of their p99, ms.
const RATES: [(f64, f64); 2] = [(1_000.0, 8.0), (100_000.0, 30.0)];
/// Values kept of a window: evenly through their order, so that no quantile moves.
const KEPT: usize = 2000;

/// Measures both rates.
///
/// # Errors
/// When the sensor cannot be started, or a storm's records do not arrive.
pub fn run(settings: &Settings) -> Result<Report> {
    let mut report = Report::default();
    let mut sensor = Sensor::new("")?;
    report.notes.extend(sensor.strangers());
    report.notes.push(
        "from the record's own time in the kernel until a blocked BRPOP has brought the batch: \
         Redis' answer is in it"
            .to_owned(),
    );
    sensor.on()?;
    for (rate, bound) in RATES {
        let windows = windows(&sensor, rate, settings)?;
        for (q, name, target) in [
            (0.5, "p50", Target::None),
            (0.99, "p99", Target::AtMost(bound)),
        ] {
            let what = format!("kernel to Redis at {rate:.0} records/s, {name}");
            let figure = Figure::pooled(&what, "ms", &windows, q, target);
            report.figures.push(figure);
        }
    }
    sensor.off()?;
    Ok(report)
}

/// Latencies of each window of one steady storm, milliseconds.
fn windows(sensor: &Sensor, rate: f64, settings: &Settings) -> Result<Vec<Vec<f64>>> {
    let (count, seconds) = (settings.pairs(20), settings.seconds(1.0));
    let own = std::process::id();
    // Decoded afterwards: a reader that decodes lets the next batch wait.
    let taker = Taker::start(
        sensor.sandbox(),
        |all: &mut Vec<(u64, Vec<u8>)>, now_ns, bytes| {
            all.push((now_ns, bytes.to_vec()));
            Ok(())
        },
    )?;
    let storm = Storm::begin(rate)?;
    // The first moments of a flow are its start.
    std::thread::sleep(Duration::from_millis(500));
    let began_ns = boottime_ns();
    for window in 0..count {
        progress(&format!(
            "{rate:.0} records/s, window {} of {count}",
            window + 1
        ))?;
        std::thread::sleep(Duration::from_secs_f64(seconds));
    }
    storm.end()?;
    let mut windows = vec![Vec::new(); count];
    for (now_ns, bytes) in taker.end()? {
        let records = decode_batch(&bytes)?.records;
        for record in records.iter().filter(|record| record.task.tgid == own) {
            let since_ns = record.time_ns.checked_sub(began_ns);
            let at = since_ns.map(|since| since as f64 / 1e9 / seconds);
            if let Some(window) = at.and_then(|at| windows.get_mut(at as usize)) {
                window.push(now_ns.saturating_sub(record.time_ns) as f64 / 1e6);
            }
        }
    }
    for window in &mut windows {
        ensure!(
            !window.is_empty(),
            "no record of the storm arrived in a window"
        );
        window.sort_by(f64::total_cmp);
        *window = thinned(window);
    }
    Ok(windows)
}

/// At most [`KEPT`] of sorted values, evenly by rank.
fn thinned(sorted: &[f64]) -> Vec<f64> {
    let kept = sorted.len().min(KEPT);
    // The middle of each of `kept` equal parts.
    (0..kept)
        .map(|at| sorted[(2 * at + 1) * sorted.len() / (2 * kept)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::figure::quantile;
    use super::*;

    #[test]
    fn thinning_moves_no_quantile() {
        let all: Vec<f64> = (0..100_000).map(f64::from).collect();
        let few = thinned(&all);
        assert_eq!(few.len(), KEPT);
        for q in [0.01, 0.5, 0.99] {
            let off = quantile(&few, q) - quantile(&all, q);
            assert!(off.abs() <= 50.0, "{q}: {off}");
        }
    }
}
