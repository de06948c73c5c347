//! What the whole sensor adds to one process' work over nothing attached, next to what a known
//! sensor (Falco 0.44, modern eBPF, its stable rules) added to the same operations.

use anyhow::Result;

use super::figure::{Figure, Target};
use super::operations::{Connect, Fork, Getppid, OpenClose, Spawn};
use super::report::Report;
use super::sensor::{Emptied, Sensor};
use super::slices::{Operation, calibrate, quiet_ns};
use super::{Settings, progress};

/// Slices of one side of a pair, for each operation: 0.2 s.
const SLICES: usize = 100;

struct Row {
    what: &'static str,
    /// What the peer added.
    below: f64,
    operation: Box<dyn Operation>,
    /// Calls in a slice.
    times: u32,
    pairs: Vec<(f64, f64)>,
}

/// Measures all rows in the same pairs.
///
/// # Errors
/// When the sensor cannot be started.
pub fn run(settings: &Settings) -> Result<Report> {
    let mut sensor = Sensor::new("")?;
    let folder = sensor.sandbox().folder().to_path_buf();
    let mut report = Report::default();
    report.notes.extend(sensor.strangers());
    let mut rows = [
        row("getppid", 0.85, Getppid)?,
        row("open+close, reading", 1.0, OpenClose::reading(&folder)?)?,
        row("connect+accept+close, loopback", 0.17, Connect::new()?)?,
        row("fork+wait", 0.19, Fork)?,
        row("posix_spawn /bin/true + wait", 0.08, Spawn)?,
    ];
    let _emptied = Emptied::start(sensor.sandbox())?;

    let pairs = settings.pairs(40);
    for pair in 0..pairs {
        progress(&format!("pair {} of {pairs}", pair + 1))?;
        let mut sides = [Vec::new(), Vec::new()];
        // In turn which side goes first: a drift of the machine then weighs on both alike.
        for side in [pair % 2, 1 - pair % 2] {
            if side == 1 {
                sensor.on()?;
            }
            sides[side] = rows
                .iter_mut()
                .map(|row| quiet_ns(row.operation.as_mut(), row.times, SLICES))
                .collect::<Result<Vec<f64>>>()?;
            sensor.off()?;
        }
        let [without, with] = sides;
        for (row, times) in rows.iter_mut().zip(without.into_iter().zip(with)) {
            row.pairs.push(times);
        }
    }
    for row in &rows {
        let what = format!("{}, added to nothing attached", row.what);
        let added = Figure::added(&what, &row.pairs, Target::AtMost(row.below));
        report.figures.push(added);
    }
    Ok(report)
}

fn row(what: &'static str, below: f64, operation: impl Operation + 'static) -> Result<Row> {
    let mut operation: Box<dyn Operation> = Box::new(operation);
    let times = calibrate(operation.as_mut())?;
    Ok(Row {
        what,
        below,
        operation,
        times,
        pairs: Vec::new(),
    })
}
