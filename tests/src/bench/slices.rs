//! Timing what takes nanoseconds: many short slices, of which the quietest count.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// A slice: several timer ticks and chunk flushes long, and short enough that many of them
/// pass without another program on the CPU.
const SLICE: Duration = Duration::from_millis(2);
/// The slice whose time is taken. What disturbs a slice only ever adds, and the cost of code
/// on the syscall path is in every one.
const QUIET: f64 = 0.1;

/// Something that can be done over and over.
pub trait Operation {
    /// Does it `times` times.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn run(&mut self, times: u32) -> Result<()>;
}

/// How often an operation is done in a slice, by a first look.
///
/// # Errors
/// As [`Operation::run`].
pub fn calibrate(operation: &mut dyn Operation) -> Result<u32> {
    let mut times = 1u32;
    loop {
        let began = Instant::now();
        operation.run(times)?;
        let took = began.elapsed();
        if took >= SLICE / 2 || times >= 1 << 24 {
            let more = SLICE.as_secs_f64() / took.as_secs_f64().max(1e-9);
            return Ok(((f64::from(times) * more) as u32).max(1));
        }
        times *= 2;
    }
}

/// Nanoseconds of one operation in the quiet slices of `count`, on the last CPU that this
/// thread may use. A slice before them warms the caches.
///
/// # Errors
/// As [`Operation::run`].
pub fn quiet_ns(operation: &mut dyn Operation, times: u32, count: usize) -> Result<f64> {
    let _pinned = Pinned::new()?;
    operation.run(times)?;
    let mut slices = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        operation.run(times)?;
        slices.push(began.elapsed().as_nanos() as f64 / f64::from(times));
    }
    Ok(super::figure::quantile(&slices, QUIET))
}

/// Keeps the calling thread, and what it starts meanwhile, on one CPU until dropped.
#[derive(Debug)]
pub struct Pinned {
    before: libc::cpu_set_t,
}

impl Pinned {
    /// The last CPU that the thread may use: interrupts prefer the first.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new() -> Result<Self> {
        let before = affinity()?;
        let cpu = cpus(&before).last().copied().context("no CPU to run on")?;
        pin(0, cpu)?;
        Ok(Self { before })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: the set is a whole cpu_set_t, and 0 is the calling thread.
        let result = unsafe {
            libc::sched_setaffinity(0, size_of_val(&self.before), &raw const self.before)
        };
        if result != 0 {
            eprintln!("cannot undo a CPU affinity");
        }
    }
}

/// CPUs that the calling thread may use.
///
/// # Errors
/// When the kernel refuses.
pub fn allowed_cpus() -> Result<Vec<usize>> {
    Ok(cpus(&affinity()?))
}

/// Lets a thread (0: the calling one) run on one CPU alone.
///
/// # Errors
/// When the thread is gone, or the CPU is.
pub fn pin(thread: libc::pid_t, cpu: usize) -> Result<()> {
    // SAFETY: an all-zero cpu_set_t is the empty set; CPU_SET checks `cpu` against its size.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(thread, size_of_val(&set), &raw const set)
    };
    crate::acts::ok("sched_setaffinity", result).map(drop)
}

fn affinity() -> Result<libc::cpu_set_t> {
    // SAFETY: an all-zero cpu_set_t is the empty set, for the call to fill.
    let (result, set) = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        let size = size_of_val(&set);
        (libc::sched_getaffinity(0, size, &raw mut set), set)
    };
    crate::acts::ok("sched_getaffinity", result)?;
    Ok(set)
}

fn cpus(set: &libc::cpu_set_t) -> Vec<usize> {
    (0..libc::CPU_SETSIZE as usize)
        // SAFETY: the index is below the set's size.
        .filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, set) })
        .collect()
}
