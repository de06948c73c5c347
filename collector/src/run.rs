//! The collector at work: load, attach, then drain, cut and hand over until told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use libbpf_rs::RingBuffer;
use ravn_shared::keys::Keys;
use ravn_shared::service::Service;
use ravn_shared::wire::Lost;
use ravn_shared::{clock, config, link};

use crate::backlog::Backlog;
use crate::batch::{Batch, Batcher, Origin};
use crate::config::Config;
use crate::intake::Intake;
use crate::outbox::Outbox;
use crate::programs::Programs;
use crate::report::{Numbers, Report};
use crate::send::{Sender, Wire};
use crate::sweep::{self, Sweep};

/// Between two drains. At 600 k records/s of 128 bytes that is 0.4 MiB of the ring.
const DRAIN_EVERY: Duration = Duration::from_millis(5);
/// Records of one ring before the others have their turn and batches are cut.
const MOST_A_DRAIN: usize = 8192;
/// A record waits at most so long for its batch to fill.
const PATIENCE_NS: u64 = 20_000_000;
/// Losses are told at least this often when they changed, in an empty batch if need be.
const TELL_LOST_NS: u64 = 1_000_000_000;
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// A sender that finished no step for so long hangs; the watchdog is not fed.
const SENDER_HANGS_NS: u64 = 8_000_000_000;
/// For what still waits when told to stop.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// Runs until `stop` is set.
///
/// # Errors
/// When nothing loads or attaches, or the rings cannot be read.
pub fn run(config: &Config, stop: &AtomicBool) -> Result<()> {
    let host = config::host_name(&config.host)?;
    let mut programs = Programs::load(config)?;
    programs.exclude_self()?;
    let (run_id, load_id) = (link::random_id(), link::random_id());
    let boot_id = clock::boot_id().context("cannot read the boot id; is /proc mounted?")?;
    let origin = Origin {
        host: host.clone(),
        boot_id,
        run_id,
        load_id,
        hz: programs.hz,
    };
    let intake = Intake::new(Batcher::new(origin), config.redact.redactor()?);
    let sink = intake.clone();
    let rings = programs.rings(move |bytes| sink.sample(bytes))?;

    let outbox = Arc::new(Outbox::new(config.buffer.bytes));
    let wire = Arc::new(Wire::default());
    let sender = start_sender(config, &host, &outbox, &wire)?;
    programs.attach()?;
    let narrowed = !config.filter.only_cgroups.is_empty();
    for (name, fate) in &programs.fates {
        if let Err(why) = fate {
            tracing::warn!("{name} is not attached: {why}; what it sees is missing, see coverage");
        }
    }
    tracing::info!(
        "{} programs attached, {} jiffies a second",
        programs.attached(),
        programs.hz
    );

    let report = Report::new(run_id, load_id, &programs.fates, narrowed);
    let mut line = Line {
        programs: &programs,
        rings,
        intake,
        outbox: Arc::clone(&outbox),
        wire: Arc::clone(&wire),
        service: Service::new(),
        sweep: Sweep::default(),
        lost: None,
        lost_since_ns: 0,
        load_id,
        report,
        ready: false,
    };
    line.work(stop)?;
    line.service.stopping();
    line.last()?;
    drop(line);
    finish(sender, &outbox, &wire)
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
        std::thread::sleep(DRAIN_EVERY);
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

/// The polling thread's state.
struct Line<'p> {
    programs: &'p Programs,
    rings: Vec<RingBuffer<'p>>,
    intake: Intake,
    outbox: Arc<Outbox>,
    wire: Arc<Wire>,
    service: Service,
    sweep: Sweep,
    /// Counters that the next batch tells.
    lost: Option<Lost>,
    lost_since_ns: u64,
    load_id: u64,
    report: Report,
    ready: bool,
}

