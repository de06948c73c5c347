//! The benches: what RAVN costs, and how fast it is, on the machine that runs them.
//!
//! Whatever compares does so in interleaved pairs within one call, gives the median of the
//! pairs' ratios, and a target is met only by the worse end of its 95 % interval: see
//! [`figure`]. [`sensor`] switches the real collector on and off, [`hooks`] its programs alone,
//! [`floor`] is the program that they are compared with, [`operations`] is what is timed in
//! [`slices`].

pub mod bracket;
pub mod collector;
pub mod encode;
pub mod figure;
pub mod floor;
pub mod handover;
pub mod hooks;
pub mod latency;
pub mod live;
pub mod operations;
pub mod outage;
pub mod peer;
pub mod pipeline;
pub mod process;
pub mod recording;
pub mod report;
pub mod rounds;
pub mod sensor;
mod skeleton;
pub mod slices;
pub mod storm;
pub mod syscalls;
pub mod taken;
pub mod verdict;
pub mod workload;

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Result, bail, ensure};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

pub use report::Report;

/// Every bench, in the order in which all are run: what it measures, beside its name.
pub const BENCHES: [(&str, &str); 9] = [
    (
        "syscalls",
        "the hook on the syscall path against one that only counts",
    ),
    (
        "peer",
        "what the sensor adds over nothing attached, next to a peer",
    ),
    (
        "collector",
        "kernel to Redis: records/s, CPU, encoding, memory",
    ),
    (
        "workload",
        "what ordinary work pays for the sensor and its Redis",
    ),
    ("latency", "from the kernel to Redis at two rates"),
    (
        "pipeline",
        "records/s from kernel to verdict, and from an attack to HIGH",
    ),
    (
        "handover",
        "LPUSH to a checkpoint with the scorer off, next to a plain client; the decoder",
    ),
    (
        "outage",
        "Redis gone for 30 s under load: nothing lost, and how soon all is judged",
    ),
    (
        "verdict",
        "from a rule's event in the kernel to threat_updates, idle and under load",
    ),
];

/// How much is measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// A short look: its figures are marked and not to be judged by.
    pub quick: bool,
    /// So many pairs instead of the bench's own number.
    pub pairs: Option<usize>,
}

impl Settings {
    /// Pairs or runs of a bench that wants `full` of them.
    pub fn pairs(&self, full: usize) -> usize {
        let own = if self.quick { full.div_ceil(8) } else { full };
        self.pairs.unwrap_or(own).max(1)
    }

    /// A length in seconds, shorter in a short look.
    pub fn seconds(&self, full: f64) -> f64 {
        if self.quick { full / 3.0 } else { full }
    }
}

/// Runs one bench by its name.
///
/// # Errors
/// For a name that is no bench's; when the bench cannot be run here.
pub fn run(name: &str, settings: &Settings) -> Result<Report> {
    let report = match name {
        "syscalls" => syscalls::run(settings),
        "peer" => peer::run(settings),
        "collector" => collector::run(settings),
        "workload" => workload::run(settings),
        "latency" => latency::run(settings),
        "pipeline" => pipeline::run(settings),
        "handover" => handover::run(settings),
        "outage" => outage::run(settings),
        "verdict" => verdict::run(settings),
        _ => bail!("no bench {name:?}; there are: {}", names()),
    };
    // The progress line ends where the table, or an error, begins.
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    report
}

/// The names, for a message.
pub fn names() -> String {
    BENCHES.map(|(name, _)| name).join(", ")
}

/// Set by [`stop_at_signals`].
static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on SIGINT and SIGTERM end the bench at its next step, so that what it started ends
/// with it; a second one ends it at once.
///
/// # Errors
/// When the kernel refuses.
pub fn stop_at_signals() -> Result<()> {
    let stop = STOP.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(stop))?;
        flag::register(signal, Arc::clone(stop))?;
    }
    Ok(())
}

/// Says how far it is: over itself on a terminal, else a line each.
///
/// # Errors
/// When the bench was told to stop.
pub fn progress(what: &str) -> Result<()> {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K  {what}");
    } else {
        eprintln!("  {what}");
    }
    check_stop()
}

/// Fails once a signal came, after [`stop_at_signals`].
///
/// # Errors
/// When it came.
pub fn check_stop() -> Result<()> {
    ensure!(
        !STOP.get().is_some_and(|stop| stop.load(Ordering::Relaxed)),
        "stopped by a signal"
    );
    Ok(())
}
