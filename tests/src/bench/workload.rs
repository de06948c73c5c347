//! What ordinary work of a host pays for the sensor and its Redis, both on and off in turn.
//!
//! And what it pays for a program that only counts syscalls: the kernel's own price of looking,
//! which no sensor on this path can go below. Slices are short, for the machine's speed moves
//! within seconds by more than what is looked for.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::figure::{Figure, Target};
use super::floor::Floor;
use super::operations::Spawn;
use super::process::machine_cpu_s;
use super::report::Report;
use super::sensor::{Emptied, Sensor};
use super::slices::{Operation, allowed_cpus};
use super::{Settings, progress};
use crate::harness::wait_until;

/// Functions of the generated C file; a compile of it takes about a quarter of a second.
const FUNCTIONS: usize = 60;
/// Compiles of one side, as many at a time as there are CPUs.
const COMPILES: usize = 4;
/// Requests of one side.
const REQUESTS: &str = "80000";
/// Processes of one side.
const PROCESSES: u32 = 1000;

/// What one side of a pair took.
#[derive(Clone, Copy)]
struct Took {
    wall_s: f64,
    cpu_s: f64,
}

struct Row {
    what: &'static str,
    at_most: f64,
    work: Box<dyn FnMut() -> Result<()>>,
    /// Of each turn: with nothing, with the floor, with the sensor.
    turns: Vec<[Took; SIDES]>,
}

const SIDES: usize = 3;
const NOTHING: usize = 0;
const FLOOR: usize = 1;
const SENSOR: usize = 2;

/// Measures all three kinds of work.
///
/// # Errors
/// When a tool is missing, or the sensor cannot be started.
pub fn run(settings: &Settings) -> Result<Report> {
    let mut report = Report::default();
    let mut sensor = Sensor::new("")?;
    report.notes.extend(sensor.strangers());
    let folder = sensor.sandbox().folder().to_path_buf();
    sensor.off_with_redis()?;
    let redis = OtherRedis::start(&folder)?;
    let source = write_source(&folder)?;
    let socket = redis.socket.clone();
    let mut rows = [
        row("compile", 0.02, move || compile(&source)),
        row("redis-benchmark", 0.06, move || redis_benchmark(&socket)),
        row("fork/exec storm", 0.08, spawn_storm),
    ];
    for row in &mut rows {
        progress(row.what)?;
        (row.work)()?;
    }
    let floor = Floor::load()?;
    let turns = settings.pairs(60);
    for turn in 0..turns {
        progress(&format!("turn {} of {turns}", turn + 1))?;
        let mut sides: [Vec<Took>; SIDES] = Default::default();
        // In turn which side goes first: a drift of the machine then weighs on all alike.
        for side in (0..SIDES).map(|at| (at + turn) % SIDES) {
            let mut work = || rows.iter_mut().map(|row| timed(&mut row.work)).collect();
            let took: Result<Vec<Took>> = match side {
                NOTHING => work(),
                FLOOR => {
                    let _attached = floor.attach()?;
                    work()
                }
                _ => {
                    sensor.on_with_redis()?;
                    let _emptied = Emptied::start(sensor.sandbox())?;
                    work()
                }
            };
            sides[side] = took?;
            sensor.off_with_redis()?;
        }
        for (at, row) in rows.iter_mut().enumerate() {
            row.turns.push(std::array::from_fn(|side| sides[side][at]));
        }
    }
    for row in &rows {
        report.figures.extend(row.figures());
    }
    Ok(report)
}

fn row(what: &'static str, at_most: f64, work: impl FnMut() -> Result<()> + 'static) -> Row {
    Row {
        what,
        at_most,
        work: Box::new(work),
        turns: Vec::new(),
    }
}

impl Row {
    fn figures(&self) -> [Figure; 4] {
        let added = |what: &str, side: usize, of: fn(&Took) -> f64, target: Target| {
            let turns = self.turns.iter();
            let pairs: Vec<(f64, f64)> = turns
                .map(|took| (of(&took[NOTHING]), of(&took[side])))
                .collect();
            Figure::added(&format!("{}, {what}", self.what), &pairs, target)
        };
        let wall = |took: &Took| took.wall_s;
        let cpu = |took: &Took| took.cpu_s;
        [
            added("wall time", SENSOR, wall, Target::AtMost(self.at_most)),
            added("CPU of the whole machine", SENSOR, cpu, Target::None),
            added("wall time, of the floor", FLOOR, wall, Target::None),
            added("CPU of the machine, of the floor", FLOOR, cpu, Target::None),
        ]
    }
}

fn timed(work: &mut dyn FnMut() -> Result<()>) -> Result<Took> {
    let (began, cpu) = (Instant::now(), machine_cpu_s()?);
    work()?;
    Ok(Took {
        wall_s: began.elapsed().as_secs_f64(),
        cpu_s: machine_cpu_s()? - cpu,
    })
}

/// A C file without headers, so that it is the same work everywhere.
fn write_source(folder: &Path) -> Result<PathBuf> {
    let mut text = String::new();
    for at in 0..FUNCTIONS {
        writeln!(
            text,
            "int f{at}(int *a, int n) {{ int s = {at}; for (int i = 0; i < n; i++) \
             {{ s += a[i] * {at}; if (s & 1) s ^= a[n - i - 1]; else s -= i; }} return s; }}"
        )?;
    }
    let path = folder.join("work.c");
    fs::write(&path, text)?;
    Ok(path)
}

fn compile(source: &Path) -> Result<()> {
    let at_once = allowed_cpus()?.len();
    let mut running: Vec<Child> = Vec::new();
    for job in 0..COMPILES {
        if running.len() == at_once {
            finish(running.remove(0))?;
        }
        let child = Command::new("gcc")
            .args(["-O2", "-c", "-o"])
            .arg(source.with_extension(format!("{job}.o")))
            .arg(source)
            .spawn()
            .context("start gcc; is it installed?")?;
        running.push(child);
    }
    running.into_iter().try_for_each(finish)
}

fn finish(mut child: Child) -> Result<()> {
    let status = child.wait()?;
    ensure!(status.success(), "gcc ended with {status}");
    Ok(())
}

fn redis_benchmark(socket: &Path) -> Result<()> {
    let status = Command::new("redis-benchmark")
        .arg("-s")
        .arg(socket)
        .args(["-n", REQUESTS, "-c", "50", "-t", "set", "-q"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("start redis-benchmark; is it installed?")?;
    ensure!(status.success(), "redis-benchmark ended with {status}");
    Ok(())
}

fn spawn_storm() -> Result<()> {
    let workers = u32::try_from(allowed_cpus()?.len())?;
    let running: Vec<_> = (0..workers)
        .map(|_| std::thread::spawn(move || Spawn.run(PROCESSES / workers)))
        .collect();
    for worker in running {
        worker.join().ok().context("a worker panicked")??;
    }
    Ok(())
}

/// The Redis that is worked with: not the sensor's.
struct OtherRedis {
    child: Child,
    socket: PathBuf,
}

impl OtherRedis {
    fn start(folder: &Path) -> Result<Self> {
        let socket = folder.join("worked-with.sock");
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .arg("--unixsocket")
            .arg(&socket)
            .arg("--dir")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start redis-server; is it installed?")?;
        let mut redis = Self { child, socket };
        wait_until(Duration::from_secs(10), "redis-server to listen", || {
            if let Some(status) = redis.child.try_wait()? {
                bail!("redis-server ended with {status}");
            }
            Ok(std::os::unix::net::UnixStream::connect(&redis.socket)
                .ok()
                .map(drop))
        })?;
        Ok(redis)
    }
}

impl Drop for OtherRedis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
