//! A mixed load: files, sockets, credentials, signals, processes, connections, questions to name
//! servers, attacks, and syscalls that nothing wants.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::chance::Chance;
use crate::harness::Sandbox;
use crate::harness::programs::program;
use crate::harness::truth::truth;

/// Records of a round of the trigger program's mix, about.
const ROUND: f64 = 19.0;
/// How long one process of the mix lives.
const MIX_S: f64 = 20.0;
/// What else is run, and the mean time between two, seconds.
const ACTS: [(&[&str], f64); 5] = [
    (&["dns", "send"], 3.0),
    (&["crowd", "20"], 5.0),
    (&["syscalls", "1", "100000", "2"], 10.0),
    (&["short-threads", "1", "2000", "8"], 15.0),
    // Of one rule only so many alerts are made in an hour.
    (&["memfd-exec"], 120.0),
];

/// A running load; dropped, it ends.
#[derive(Debug)]
pub struct Load {
    folder: String,
    rate: f64,
    chance: Chance,
    mix: Option<Child>,
    others: Vec<(usize, Child)>,
    due: Vec<Instant>,
    made: u64,
}

impl Load {
    /// Starts it, at about so many events a second.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn start(sandbox: &Sandbox, rate: f64, seed: u64) -> Result<Self> {
        let folder = sandbox.folder().join("load");
        fs::create_dir(&folder)?;
        let mut load = Self {
            folder: folder.to_string_lossy().into_owned(),
            rate,
            chance: Chance::new(!seed),
            mix: None,
            others: Vec::new(),
            due: vec![Instant::now(); ACTS.len()],
            made: 0,
        };
        load.tick(sandbox)?;
        Ok(load)
    }

    /// Starts what is due, and counts what has ended.
    ///
    /// # Errors
    /// When a program of it failed.
    pub fn tick(&mut self, sandbox: &Sandbox) -> Result<()> {
        self.reap()?;
        if self.mix.is_none() {
            let per_second = self.rate / ROUND;
            let rounds = format!("{:.0}", per_second * MIX_S);
            let rate = format!("{per_second:.2}");
            self.mix = Some(start(sandbox, &["mix", &self.folder, &rounds, &rate])?);
        }
        for (at, (act, every)) in ACTS.iter().enumerate() {
            if Instant::now() >= self.due[at] {
                let wait = self.chance.between(0.5 * every, 1.5 * every);
                self.due[at] = Instant::now() + Duration::from_secs_f64(wait);
                self.others.push((at, start(sandbox, act)?));
            }
        }
        Ok(())
    }

    fn reap(&mut self) -> Result<()> {
        if let Some(mix) = &mut self.mix
            && mix.try_wait()?.is_some()
            && let Some(mix) = self.mix.take()
        {
            self.made += records(&["mix"], mix)?;
        }
        for (at, child) in std::mem::take(&mut self.others) {
            self.reap_one(at, child)?;
        }
        Ok(())
    }

    fn reap_one(&mut self, at: usize, mut child: Child) -> Result<()> {
        match child.try_wait()? {
            Some(status) => ensure!(status.success(), "trigger {:?}: {status}", ACTS[at].0),
            None => self.others.push((at, child)),
        }
        Ok(())
    }

    /// Waits for its end; records that the mix alone says it made.
    ///
    /// # Errors
    /// When a program of it failed.
    pub fn end(&mut self) -> Result<u64> {
        if let Some(mix) = self.mix.take() {
            self.made += records(&["mix"], mix)?;
        }
        for (at, mut child) in std::mem::take(&mut self.others) {
            let status = child.wait()?;
            ensure!(status.success(), "trigger {:?}: {status}", ACTS[at].0);
        }
        Ok(self.made)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let others = self.others.iter_mut().map(|(_, child)| child);
        for child in others.chain(&mut self.mix) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start(sandbox: &Sandbox, args: &[&str]) -> Result<Child> {
    let mut command = sandbox.command(program("trigger")?)?;
    command.args(args).stdout(Stdio::piped());
    command
        .spawn()
        .with_context(|| format!("start trigger {args:?}"))
}

/// Records that a process of the mix made, by its own word.
fn records(args: &[&str], child: Child) -> Result<u64> {
    let truth = truth(args, &child.wait_with_output()?)?;
    let kinds = truth.fields["kinds"].as_object();
    let counts = kinds.into_iter().flat_map(serde_json::Map::values);
    Ok(counts.filter_map(Value::as_u64).sum())
}
