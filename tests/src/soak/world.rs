//! Redis, both daemons, a proxy between them, and how everything is.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::fault::Who;
use super::row::{Row, bpf_mib, of_process, slab_mib};
use super::silence::Silences;
use crate::bench::live::{enliven, sum, under_way};
use crate::harness::Sandbox;
use crate::harness::daemon::Daemon;
use crate::harness::ledger::lost;
use crate::harness::proxy::Proxy;

/// Lines of a log that are shown at a bad end.
const LAST_LINES: usize = 40;

/// The world of a run. Dropped, all of it is gone.
pub struct World {
    /// Both daemons and Redis.
    pub sandbox: Sandbox,
    /// Between them.
    pub proxy: Proxy,
    /// How long who did not feed its watchdog.
    pub silence: Silences,
    /// False while Redis is killed or stopped.
    pub redis_answers: bool,
    /// A fault lasts: who does not work may be stopped.
    pub faulty: bool,
    /// Who is killed or stopped by it, and cannot beat.
    pub still: Option<Who>,
}

impl World {
    /// Starts everything; Redis keeps its data on disk.
    ///
    /// # Errors
    /// When one is not ready in time.
    pub fn start() -> Result<Self> {
        let mut sandbox = Sandbox::without_redis()?;
        sandbox.redis.set_options(&["--appendonly", "yes"]);
        sandbox.redis.run()?;
        let door = sandbox.folder().join("door.sock");
        let proxy = Proxy::start(&door, &sandbox.redis.socket())?;
        sandbox.set_door(proxy.door())?;
        enliven(&mut sandbox)?;
        Ok(Self {
            sandbox,
            proxy,
            silence: Silences::default(),
            redis_answers: true,
            faulty: false,
            still: None,
        })
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

    /// Looks at both watchdogs, and that neither daemon ended by itself.
    ///
    /// # Errors
    /// When one ended.
    pub fn look(&mut self) -> Result<()> {
        let faulty = self.faulty;
        let mut beats = [None; 2];
        let daemons = [&mut self.sandbox.collector, &mut self.sandbox.analyzer];
        for (daemon, beat) in daemons.into_iter().zip(&mut beats) {
            let daemon = daemon.as_mut().context("a daemon was not started")?;
            if let (Some(status), false) = (daemon.has_ended()?, faulty) {
                bail!("a daemon ended by itself: {status}\n{}", daemon.log());
            }
            *beat = daemon.said().last_beat;
        }
        let excused = |who| self.still == Some(who);
        self.silence
            .collector
            .look(beats[0], excused(Who::Collector));
        self.silence.analyzer.look(beats[1], excused(Who::Analyzer));
        Ok(())
    }

    /// Whether both have beaten since `ended`, and the state was written since `since_ms`.
    pub fn works_since(&self, ended: Instant, since_ms: u64) -> bool {
        let daemons = [&self.sandbox.collector, &self.sandbox.analyzer];
        let beaten = daemons.iter().all(|daemon| {
            let said = daemon.as_ref().map(Daemon::said).unwrap_or_default();
            said.ready && said.last_beat.is_some_and(|beat| beat > ended)
        });
        let written = self.state().ok().and_then(|state| {
            let updated = state.get("updated")?.parse::<u64>().ok()?;
            Some(updated > since_ms)
        });
        beaten && written == Some(true)
    }

    /// What both say of themselves.
    pub fn said(&self) -> String {
        let status = |daemon: &Option<Daemon>| daemon.as_ref().map(|daemon| daemon.said().status);
        format!(
            "collector: {:?}, analyzer: {:?}",
            status(&self.sandbox.collector),
            status(&self.sandbox.analyzer)
        )
    }

    /// The ends of all logs.
    pub fn last_words(&self) -> String {
        let log = |daemon: &Option<Daemon>| daemon.as_ref().map(Daemon::log).unwrap_or_default();
        let logs = [
            ("collector", log(&self.sandbox.collector)),
            ("analyzer", log(&self.sandbox.analyzer)),
            ("redis", self.sandbox.redis.log()),
        ];
        let ends = logs.map(|(name, log)| {
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(LAST_LINES);
            format!("--- {name}\n{}", lines[from..].join("\n"))
        });
        ends.join("\n")
    }

    /// The sequence thread was never so stuck that the rules went on without it.
    ///
    /// # Errors
    /// With how often it was.
    pub fn check_sequences(&self) -> Result<()> {
        let stuck = self.sandbox.analyzer.as_ref();
        let stuck = stuck.map_or(0, |analyzer| analyzer.says("no word for"));
        ensure!(
            stuck == 0,
            "the analyzer waited {stuck} times in vain for its sequence thread"
        );
        Ok(())
    }

    /// Whether everything is there to be measured: the state too, which expires while Redis is
    /// away.
    pub fn can_be_measured(&self) -> bool {
        self.redis_answers && !self.faulty && self.ledger().is_ok()
    }

    /// The word.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub fn level(&self) -> Result<Option<String>> {
        self.sandbox.level()
    }

