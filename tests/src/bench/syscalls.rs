//! What the one hook on the syscall path costs, against a program there that only counts.

use anyhow::Result;

use super::figure::{Figure, Target};
use super::floor::Floor;
use super::hooks::Hooks;
use super::operations::{Getppid, OpenClose, PipeRoundTrip};
use super::report::Report;
use super::rounds::Row;
use super::sensor::Sensor;
use super::{Settings, progress};

/// What is measured with one configuration of the filter.
struct Group {
    filter: String,
    rows: Vec<Row>,
}

/// Measures all rows. A pair is a load of the programs: where the kernel puts them is chance.
///
/// # Errors
/// When the sensor or the floor cannot be loaded.
pub fn run(settings: &Settings) -> Result<Report> {
    let floor = Floor::load()?;
    let mut sensor = Sensor::new("")?;
    let mut report = Report::default();
    report.notes.extend(sensor.strangers());
    let mut groups = groups(&sensor)?;

    let pairs = settings.pairs(20);
    for pair in 0..pairs {
        for group in &mut groups {
            progress(&format!("pair {} of {pairs}", pair + 1))?;
            sensor.filter(&group.filter)?;
            sensor.on()?;
            let hooks = Hooks::take(&mut sensor)?;
            for row in &mut group.rows {
                row.measure(&hooks, || Ok(Some(floor.attach()?)))?;
            }
            drop(hooks);
            sensor.off()?;
        }
    }
    for row in groups.iter().flat_map(|group| &group.rows) {
        let what = format!("{}, over the counting floor", row.what);
        let target = Target::AtMost(row.at_most);
        report
            .figures
            .push(Figure::totals(&what, &row.pairs, target));
    }
    Ok(report)
}

fn groups(sensor: &Sensor) -> Result<[Group; 3]> {
    let folder = sensor.sandbox().folder();
    let own = std::env::current_exe()?;
    let no_reads = "read_files = []\nread_names = []\n";
    let reads = "read_files = [\"/etc/shadow\"]\nread_names = [\"id_rsa\", \"id_ed25519\"]\n";
    Ok([
        Group {
            filter: no_reads.to_owned(),
            rows: vec![
                Row::new("getppid, sequences on", 1.03, Getppid)?,
                Row::new("pipe round trip", 1.04, PipeRoundTrip::new()?)?,
                Row::new(
                    "unwanted read-only open+close, no read rules",
                    1.03,
                    OpenClose::reading(folder)?,
                )?,
                Row::new(
                    "wanted write open+close, path of 5",
                    1.15,
                    OpenClose::writing(folder)?,
                )?,
            ],
        },
        Group {
            filter: reads.to_owned(),
            rows: vec![Row::new(
                "unwanted read-only open+close, read rules",
                1.06,
                OpenClose::reading(folder)?,
            )?],
        },
        Group {
            filter: format!("{no_reads}exclude_programs = [\"{}\"]\n", own.display()),
            rows: vec![Row::new("getppid, process filtered out", 1.015, Getppid)?],
        },
    ])
}
