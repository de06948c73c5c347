//! What the whole sensor adds to one process' work over nothing attached, next to what a known
//! sensor (Falco 0.44, modern eBPF, its stable rules) added to the same operations.

use anyhow::Result;

use super::figure::{Figure, Target};
use super::hooks::Hooks;
use super::operations::{Connect, Fork, Getppid, OpenClose, Spawn};
use super::report::Report;
use super::rounds::Row;
use super::sensor::Sensor;
use super::{Settings, progress};

/// Measures all rows. A pair is a load of the programs: where the kernel puts them is chance.
/// A row's target is what the peer added.
///
/// # Errors
/// When the sensor cannot be started.
pub fn run(settings: &Settings) -> Result<Report> {
    let mut sensor = Sensor::new("")?;
    let folder = sensor.sandbox().folder().to_path_buf();
    let mut report = Report::default();
    report.notes.extend(sensor.strangers());
    let mut rows = [
        Row::new("getppid", 0.85, Getppid)?,
        Row::new("open+close, reading", 1.0, OpenClose::reading(&folder)?)?,
        Row::new("connect+accept+close, loopback", 0.17, Connect::new()?)?,
        Row::new("fork+wait", 0.19, Fork)?,
        Row::new("posix_spawn /bin/true + wait", 0.08, Spawn)?,
    ];

    let pairs = settings.pairs(40);
    for pair in 0..pairs {
        progress(&format!("pair {} of {pairs}", pair + 1))?;
        sensor.on()?;
        let hooks = Hooks::take(&mut sensor)?;
        for row in &mut rows {
            row.measure(&hooks, || Ok(None))?;
        }
        drop(hooks);
        sensor.off()?;
    }
    for row in &rows {
        let what = format!("{}, added to nothing attached", row.what);
        let added = Figure::added(&what, &row.pairs, Target::AtMost(row.at_most));
        report.figures.push(added);
    }
    Ok(report)
}
