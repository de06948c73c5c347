//! The whole pipeline of a bench at work: both daemons in a sandbox of their own, floods of files
//! beside them, and what the ledger says afterwards.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::slices::allowed_cpus;
use crate::harness::daemon::Daemon;
use crate::harness::programs::program;
use crate::harness::sandbox::PATIENCE;
use crate::harness::truth::truth;
use crate::harness::{Sandbox, wait_until};

/// Between two looks at the state.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A sandbox with both daemons ready and the level LOW.
///
/// # Errors
/// When one is not ready in time.
pub fn live() -> Result<Sandbox> {
    let mut sandbox = Sandbox::new()?;
    enliven(&mut sandbox)?;
    Ok(sandbox)
}

/// The same in a sandbox that was prepared.
///
/// # Errors
/// When a daemon is not ready in time.
pub fn enliven(sandbox: &mut Sandbox) -> Result<()> {
    sandbox.start_analyzer()?;
    sandbox.start_collector()?;
    wait_until(PATIENCE, "threat_level LOW", || {
        Ok((sandbox.level()?.as_deref() == Some("LOW")).then_some(()))
    })
}

/// Files that are created and removed, two records each, by as many processes as there are CPUs.
/// Dropped, it ends.
#[derive(Debug)]
pub struct Flood {
    processes: Vec<Child>,
}

impl Flood {
    /// Begins to make so many records a second in `folder`, for so many seconds.
    ///
    /// # Errors
    /// When a process cannot be started.
    pub fn begin(sandbox: &Sandbox, folder: &Path, rate: f64, seconds: f64) -> Result<Self> {
        let count = allowed_cpus()?.len();
        let files = rate / 2.0 / count as f64;
        let folder = folder.to_string_lossy();
        let arguments = [
            "storm",
            &folder,
            &format!("{:.0}", (files * seconds).max(1.0)),
            &format!("{:.0}", files.max(1.0)),
        ];
        let mut flood = Self {
            processes: Vec::new(),
        };
        for _ in 0..count {
            let mut command = sandbox.command(program("trigger")?)?;
            command.args(arguments).stdout(Stdio::piped());
            flood.processes.push(command.spawn()?);
        }
        Ok(flood)
    }

    /// Waits for its end: records, and records a second by its own clock.
    ///
    /// # Errors
    /// When a process failed.
    pub fn end(mut self) -> Result<(u64, f64)> {
        let (mut records, mut rate) = (0, 0.0);
        for process in std::mem::take(&mut self.processes) {
            let truth = truth(&["storm"], &process.wait_with_output()?)?;
            let number = |name: &str| truth.fields[name].as_u64().unwrap_or_default();
            records += number("records");
            rate += number("records") as f64 * 1000.0 / number("ms").max(1) as f64;
        }
        Ok((records, rate))
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The ledger of `ravn:state`, and when it was written (milliseconds since 1970). None while nobody
/// judges.
///
/// # Errors
/// When Redis does not answer, or it is no JSON.
pub fn ledger(
    connection: &mut redis::Connection,
    sandbox: &Sandbox,
) -> Result<Option<(Value, u64)>> {
    let fields: (Option<String>, Option<u64>) = redis::cmd("HMGET")
        .arg(sandbox.keys().state())
        .arg(&["ledger", "updated"])
        .query(connection)?;
    let (Some(ledger), Some(updated)) = fields else {
        return Ok(None);
    };
    Ok(Some((serde_json::from_str(&ledger)?, updated)))
}

/// The ledger once nothing of `sides` (records, syscalls) is under way any more, and when that
/// began to be so. Syscalls wait a second and a half by design.
///
/// # Errors
/// With state and log, when something stays under way.
pub fn settled(sandbox: &Sandbox, sides: &[&str]) -> Result<(Value, Instant)> {
    let mut connection = sandbox.redis.admin()?;
    let mut empty: Option<(u64, u64, Instant)> = None;
    wait_until(Duration::from_secs(180), "the queue to be empty", || {
        // Seldom: looking must not take the CPUs from what is waited for.
        std::thread::sleep(LOOK_EVERY);
        let Some((ledger, updated)) = ledger(&mut connection, sandbox)? else {
            return Ok(None);
        };
        let judged = sum(&ledger, "records", "judged")?;
        let idle = sides.iter().try_fold(true, |idle, of| {
            let under_way = sum(&ledger, of, "queued")? + sum(&ledger, of, "in_flight")?;
            anyhow::Ok(idle && under_way == 0)
        })?;
        // The state is a second old at most: empty twice with the same count is the end.
        match empty {
            Some((count, at, since)) if idle && count == judged => {
                return Ok((at != updated).then_some((ledger, since)));
            }
            _ => empty = idle.then(|| (judged, updated, Instant::now())),
        }
        Ok(None)
    })
    .with_context(|| {
        let log = sandbox.analyzer.as_ref().map(Daemon::log);
        let status = sandbox.status().unwrap_or_default();
        format!("{status:#}\n{}", log.unwrap_or_default())
    })
}

/// Of records or syscalls: lost by any reason, dead or unexplained.
pub fn lost(ledger: &Value, of: &str) -> u64 {
    let side = &ledger[of];
    crate::harness::ledger::lost(side)
        + side["unexplained"].as_u64().unwrap_or_default()
        + side["dead"].as_u64().unwrap_or_default()
}

/// A number of the state of records or syscalls.
///
/// # Errors
/// When the state has none.
pub fn sum(ledger: &Value, of: &str, name: &str) -> Result<u64> {
    let value = ledger[of][name].as_u64();
    value.with_context(|| format!("no {of}.{name} in {ledger}"))
}

/// Batches in `events:raw` and in every in-flight list.
///
/// # Errors
/// When Redis does not answer.
pub fn under_way(connection: &mut redis::Connection, sandbox: &Sandbox) -> Result<u64> {
    let keys = sandbox.keys();
    let names: Vec<String> = redis::cmd("SMEMBERS")
        .arg(keys.consumers())
        .query(connection)?;
    let mut lengths = redis::pipe();
    lengths.cmd("LLEN").arg(keys.raw());
    for name in names {
        lengths.cmd("LLEN").arg(keys.inflight(&name));
    }
    // Both at one time: between two looks a batch may move from one list to the other.
    lengths.atomic();
    let lengths: Vec<u64> = lengths.query(connection)?;
    ensure!(!lengths.is_empty(), "redis: LLEN without a reply");
    Ok(lengths.iter().sum())
}
