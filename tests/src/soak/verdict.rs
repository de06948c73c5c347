//! What a run comes to: what grew, what was said twice, what nobody can explain.

use std::fmt;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::fault::Fault;
use super::row::{COLUMNS, Column, Room, Row};
use crate::bench::figure::quantile;

/// What a collector holds that Redis has not confirmed yet: a chunk of syscalls is handed over
/// after a second at the latest, and waits for its batch and its reply.
const IN_MEMORY: Duration = Duration::from_secs(2);
/// Fewer rows since a daemon began anew say nothing of what it keeps.
const ENOUGH_ROWS: usize = 8;

/// What was seen on the way.
#[derive(Debug, Default)]
pub struct Told {
    /// Gaps without a reason, in all.
    unexplained: u64,
    /// Of them, those that a killed collector's memory left.
    in_memory: u64,
    /// Collectors killed.
    killed: u64,
    /// Promises that did not hold.
    broken: Vec<String>,
}

impl Told {
    /// After a fault so many gaps in all have no reason.
    pub fn after(&mut self, fault: Fault, how: &str, unexplained: u64) {
        let more = unexplained.saturating_sub(self.unexplained);
        self.unexplained = unexplained;
        self.killed += u64::from(fault.excuses_gaps());
        if fault.excuses_gaps() {
            self.in_memory += more;
        } else if more > 0 {
            self.broken.push(format!(
                "{more} records and syscalls unexplained after: {} ({how})",
                fault.name()
            ));
        }
    }

    /// Of each killed collector no more is gone than what comes in [`IN_MEMORY`].
    ///
    /// # Errors
    /// With how much is.
    pub fn check_memory(&self, ledger: &Value, ran: Duration) -> Result<()> {
        let produced = |of: &str| ledger[of]["produced"].as_f64().unwrap_or_default();
        let a_second = (produced("records") + produced("syscalls")) / ran.as_secs_f64();
        let most = a_second * IN_MEMORY.as_secs_f64() * self.killed as f64;
        ensure!(
            self.in_memory as f64 <= most,
            "{} killed collectors took {} records and syscalls with them, at most {most:.0} come \
             in {IN_MEMORY:?} each",
            self.killed,
            self.in_memory
        );
        Ok(())
    }

    /// A promise was looked at.
    pub fn broken_if(&mut self, looked: Result<()>) {
        self.broken
            .extend(looked.err().map(|error| format!("{error:#}")));
    }
}

/// One column's first and last quarter.
#[derive(Clone, Copy, Debug)]
pub struct Trend {
    /// Which.
    pub column: Column,
    /// Median of the first quarter's rows.
    pub first: f64,
    /// Median of the last quarter's rows.
    pub last: f64,
    /// What the last may be at most.
    pub most: f64,
}

impl Trend {
    /// Of values, one a row; None without a row, and for columns without a verdict.
    pub fn of(column: Column, values: &[f64]) -> Option<Self> {
        let Room { share, more } = column.room?;
        let quarter = values.len().div_ceil(4);
        if quarter == 0 {
            return None;
        }
        let first = quantile(&values[..quarter], 0.5);
        let last = quantile(&values[values.len() - quarter..], 0.5);
        Some(Self {
            column,
            first,
            last,
            most: first * (1.0 + share) + more,
        })
    }

    /// Whether it did not grow by more than it may.
    pub fn is_flat(&self) -> bool {
        self.last <= self.most
    }
}

/// Everything together.
#[derive(Debug)]
pub struct Verdict {
    trends: Vec<Trend>,
    /// Rows that they are of: too few if the run was short.
    rows: usize,
    told: Told,
    ledger: Value,
}

impl Verdict {
    /// Of a run's rows, of what was told, and of the settled ledger. Looked at are the rows since
    /// a daemon last began anew, after `renewed` of them; the first minute of those, in which
    /// everything still fills, is left out.
    pub fn new(rows: &[Row], renewed: usize, told: Told, ledger: Value) -> Self {
        let rows = rows.get(renewed + 1..).unwrap_or_default();
        let trends = COLUMNS.iter().enumerate().filter_map(|(at, column)| {
            let values: Vec<f64> = rows.iter().map(|row| row.0[at]).collect();
            Trend::of(*column, &values)
        });
        Self {
            trends: trends.collect(),
            rows: rows.len(),
            told,
            ledger,
        }
    }

