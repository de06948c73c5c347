//! What ordinary work of a host pays for the sensor and its Redis, both on and off in turn.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::figure::{Figure, Target};
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
const COMPILES: usize = 8;
/// Requests of one side.
const REQUESTS: &str = "200000";
/// Processes of one side.
const PROCESSES: u32 = 3000;

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
    pairs: Vec<(Took, Took)>,
}

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
    let pairs = settings.pairs(20);
    for pair in 0..pairs {
        progress(&format!("pair {} of {pairs}", pair + 1))?;
        let mut sides = [Vec::new(), Vec::new()];
        // In turn which side goes first: a drift of the machine then weighs on both alike.
        for side in [pair % 2, 1 - pair % 2] {
            let emptied = if side == 1 {
                sensor.on_with_redis()?;
                Some(Emptied::start(sensor.sandbox())?)
            } else {
                None
            };
            sides[side] = rows
                .iter_mut()
                .map(|row| timed(&mut row.work))
                .collect::<Result<Vec<Took>>>()?;
            drop(emptied);
            sensor.off_with_redis()?;
        }
        let [without, with] = sides;
        for (row, times) in rows.iter_mut().zip(without.into_iter().zip(with)) {
            row.pairs.push(times);
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
        pairs: Vec::new(),
    }
}

impl Row {
    fn figures(&self) -> [Figure; 2] {
        let pairs = |of: fn(&Took) -> f64| -> Vec<(f64, f64)> {
            let both = self.pairs.iter();
            both.map(|(without, with)| (of(without), of(with)))
                .collect()
        };
        [
            Figure::added(
                &format!("{}, wall time", self.what),
                &pairs(|took| took.wall_s),
                Target::AtMost(self.at_most),
            ),
            Figure::added(
                &format!("{}, CPU of the whole machine", self.what),
                &pairs(|took| took.cpu_s),
                Target::None,
            ),
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