    fn state(&self) -> Result<HashMap<String, String>> {
        let mut command = redis::cmd("HGETALL");
        command.arg(self.sandbox.keys().state());
        Ok(command.query(&mut self.sandbox.redis.admin()?)?)
    }

    fn ledger(&self) -> Result<Value> {
        let state = self.state()?;
        let ledger = state.get("ledger");
        Ok(serde_json::from_str(ledger.context("no ravn:state")?)?)
    }

    /// Records and syscalls that are missing without a reason, so far.
    ///
    /// # Errors
    /// When nobody judges.
    pub fn unexplained(&self) -> Result<u64> {
        let ledger = self.ledger()?;
        Ok(sum(&ledger, "records", "unexplained")? + sum(&ledger, "syscalls", "unexplained")?)
    }

    /// Everything, now.
    ///
    /// # Errors
    /// When a daemon is gone, or nobody judges.
    pub fn measure(&mut self, minute: u64, faults: u64) -> Result<Row> {
        let (collector, analyzer) = (self.collector()?.pid(), self.analyzer()?.pid());
        let mut admin = self.sandbox.redis.admin()?;
        let memory: redis::InfoDict = redis::cmd("INFO").arg("memory").query(&mut admin)?;
        let used: f64 = memory.get("used_memory").context("INFO memory")?;
        let fields: Vec<String> = redis::cmd("HKEYS")
            .arg(self.sandbox.keys().checkpoint())
            .query(&mut admin)?;
        let of = |prefix: &str| {
            let of = fields.iter().filter(|field| field.starts_with(prefix));
            of.count() as f64
        };
        let state = self.state()?;
        let ledger = self.ledger()?;
        let (c_rss, c_anon, c_fds) = of_process(collector)?;
        let (a_rss, a_anon, a_fds) = of_process(analyzer)?;
        let sum = |of: &str, name: &str| sum(&ledger, of, name).map(|sum| sum as f64);
        let rate = state.get("events_per_s").and_then(|rate| rate.parse().ok());
        Row::of(&HashMap::from([
            ("minute", minute as f64),
            ("collector_rss_mib", c_rss),
            ("collector_anon_mib", c_anon),
            ("collector_fds", c_fds),
            ("analyzer_rss_mib", a_rss),
            ("analyzer_anon_mib", a_anon),
            ("analyzer_fds", a_fds),
            ("redis_used_mib", used / 1024.0 / 1024.0),
            ("bpf_mib", bpf_mib(collector)?),
            ("slab_unreclaimable_mib", slab_mib()?),
            ("processes", of("p:")),
            ("threads", of("s:")),
            ("incidents", of("i:")),
            ("checkpoint_fields", fields.len() as f64),
            (
                "queued_batches",
                under_way(&mut admin, &self.sandbox)? as f64,
            ),
            ("events_per_s", rate.context("no events_per_s")?),
            ("produced", sum("records", "produced")?),
            ("judged", sum("records", "judged")?),
            ("lost", lost(&ledger["records"]) as f64),
            ("dead", sum("records", "dead")? + sum("syscalls", "dead")?),
            (
                "unexplained",
                sum("records", "unexplained")? + sum("syscalls", "unexplained")?,
            ),
            ("syscalls_produced", sum("syscalls", "produced")?),
            ("syscalls_lost", lost(&ledger["syscalls"]) as f64),
            ("faults", faults as f64),
            ("silence_s", self.silence.longest_s()),
        ]))
    }
}
