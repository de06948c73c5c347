//! The whole sensor of a bench: the real collector, not narrowed, on a Redis of its own, switched
//! on and off.
//!
//! The real binary and not a load of its object inside the bench: what is measured is then what
//! runs, with its drain, its sweep and its LPUSH, and no copy of how the collector sets its
//! programs up can drift from it. The price is a second per switch, which only makes pairs
//! longer.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::floor;
use crate::harness::bpf::ids_of;
use crate::harness::programs::program;
use crate::harness::{Sandbox, wait_until};
use anyhow::{Context, Result, bail};

/// The kernel frees programs within this after the collector's end, if it is not busy…
const SOON: Duration = Duration::from_millis(300);
/// …and within this in any case.
const GONE: Duration = Duration::from_secs(20);
/// Between two looks at what the collector has handed over.
const EMPTY_EVERY: Duration = Duration::from_millis(50);

/// A sensor that can be switched on and off. Dropped, it is off.
#[derive(Debug)]
pub struct Sensor {
    sandbox: Sandbox,
    /// Ids of the collector's programs while it is on.
    programs: Vec<u32>,
}

impl Sensor {
    /// Redis runs, the collector does not. `more` are further tables of its configuration.
    ///
    /// # Errors
    /// When Redis does not start.
    pub fn new(more: &str) -> Result<Self> {
        let sandbox = Sandbox::new()?;
        sandbox.write_collector_toml_for_host(more)?;
        let sensor = Self {
            sandbox,
            programs: Vec::new(),
        };
        sensor.filter("read_files = []\nread_names = []\n")?;
        Ok(sensor)
    }

    /// Sets `[filter]` for the next start; every process has a budget that no storm
    /// spends: its look-up is a part of the cost.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn filter(&self, keys: &str) -> Result<()> {
        let budget = u32::MAX;
        self.sandbox
            .add_to_filter(&format!("budget = {budget}\n{keys}"))
    }

    /// Its Redis and folder.
    pub const fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The collector's process.
    ///
    /// # Errors
    /// When it is off.
    pub fn pid(&self) -> Result<u32> {
        let collector = self.sandbox.collector.as_ref();
        Ok(collector.context("the sensor is off")?.pid())
    }

    /// Starts the collector, and waits until its hooks are attached and Redis answers.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub fn on(&mut self) -> Result<()> {
        let pid = self.sandbox.start_collector()?.pid();
        self.programs = ids_of(pid, "prog_id:")?;
        if self.programs.is_empty() {
            bail!("the collector (process {pid}) holds no BPF program");
        }
        Ok(())
    }

    /// Kills the collector, whose programs stay.
    ///
    /// # Errors
    /// When it is off.
    pub fn kill(&mut self) -> Result<()> {
        let collector = self.sandbox.collector.as_mut();
        collector.context("the sensor is off")?.kill()
    }

    /// Stops the collector, and waits until none of its programs is left: pinned ones are
    /// unloaded.
    ///
    /// # Errors
    /// When a program stays.
    pub fn off(&mut self) -> Result<()> {
        let Some(mut collector) = self.sandbox.collector.take() else {
            return Ok(());
        };
        if collector.has_ended()?.is_none() {
            collector.stop()?;
        }
        drop(collector);
        let gone = || Ok((!self.programs.iter().any(|id| floor::is_loaded(*id))).then_some(()));
        if wait_until(SOON, "the sensor's programs to be gone", gone).is_err() {
            // Either they are pinned, or the kernel is slow to free them.
            let words = unload(&self.sandbox)?;
            wait_until(GONE, "the sensor's programs to be gone", gone)
                .with_context(|| format!("`ravn-collector unload` says: {words}"))?;
        }
        self.programs.clear();
        Ok(())
    }

    /// Starts and stops Redis with the collector: everything that the sensor costs a host.
    ///
    /// # Errors
    /// As [`Sensor::on`].
    pub fn on_with_redis(&mut self) -> Result<()> {
        self.sandbox.redis.run()?;
        self.on()
    }

    /// See [`Sensor::on_with_redis`].
    ///
    /// # Errors
    /// As [`Sensor::off`].
    pub fn off_with_redis(&mut self) -> Result<()> {
        self.off()?;
        self.sandbox.redis.kill();
        Ok(())
    }

    /// Programs on the syscall path that are not this sensor's, as a note for the report.
    pub fn strangers(&self) -> Option<String> {
        let others: Vec<String> = floor::on_syscall_path()
            .into_iter()
            .filter(|(_, id)| !self.programs.contains(id))
            .map(|(name, id)| format!("{name} (program {id})"))
            .collect();
        (!others.is_empty()).then(|| {
            format!(
                "other programs on the syscall path weigh on both sides: {}",
                others.join(", ")
            )
        })
    }
}

impl Drop for Sensor {
    fn drop(&mut self) {
        if let Err(error) = self.off() {
            eprintln!("cannot switch the sensor off: {error:#}");
        }
    }
}

/// Takes away what a collector with pinned programs leaves attached on purpose; what it says.
fn unload(sandbox: &Sandbox) -> Result<String> {
    let output = Command::new(program("ravn-collector")?)
        .arg("unload")
        .arg("--config")
        .arg(sandbox.folder().join("collector.toml"))
        .output()?;
    Ok(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// Takes the place of an analyzer where nothing is judged: what the collector hands over is
/// thrown away, at next to no cost, so that its list never fills.
#[derive(Debug)]
pub struct Emptied {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Emptied {
    /// Until dropped.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub fn start(sandbox: &Sandbox) -> Result<Self> {
        let mut connection = sandbox.redis.admin()?;
        let key = sandbox.keys().raw();
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            // An error is the end of Redis: nothing is left to be emptied.
            while !until.load(Ordering::Relaxed)
                && redis::cmd("UNLINK").arg(&key).exec(&mut connection).is_ok()
            {
                std::thread::sleep(EMPTY_EVERY);
            }
        });
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Emptied {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
