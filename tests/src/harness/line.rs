//! Both daemons at work, a fault between them, and everything that must hold after it.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::daemon::Daemon;
use super::ledger::{alerts, check_balance, check_once, lost, settled};
use super::programs::program;
use super::sandbox::PATIENCE;
use super::skip::{Need, can_run};
use super::{Sandbox, wait_until};

/// So soon after a fault both are connected, and judge.
const RECOVERY: Duration = Duration::from_secs(5);
/// `WatchdogSec=` of both units.
const WATCHDOG: Duration = Duration::from_secs(10);
/// In so long each tries to reach Redis more than once.
const SEVERAL_ATTEMPTS: Duration = Duration::from_secs(2);
/// A daemon may use so much more memory after a fault than before: what waited, and what the
/// allocator keeps of it.
const GROWTH_BYTES: u64 = 64 << 20;

/// A sandbox with both daemons ready and the level LOW; remembers what was done in it.
#[derive(Debug)]
pub struct Line {
    /// The world of the test.
    pub sandbox: Sandbox,
    /// Processes that each made an alert, and must have made one.
    attackers: Vec<u32>,
    /// Records that the storms made.
    stormed: u64,
    storms: Vec<Child>,
    resident: BTreeMap<&'static str, u64>,
    /// A daemon whose watchdog cannot be kept: the fault stops the daemon itself.
    pub stopped: Option<&'static str>,
}

impl Line {
    /// Starts both daemons. None where BPF cannot run, told by `name`.
    ///
    /// # Errors
    /// When one is not ready in time.
    pub fn start(name: &str) -> Result<Option<Self>> {
        Self::within(name, Sandbox::new()?)
    }

    /// The same in a sandbox whose Redis runs.
    ///
    /// # Errors
    /// When one is not ready in time.
    pub fn within(name: &str, sandbox: Sandbox) -> Result<Option<Self>> {
        if !can_run(name, Need::Kernel)? {
            return Ok(None);
        }
        Self::begin(sandbox).map(Some)
    }

    fn begin(mut sandbox: Sandbox) -> Result<Self> {
        sandbox.start_analyzer()?;
        sandbox.start_collector()?;
        wait_until(PATIENCE, "threat_level LOW", || {
            Ok((sandbox.level()?.as_deref() == Some("LOW")).then_some(()))
        })?;
        let mut line = Self {
            sandbox,
            attackers: Vec::new(),
            stormed: 0,
            storms: Vec::new(),
            resident: BTreeMap::new(),
            stopped: None,
        };
        // Before any fault: the model is loaded, all caches are in use.
        line.attack()?;
        line.wait_alerts(PATIENCE)?;
        let bytes = line.daemons()?.map(|(name, daemon)| {
            let bytes = daemon.resident_bytes();
            bytes.map(|bytes| (name, bytes))
        });
        line.resident = bytes.into_iter().collect::<Result<_>>()?;
        Ok(line)
    }

