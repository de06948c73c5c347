//! What the one hook on the syscall path costs, against a program there that only counts.

use anyhow::{Result, ensure};

use super::figure::{Figure, Target};
use super::floor::Floor;
use super::operations::{Getppid, OpenClose, PipeRoundTrip};
use super::report::Report;
use super::sensor::{Emptied, Sensor};
use super::slices::{Operation, calibrate, quiet_ns};
use super::{Settings, progress};

/// Slices of one side of a pair, for each operation: 0.2 s.
const SLICES: usize = 100;
/// Room for all that a side writes: the cost of a record is measured, not that of a loss.
const RINGS: &str = "[rings]\nsyscall = 67108864\nfile = 67108864\n";

/// One row: what it does, and its place in `times`.
struct Row {
    what: &'static str,
    at_most: f64,
    operation: Box<dyn Operation>,
    /// Calls in a slice.
    times: u32,
    pairs: Vec<(f64, f64)>,
}

/// Measures all rows in the same pairs.
///
/// # Errors
/// When the sensor or the floor cannot be loaded.
pub fn run(settings: &Settings) -> Result<Report> {
    let floor = Floor::load()?;
    let mut sensor = Sensor::new(RINGS)?;
    let folder = sensor.sandbox().folder().to_path_buf();
    let mut report = Report::default();
    report.notes.extend(sensor.strangers());

    let mut rows = vec![
        row("getppid, sequences on", 1.03, Getppid)?,
        row("pipe round trip", 1.04, PipeRoundTrip::new()?)?,
        row(
            "unwanted read-only open+close, no read rules",
            1.03,
            OpenClose::reading(&folder)?,
        )?,
        row(
            "wanted write open+close, path of 5",
            1.15,
            OpenClose::writing(&folder)?,
        )?,
    ];
    let (no_rules, mut late) = (
        rows.len(),
        vec![
            row(
                "unwanted read-only open+close, read rules",
                1.06,
                OpenClose::reading(&folder)?,
            )?,
            row("getppid, process filtered out", 1.015, Getppid)?,
        ],
    );
    rows.append(&mut late);
    let _emptied = Emptied::start(sensor.sandbox())?;

    let pairs = settings.pairs(20);
    for pair in 0..pairs {
        progress(&format!("pair {} of {pairs}", pair + 1))?;
        let mut sides = [Vec::new(), Vec::new()];
        // In turn which side goes first: a drift of the machine then weighs on both alike.
        for side in [pair % 2, 1 - pair % 2] {
            sides[side] = if side == 0 {
                on_floor(&floor, &mut rows)?
            } else {
                on_sensor(&mut sensor, &mut rows, no_rules)?
            };
        }
        let [before, after] = sides;
        for (row, times) in rows.iter_mut().zip(before.into_iter().zip(after)) {
            row.pairs.push(times);
        }
    }
    report.figures.extend(rows.iter().map(Row::figure));
    Ok(report)
}

fn row(what: &'static str, at_most: f64, operation: impl Operation + 'static) -> Result<Row> {
    let mut operation: Box<dyn Operation> = Box::new(operation);
    let times = calibrate(operation.as_mut())?;
    Ok(Row {
        what,
        at_most,
        operation,
        times,
        pairs: Vec::new(),
    })
}

impl Row {
    fn measure(&mut self) -> Result<f64> {
        quiet_ns(self.operation.as_mut(), self.times, SLICES)
    }

    fn figure(&self) -> Figure {
        let what = format!("{}, over the counting floor", self.what);
        Figure::totals(&what, &self.pairs, Target::AtMost(self.at_most))
    }
}

fn on_floor(floor: &Floor, rows: &mut [Row]) -> Result<Vec<f64>> {
    let _link = floor.attach()?;
    let before = floor.counted()?;
    let times = rows
        .iter_mut()
        .map(Row::measure)
        .collect::<Result<Vec<_>>>()?;
    ensure!(
        floor.counted()? > before,
        "the floor program does not count"
    );
    Ok(times)
}

/// The first `no_rules` rows without read rules, the next with them, the last with this program
/// left out.
fn on_sensor(sensor: &mut Sensor, rows: &mut [Row], no_rules: usize) -> Result<Vec<f64>> {
    sensor.filter("read_files = []\nread_names = []\n")?;
    sensor.on()?;
    let mut times = Vec::new();
    for (at, row) in rows.iter_mut().enumerate() {
        if at == no_rules {
            sensor.reload(
                "read_files = [\"/etc/shadow\"]\nread_names = [\"id_rsa\", \"id_ed25519\"]\n",
            )?;
        } else if at > no_rules {
            let own = std::env::current_exe()?;
            sensor.reload(&format!("exclude_programs = [\"{}\"]\n", own.display()))?;
        }
        times.push(row.measure()?);
    }
    sensor.off()?;
    Ok(times)
}
