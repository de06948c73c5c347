//! Storms of cheap recorded events, from threads of the bench's own process.
//!
//! The event is a memfd_create with flags that no kernel has: refused at once, and reported as
//! every other one. Little else that the sensor reports costs its caller less (a seventh of an
//! open), so that the storm leaves most of the CPUs to what is measured; its kind is an essential
//! one, which no budget cuts. Its record has [`RECORD_BYTES`] in the ring.

use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::slices::{allowed_cpus, pin};

/// Header, fixed payload and name of a memfd's record, as `bpf/abi.h` lays them out.
pub const RECORD_BYTES: usize = 96 + 24 + NAME.to_bytes().len();
const NAME: &CStr = c"storming";
/// A storm keeps its rate in steps of this.
const STEP: Duration = Duration::from_millis(1);

/// What a storm did.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Events made.
    pub events: u64,
    /// How long it took, seconds.
    pub seconds: f64,
}

impl Done {
    /// Events a second.
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.seconds.max(1e-9)
    }
}

/// A running storm, one thread a CPU.
#[derive(Debug)]
pub struct Storm {
    threads: Vec<JoinHandle<u64>>,
    stop: Arc<AtomicBool>,
    made: Arc<AtomicU64>,
    began: Instant,
}

impl Storm {
    /// Begins to make `per_second` events on all CPUs together (infinity: as fast as it goes).
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn begin(per_second: f64) -> Result<Self> {
        let cpus = allowed_cpus()?;
        let (stop, made) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let start = Arc::new(Barrier::new(cpus.len() + 1));
        let share = per_second / cpus.len() as f64;
        let threads = cpus
            .iter()
            .map(|cpu| {
                let (cpu, until, start) = (*cpu, Arc::clone(&stop), Arc::clone(&start));
                let made = Arc::clone(&made);
                std::thread::spawn(move || {
                    // Unpinned it is the same storm, with more moves between CPUs.
                    let _ = pin(0, cpu);
                    start.wait();
                    blow(share, &until, &made)
                })
            })
            .collect();
        start.wait();
        Ok(Self {
            threads,
            stop,
            made,
            began: Instant::now(),
        })
    }

    /// Events so far, to a step.
    pub fn made(&self) -> u64 {
        self.made.load(Ordering::Relaxed)
    }

    /// Ends it.
    ///
    /// # Errors
    /// When a thread panicked.
    pub fn end(self) -> Result<Done> {
        self.stop.store(true, Ordering::Relaxed);
        let seconds = self.began.elapsed().as_secs_f64();
        let mut events = 0;
        for thread in self.threads {
            events += thread.join().ok().context("a thread of a storm panicked")?;
        }
        Ok(Done { events, seconds })
    }
}

/// A storm of so many seconds.
///
/// # Errors
/// As [`Storm::begin`].
pub fn storm(per_second: f64, seconds: f64) -> Result<Done> {
    let storm = Storm::begin(per_second)?;
    std::thread::sleep(Duration::from_secs_f64(seconds));
    storm.end()
}

/// Events until told to stop; a late step makes up for what it missed.
fn blow(per_second: f64, until: &AtomicBool, all: &AtomicU64) -> u64 {
    let began = Instant::now();
    let mut made = 0u64;
    while !until.load(Ordering::Relaxed) {
        let due = if per_second.is_finite() {
            (began.elapsed().as_secs_f64() * per_second) as u64
        } else {
            made + 1000
        };
        let now = due.saturating_sub(made).min(1000);
        for _ in 0..now {
            // SAFETY: the name ends in NUL and outlives the call, which makes nothing.
            unsafe { libc::memfd_create(NAME.as_ptr(), libc::c_uint::MAX) };
        }
        made += now;
        all.fetch_add(now, Ordering::Relaxed);
        if made >= due && per_second.is_finite() {
            std::thread::sleep(STEP);
        }
    }
    made
}
