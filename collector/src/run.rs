//! The collector at work: one thread drains, one sends, one proves; until told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ravn_shared::keys::Keys;
use ravn_shared::service::Service;
use ravn_shared::{clock, config, link};

use crate::backlog::Backlog;
use crate::batch::{Batcher, Origin};
use crate::config::Config;
use crate::intake::Intake;
use crate::line::{Line, Parts};
use crate::outbox::Outbox;
use crate::proof::Prover;
use crate::report::Report;
use crate::send::{Sender, Wire};
use crate::standing::{Found, Standing};

/// For what still waits when told to stop.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);
const DRAIN_LOOK: Duration = Duration::from_millis(5);

/// What signals set.
#[derive(Debug, Default)]
pub struct Signals {
    /// End (SIGTERM, SIGINT).
    pub stop: Arc<AtomicBool>,
    /// Read the configuration again (SIGHUP).
    pub reload: Arc<AtomicBool>,
}

/// Runs until told to stop; `read` reads the configuration again.
///
/// # Errors
/// When nothing loads or attaches, or the rings cannot be read.
pub fn run(config: &Config, signals: &Signals, read: &dyn Fn() -> Result<Config>) -> Result<()> {
    let host = config::host_name(&config.host)?;
    if let Some(warning) = link::in_the_clear(&config.redis) {
        tracing::warn!("{warning}");
    }
    let prover = Prover::start()?;
    let (standing, found) = Standing::begin(config, prover.pid())?;
    say(&standing, &found);
    let run_id = link::random_id();
    let origin = Origin {
        host: host.clone(),
        boot_id: clock::boot_id().context("cannot read the boot id; is /proc mounted?")?,
        run_id,
        load_id: standing.programs.load_id,
        hz: standing.hz,
    };
    let intake = Intake::new(
        Batcher::new(origin),
        config.redact.redactor()?,
        prover.pid(),
        standing.start_ns,
    );
    let outbox = Arc::new(Outbox::new(config.buffer.bytes));
    let wire = Arc::new(Wire::default());
    let sender = start_sender(config, &host, &outbox, &wire)?;
    let mut line = Line::new(Parts {
        report: Report::new(run_id, standing.unpinned.clone()),
        config: config.clone(),
        standing,
        prover,
        intake,
        outbox: Arc::clone(&outbox),
        wire: Arc::clone(&wire),
        service: Service::new(),
    })?;
    line.receive(found)?;
    line.snapshot()?;
    line.work(signals, read)?;
    line.finish()?;
    drop(line);
    finish(sender, &outbox, &wire)
}

fn say(standing: &Standing, found: &Found) {
    for (name, fate) in &standing.programs.fates {
        if let Err(why) = fate {
            tracing::warn!("{name} is not attached: {why}; what it sees is missing, see coverage");
        }
    }
    if let Some(why) = &standing.unpinned {
        tracing::warn!("nothing is pinned: {why}; a restart will miss what happens meanwhile");
    }
    tracing::info!(
        "{} programs {}, load {:016x}, {} jiffies a second",
        standing.programs.hooks.len(),
        if found.taken_over {
            "taken over from an earlier collector"
        } else {
            "attached"
        },
        standing.programs.load_id,
        standing.hz
    );
}

fn start_sender(
    config: &Config,
    host: &str,
    outbox: &Arc<Outbox>,
    wire: &Arc<Wire>,
) -> Result<JoinHandle<()>> {
    let sender = Sender {
        config: config.redis.clone(),
        keys: Keys::new(&config.redis.prefix, config.redis.shared.then_some(host)),
        outbox: Arc::clone(outbox),
        wire: Arc::clone(wire),
        backlog: Backlog::new(config.list.bytes),
    };
    wire.step_ns.store(clock::boottime_ns(), Ordering::Relaxed);
    std::thread::Builder::new()
        .name("send".to_owned())
        .spawn(move || sender.run())
        .context("cannot start a thread")
}

/// Waits for what is queued, up to the deadline.
fn finish(sender: JoinHandle<()>, outbox: &Outbox, wire: &Wire) -> Result<()> {
    outbox.close();
    let deadline = Instant::now() + DRAIN_DEADLINE;
    while !sender.is_finished() && Instant::now() < deadline {
        std::thread::sleep(DRAIN_LOOK);
    }
    if !sender.is_finished() {
        wire.abandon.store(true, Ordering::Relaxed);
        anyhow::bail!(
            "{} batches are left: Redis did not take them within {DRAIN_DEADLINE:?}",
            outbox.len()
        );
    }
    sender
        .join()
        .map_err(|_| anyhow::anyhow!("the sending thread panicked"))
}