    /// Whether all held: there were rows enough, nothing grew, and no promise was broken.
    pub fn held(&self) -> bool {
        self.rows >= ENOUGH_ROWS
            && self.trends.iter().all(Trend::is_flat)
            && self.told.broken.is_empty()
    }

    /// As it stands in the file.
    pub fn json(&self) -> Value {
        let trends: Vec<Value> = self
            .trends
            .iter()
            .map(|trend| {
                json!({"column": trend.column.name, "first": trend.first, "last": trend.last,
                    "most": trend.most, "flat": trend.is_flat()})
            })
            .collect();
        json!({
            "held": self.held(), "minutes": self.rows, "trends": trends, "broken": self.told.broken,
            "collectors_killed": self.told.killed, "in_their_memory": self.told.in_memory,
            "ledger": self.ledger,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nmedian of the first and the last quarter, and what that may be at most:"
        )?;
        for trend in &self.trends {
            let Trend {
                first, last, most, ..
            } = trend;
            let word = if trend.is_flat() { "flat" } else { "GROWS" };
            let name = trend.column.name;
            writeln!(
                f,
                "  {name:<24} {first:>10.1} {last:>10.1} {most:>10.1}  {word}"
            )?;
        }
        writeln!(
            f,
            "  of the {} minutes since a daemon last began anew",
            self.rows
        )?;
        if self.rows < ENOUGH_ROWS {
            writeln!(
                f,
                "  too few to say: {ENOUGH_ROWS} are needed; run it for longer"
            )?;
        }
        writeln!(
            f,
            "{} collectors killed: {} records and syscalls were in their memory, and are told as \
             unexplained",
            self.told.killed, self.told.in_memory
        )?;
        for of in ["records", "syscalls"] {
            writeln!(f, "{of}: {}", self.ledger[of])?;
        }
        for broken in &self.told.broken {
            writeln!(f, "BROKEN: {broken}")?;
        }
        let word = if self.held() { "held" } else { "did NOT hold" };
        writeln!(f, "everything {word}")
    }
}

/// The ledger knows at least what the load made, nothing broke the judge, and only the kernel's
/// side lost anything: the buffer, the list and Redis, which kept its data, had room for all.
///
/// # Errors
/// With what is not so.
pub fn check_sums(ledger: &Value, made: u64) -> Result<()> {
    let records = &ledger["records"];
    ensure!(
        records["produced"].as_u64() >= Some(made),
        "{made} records were made: {ledger}"
    );
    for of in ["records", "syscalls"] {
        let side = &ledger[of];
        ensure!(side["dead"].as_u64() == Some(0), "{of} are dead: {ledger}");
        let lost = side["lost"].as_object();
        let past = lost
            .into_iter()
            .flatten()
            .find(|(reason, count)| !reason.starts_with("kernel.") && count.as_u64() != Some(0));
        if let Some((reason, count)) = past {
            bail!("{count} {of} are lost: {reason}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const COLUMN: Column = Column {
        name: "x",
        heading: "x",
        digits: 0,
        room: Some(Room {
            share: 0.25,
            more: 8.0,
        }),
        counts: false,
    };

    fn trend(values: impl Iterator<Item = f64>) -> Trend {
        let values: Vec<f64> = values.collect();
        Trend::of(COLUMN, &values).unwrap_or_else(|| panic!("no trend of {values:?}"))
    }

    #[test]
    fn what_grows_is_not_flat_and_what_wavers_is() {
        // 1 MiB a minute for an hour.
        let grows = trend((0..60).map(|minute| 40.0 + f64::from(minute)));
        assert_eq!((grows.first, grows.last), (47.0, 92.0));
        assert!(!grows.is_flat());
        let wavers = trend((0..60).map(|minute| if minute % 3 == 0 { 55.0 } else { 40.0 }));
        assert!(wavers.is_flat(), "{wavers:?}");
        // One high minute is no growth, wherever it is.
        let peak = trend((0..60).map(|minute| if minute == 59 { 500.0 } else { 40.0 }));
        assert!(peak.is_flat(), "{peak:?}");
        let shrinks = trend((0..60).map(|minute| 100.0 - f64::from(minute)));
        assert!(shrinks.is_flat());
    }

    #[test]
    fn a_run_without_rows_holds_nothing() {
        assert!(Trend::of(COLUMN, &[]).is_none());
        let held = |rows: usize, renewed| {
            let rows = vec![Row([1.0; COLUMNS.len()]); rows];
            Verdict::new(&rows, renewed, Told::default(), Value::Null).held()
        };
        assert!(held(ENOUGH_ROWS + 1, 0));
        assert!(!held(ENOUGH_ROWS, 0), "the first is left out");
        assert!(!held(20, 14), "a daemon began anew");
        assert!(!held(0, 0));
    }

    #[test]
    fn a_column_that_grows_fails_the_run_and_is_named() {
        let rows: Vec<Row> = (0..12)
            .map(|minute| Row([f64::from(minute) * 100.0; COLUMNS.len()]))
            .collect();
        let verdict = Verdict::new(&rows, 0, Told::default(), Value::Null);
        assert!(!verdict.held());
        let text = verdict.to_string();
        assert!(text.contains("collector_anon_mib"), "{text}");
        assert!(text.contains("GROWS") && text.contains("did NOT hold"));
    }

    #[test]
    fn only_a_killed_collector_excuses_a_gap() {
        let mut told = Told::default();
        told.after(Fault::CollectorKilled, "away for 1 s", 40);
        told.after(Fault::RedisKilled, "away for 3 s", 40);
        assert_eq!((told.in_memory, told.broken.len()), (40, 0));
        told.after(Fault::AnalyzerKilled, "away for 2 s", 43);
        assert_eq!(told.broken.len(), 1);
        assert!(told.broken[0].contains("3 records"), "{:?}", told.broken);
        assert!(told.broken[0].contains("analyzer killed"));
        // A gap that closed again later is no new one, and hides none.
        told.after(Fault::Reloaded, "", 41);
        told.after(Fault::CollectorKilled, "", 50);
        assert_eq!((told.in_memory, told.killed, told.broken.len()), (49, 2, 1));
        told.after(Fault::Reloaded, "", 45);
        told.after(Fault::Reloaded, "", 46);
        assert_eq!(told.broken.len(), 2);

        let ledger = json!({"records": {"produced": 1000}, "syscalls": {"produced": 1000}});
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert!(told.check_memory(&ledger, minutes(2)).is_ok(), "67 may be");
        assert!(told.check_memory(&ledger, minutes(4)).is_err(), "33 may be");
    }

    #[test]
    fn sums_must_hold_what_was_made_and_nothing_that_redis_lost() {
        let side = json!({"produced": 100, "lost": {}, "dead": 0});
        let mut ledger = json!({"records": side, "syscalls": side});
        assert!(check_sums(&ledger, 100).is_ok());
        assert!(check_sums(&ledger, 101).is_err());
        ledger["syscalls"]["lost"] = json!({"kernel.ring_full": 4});
        assert!(check_sums(&ledger, 100).is_ok());
        for reason in ["redis.data_lost", "collector.buffer_full"] {
            ledger["syscalls"]["lost"] = json!({"kernel.ring_full": 4, reason: 1});
            let told = check_sums(&ledger, 100).unwrap_err().to_string();
            assert!(told.contains(reason), "{told}");
            ledger["syscalls"]["lost"][reason] = json!(0);
            assert!(check_sums(&ledger, 100).is_ok());
        }
        ledger["syscalls"] = json!({"produced": 1, "lost": {}, "dead": 2});
        assert!(check_sums(&ledger, 100).is_err());
    }
}