impl Line<'_> {
    fn work(&mut self, stop: &AtomicBool) -> Result<()> {
        let (mut next_sweep_ns, mut next_report) = (0, Instant::now());
        while !stop.load(Ordering::Relaxed) {
            let more = self.drain()?;
            let now_ns = clock::boottime_ns();
            if now_ns >= next_sweep_ns {
                self.sweep.flush_idle(self.programs)?;
                self.drain()?;
                self.note_losses(now_ns);
                next_sweep_ns = now_ns + sweep::EVERY_NS;
            }
            self.cut(self.outbox.is_idle(), now_ns)?;
            self.tell_service(now_ns);
            if Instant::now() >= next_report {
                self.publish();
                next_report = Instant::now() + REPORT_EVERY;
            }
            if !more {
                std::thread::sleep(DRAIN_EVERY);
            }
        }
        Ok(())
    }

    /// The last look: everything that the programs wrote, and their final counters.
    fn last(&mut self) -> Result<()> {
        for (cpu, _) in self.programs.counters()?.waiting {
            self.programs.flush(cpu)?;
        }
        // The hooks are still attached: a flood is not waited out.
        for _ in 0..64 {
            if !self.drain()? {
                break;
            }
        }
        self.sweep.flush_idle(self.programs)?;
        self.note_losses(clock::boottime_ns());
        self.cut(true, clock::boottime_ns())?;
        if let Some(lost) = self.lost.take() {
            let batch = self.intake.state().batcher.empty(lost)?;
            self.outbox.push(batch);
        }
        Ok(())
    }

    /// Takes what the rings hold, at most [`MOST_A_DRAIN`] of each. True: there is more.
    fn drain(&self) -> Result<bool> {
        let mut more = false;
        for ring in &self.rings {
            let drained = ring.consume_raw_n(MOST_A_DRAIN);
            if drained < 0 {
                anyhow::bail!(
                    "cannot read the ring buffers: {}",
                    std::io::Error::from_raw_os_error(-drained)
                );
            }
            more |= drained.cast_unsigned() as usize >= MOST_A_DRAIN;
        }
        Ok(more)
    }

    fn note_losses(&mut self, now_ns: u64) {
        let malformed = self.intake.state().malformed;
        if let Some(changed) = self
            .sweep
            .changes(self.load_id, &self.outbox.losses(), &malformed)
        {
            if self.lost.is_none() {
                self.lost_since_ns = now_ns;
            }
            self.lost = Some(changed);
        }
    }

    fn cut(&mut self, all: bool, now_ns: u64) -> Result<()> {
        let mut batches: Vec<Batch> = Vec::new();
        let mut state = self.intake.state();
        state
            .batcher
            .cut(all, now_ns, PATIENCE_NS, &mut self.lost, |batch| {
                batches.push(batch)
            })?;
        if now_ns.saturating_sub(self.lost_since_ns) >= TELL_LOST_NS
            && let Some(lost) = self.lost.take()
        {
            batches.push(state.batcher.empty(lost)?);
        }
        drop(state);
        for batch in batches {
            self.outbox.push(batch);
        }
        Ok(())
    }

    /// READY=1 once Redis answers; WATCHDOG=1 out of a finished round in which the
    /// sender lives too, be it by handling an outage.
    fn tell_service(&mut self, now_ns: u64) {
        if !self.ready && self.wire.connected.load(Ordering::Relaxed) {
            self.service.ready();
            self.ready = true;
        }
        if now_ns.saturating_sub(self.wire.step_ns.load(Ordering::Relaxed)) < SENDER_HANGS_NS {
            self.service.beat();
        }
    }

    fn publish(&mut self) {
        let numbers = self.numbers();
        self.report.measure(numbers);
        self.wire
            .set_report(self.report.fields(numbers, &self.sweep.lost_by()));
        let trouble = self.wire.trouble();
        self.service
            .status(&self.report.status(numbers, trouble.as_deref()));
        if !self.ready {
            // Hooks are attached and buffering; only Redis is missing.
            self.service.extend(REPORT_EVERY * 3);
        }
    }

    fn numbers(&self) -> Numbers {
        let state = self.intake.state();
        Numbers {
            events: state.events,
            syscalls: state.syscalls,
            lost: self.sweep.total_lost(),
            waiting: self.outbox.len(),
        }
    }
}