    /// Something that must be alerted on, once.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn attack(&mut self) -> Result<()> {
        self.attackers
            .push(self.sandbox.trigger(&["memfd-exec"])?.tgid);
        Ok(())
    }

    /// Creates and removes so many files beside what follows: two records each.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn storm(&mut self, files: u64, per_second: u64) -> Result<()> {
        let folder = self.sandbox.folder().to_string_lossy().into_owned();
        let storm = self
            .sandbox
            .command(program("trigger")?)?
            .args([
                "storm",
                &folder,
                &files.to_string(),
                &per_second.to_string(),
            ])
            .stdout(Stdio::null())
            .spawn()?;
        self.storms.push(storm);
        self.stormed += 2 * files;
        Ok(())
    }

    /// Redis lost the alerts so far: they are not looked for any more.
    pub fn forget_alerts(&mut self) {
        self.attackers.clear();
    }

    /// The collector.
    ///
    /// # Errors
    /// When it was not started.
    pub fn collector(&mut self) -> Result<&mut Daemon> {
        self.sandbox.collector.as_mut().context("no collector")
    }

    /// The analyzer.
    ///
    /// # Errors
    /// When it was not started.
    pub fn analyzer(&mut self) -> Result<&mut Daemon> {
        self.sandbox.analyzer.as_mut().context("no analyzer")
    }

    fn daemons(&self) -> Result<[(&'static str, &Daemon); 2]> {
        let of = |daemon: &'static str| format!("no {daemon}");
        Ok([
            (
                "collector",
                self.sandbox
                    .collector
                    .as_ref()
                    .with_context(|| of("collector"))?,
            ),
            (
                "analyzer",
                self.sandbox
                    .analyzer
                    .as_ref()
                    .with_context(|| of("analyzer"))?,
            ),
        ])
    }

    /// Orders something of Redis.
    ///
    /// # Errors
    /// When Redis refuses it, or does not answer.
    pub fn order(&self, words: &[&str]) -> Result<()> {
        let mut command = redis::Cmd::new();
        command.arg(words);
        Ok(command.exec(&mut self.sandbox.redis.admin()?)?)
    }

    /// A second analyzer, `name`, that stands by.
    ///
    /// # Errors
    /// When it does not.
    pub fn stand_by(&self, name: &str) -> Result<Daemon> {
        let mut second = self.sandbox.spawn_stand_by(name)?;
        second.wait_ready(PATIENCE)?;
        wait_until(PATIENCE, "a stand-by", || {
            Ok(second.said().status.contains("standing by").then_some(()))
        })?;
        Ok(second)
    }

    /// Waits until both daemons have said `words` in their logs.
    ///
    /// # Errors
    /// With their logs, when one does not say it.
    pub fn both_say(&self, words: &str) -> Result<()> {
        let daemons = self.daemons()?;
        wait_until(PATIENCE, words, || {
            let said = daemons.iter().all(|(_, daemon)| daemon.says(words) > 0);
            Ok(said.then_some(()))
        })
        .map_err(|error| error.context(daemons.map(|(_, daemon)| daemon.log()).join("\n---\n")))
    }

    /// The same, and that neither says it at every attempt.
    ///
    /// # Errors
    /// As [`Self::both_say`], and when one says it again.
    pub fn both_say_once(&self, words: &str) -> Result<()> {
        self.both_say(words)?;
        std::thread::sleep(SEVERAL_ATTEMPTS);
        for (name, daemon) in self.daemons()? {
            let (times, log) = (daemon.says(words), daemon.log());
            ensure!(times == 1, "{name} says {words:?} {times} times:\n{log}");
        }
        Ok(())
    }

    /// Everything that must hold after a fault that ended at `ended`; gives the settled ledger.
    ///
    /// # Errors
    /// With what does not hold.
    pub fn after_fault(&mut self, ended: Instant) -> Result<Value> {
        let checked = self.check(ended);
        checked.map_err(|error| {
            let logs = self.daemons().map(|daemons| {
                daemons.map(|(name, daemon)| format!("--- {name}\n{}", daemon.log()))
            });
            error.context(logs.map(|logs| logs.join("\n")).unwrap_or_default())
        })
    }

    fn check(&mut self, ended: Instant) -> Result<Value> {
        let early = self.attackers.len();
        self.attack()?;
        // Those of the time of the fault may be judged later than this one.
        let all = std::mem::take(&mut self.attackers);
        self.attackers = all[early..].to_vec();
        let again = self.wait_alerts(RECOVERY.saturating_sub(ended.elapsed()));
        self.attackers = all;
        again.context("judging again")?;
        eprintln!("judging again {:?} after the fault", ended.elapsed());
        self.wait_alerts(PATIENCE)?;
        for storm in &mut self.storms {
            ensure!(storm.wait()?.success(), "a storm failed");
        }
        // What the storms left in the rings comes within a second.
        let ledger = settled(&self.sandbox, PATIENCE)?;
        wait_until(PATIENCE, "the storms in the ledger", || {
            let ledger = settled(&self.sandbox, PATIENCE)?;
            Ok((ledger["records"]["produced"].as_u64() >= Some(self.stormed)).then_some(()))
        })
        .with_context(|| format!("{} records stormed: {ledger}", self.stormed))?;
        let ledger = settled(&self.sandbox, PATIENCE)?;
        check_balance(&ledger)?;
        check_once(&alerts(&self.sandbox)?)?;
        ensure!(
            matches!(
                self.sandbox.level()?.as_deref(),
                Some("MEDIUM") | Some("HIGH")
            ),
            "the level after an attack is {:?}",
            self.sandbox.level()?
        );
        self.check_daemons()?;
        Ok(ledger)
    }

    /// Both live, kept their watchdogs, and did not grow.
    fn check_daemons(&self) -> Result<()> {
        for (name, daemon) in self.daemons()? {
            let silence = daemon.said().silence();
            ensure!(
                silence <= WATCHDOG || self.stopped == Some(name),
                "{name}: no WATCHDOG=1 for {silence:?}"
            );
            let (before, now) = (self.resident[name], daemon.resident_bytes()?);
            eprintln!("{name}: silent for {silence:?}, {before} bytes, then {now}");
            ensure!(
                now <= before + GROWTH_BYTES,
                "{name}: {now} bytes, {before} before"
            );
        }
        Ok(())
    }

    /// Waits until each attack so far has its alert.
    fn wait_alerts(&self, limit: Duration) -> Result<()> {
        let mut missing = Vec::new();
        wait_until(limit, "an alert on each attack", || {
            let Ok(alerts) = alerts(&self.sandbox) else {
                return Ok(None);
            };
            let names = |pid: u32| {
                let words = format!("\"pid\":{pid}");
                alerts
                    .iter()
                    .any(|(_, body)| body.to_string().contains(&words))
            };
            missing = self.attackers.clone();
            missing.retain(|pid| !names(*pid));
            Ok(missing.is_empty().then_some(()))
        })
        .with_context(|| format!("none on {missing:?}"))
    }

    /// Fails unless nothing at all was lost, and nobody was told that something was.
    ///
    /// # Errors
    /// With the ledger, or the alert.
    pub fn check_whole(&self, ledger: &Value) -> Result<()> {
        let alerts = alerts(&self.sandbox)?;
        let blind = alerts.iter().map(|(_, body)| body.to_string());
        if let Some(alert) = blind.into_iter().find(|body| body.contains("ravn-blind")) {
            bail!("a false alarm: {alert}");
        }
        for of in ["records", "syscalls"] {
            if lost(&ledger[of]) > 0 {
                bail!("{of} were lost: {ledger}");
            }
        }
        Ok(())
    }
}
