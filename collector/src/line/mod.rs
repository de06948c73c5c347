//! The polling thread: drains the rings, cuts batches, tells of losses, feeds the watchdog.

mod guard;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use libbpf_rs::RingBuffer;
use ravn_shared::clock;
use ravn_shared::service::Service;
use ravn_shared::wire::Lost;

use crate::batch::{AT_ONCE, Batch, Patience};
use crate::config::Config;
use crate::intake::Intake;
use crate::outbox::{Losses, Outbox};
use crate::proof::{Proof, Prover};
use crate::report::{Numbers, Report};
use crate::run::Signals;
use crate::send::Wire;
use crate::snapshot;
use crate::standing::Standing;
use crate::sweep::{self, Own, Sweep};

/// Between two drains. At 600 k records/s of 128 bytes that is 0.4 MiB of the ring.
const DRAIN_EVERY: Duration = Duration::from_millis(5);
/// Records of one ring before the others have their turn and batches are cut.
const MOST_A_DRAIN: usize = 8192;
/// Drains in a row of rings that do not become empty.
const MOST_DRAINS: usize = 64;
/// While the sender is idle, sequences alone wait: they are judged when every CPU has flushed past
/// their time, which takes up to a second, and each batch wakes two processes.
const WHILE_IDLE: Patience = [0, 0, 50_000_000];
/// Else a batch may fill.
const WHILE_SENDING: Patience = [20_000_000, 20_000_000, 50_000_000];
/// Losses are told at least this often when they changed, in an empty batch if need be.
const TELL_LOST_NS: u64 = 1_000_000_000;
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// A sender that finished no step for so long hangs; the watchdog is not fed.
const SENDER_HANGS_NS: u64 = 8_000_000_000;

/// What the line is made of.
pub struct Parts {
    /// As configured.
    pub config: Config,
    /// The load that records.
    pub standing: Standing,
    /// The thread whose acts are looked for.
    pub prover: Prover,
    /// Where samples go.
    pub intake: Intake,
    /// Where batches go.
    pub outbox: Arc<Outbox>,
    /// What the sending thread tells.
    pub wire: Arc<Wire>,
    /// The service manager.
    pub service: Service,
    /// The collector's own hash.
    pub report: Report,
}

/// The polling thread's state.
pub struct Line {
    parts: Parts,
    rings: Vec<RingBuffer<'static>>,
    sweep: Sweep,
    proof: Proof,
    /// Counters that the next batch tells.
    lost: Option<Lost>,
    lost_since_ns: u64,
    /// Losses here of the loads before, as they were told.
    told_earlier: Losses,
    ready: bool,
}

impl Line {
    /// A line from the rings of the standing load.
    ///
    /// # Errors
    /// When a ring cannot be mapped.
    pub fn new(mut parts: Parts) -> Result<Self> {
        let rings = rings(&parts)?;
        parts
            .report
            .set_load(&parts.standing.programs, &parts.config.filter);
        Ok(Self {
            parts,
            rings,
            sweep: Sweep::default(),
            proof: Proof::default(),
            lost: None,
            lost_since_ns: 0,
            told_earlier: Losses::new(),
            ready: false,
        })
    }

    /// Tells what is there already.
    ///
    /// # Errors
    /// When a record cannot be encoded.
    pub fn snapshot(&self) -> Result<()> {
        let parts = &self.parts;
        snapshot::take(&parts.standing.programs, &parts.config, &parts.intake)?;
        Ok(())
    }

    /// Works until told to stop.
    ///
    /// # Errors
    /// When the rings or the counters cannot be read.
    pub fn work(&mut self, signals: &Signals, read: &dyn Fn() -> Result<Config>) -> Result<()> {
        let (mut next_sweep_ns, mut next_report) = (0, Instant::now());
        while !signals.stop.load(Ordering::Relaxed) {
            if signals.reload.swap(false, Ordering::Relaxed) {
                self.reload(read);
            }
            let more = self.drain()?;
            let now_ns = clock::boottime_ns();
            if now_ns >= next_sweep_ns {
                self.sweep.flush_idle(&self.parts.standing.programs)?;
                self.drain()?;
                self.note_losses(now_ns)?;
                next_sweep_ns = now_ns + sweep::EVERY_NS;
            }
            if self.proof.is_due(now_ns) {
                self.guard(now_ns)?;
            }
            let idle = self.parts.outbox.is_idle();
            self.cut(now_ns, if idle { WHILE_IDLE } else { WHILE_SENDING })?;
            self.tell_service(now_ns);
            if Instant::now() >= next_report {
                self.look_up();
                self.publish();
                next_report = Instant::now() + REPORT_EVERY;
            }
            if !more {
                std::thread::sleep(DRAIN_EVERY);
            }
        }
        Ok(())
    }

    /// Applies the filter of a changed configuration; the hooks stay attached. What is wrong
    /// changes nothing.
    fn reload(&mut self, read: &dyn Fn() -> Result<Config>) {
        let parts = &mut self.parts;
        let applied = read().and_then(|config| {
            parts.standing.apply(&config)?;
            parts.config.filter = config.filter;
            Ok(())
        });
        match applied {
            Ok(()) => {
                let filter = parts.standing.filter();
                tracing::info!("the filter of the configuration applies: {filter}");
            }
            Err(error) => tracing::error!("the configuration stays as it was: {error:#}"),
        }
        let Parts {
            report,
            standing,
            config,
            ..
        } = parts;
        report.set_load(&standing.programs, &config.filter);
    }

    /// A file that was replaced has another inode.
    fn look_up(&mut self) {
        let parts = &mut self.parts;
        if let Err(error) = parts.standing.apply(&parts.config) {
            tracing::debug!("the filter stays as it was: {error:#}");
        }
        match parts.standing.programs.maps.cuts() {
            Ok(cuts) => parts.report.set_cuts(&cuts),
            Err(error) => tracing::debug!("cannot read what the budget cut: {error:#}"),
        }
    }

    /// The last look: everything that the programs wrote, and their final counters. Then the
    /// hooks stay for the next collector, or go.
    ///
    /// # Errors
    /// As [`Self::work`].
    pub fn finish(&mut self) -> Result<()> {
        self.parts.service.stopping();
        for (cpu, _) in self.parts.standing.programs.counters()?.waiting {
            if let Err(error) = self.parts.standing.programs.flush(cpu) {
                tracing::warn!("cannot flush CPU {cpu}: {error:#}; is it offline?");
            }
        }
        // The hooks are still attached: a flood is not waited out.
        for _ in 0..MOST_DRAINS {
            if !self.drain()? {
                break;
            }
        }
        self.sweep.flush_idle(&self.parts.standing.programs)?;
        self.note_losses(clock::boottime_ns())?;
        self.cut(clock::boottime_ns(), AT_ONCE)?;
        if let Some(lost) = self.lost.take() {
            self.push_empty(lost)?;
        }
        if self.parts.config.pins.keep {
            return Ok(());
        }
        self.parts.standing.unpin()
    }

    /// Takes what the rings hold, at most [`MOST_A_DRAIN`] of each. True: there is more.
    fn drain(&self) -> Result<bool> {
        drain(&self.rings)
    }

    fn note_losses(&mut self, now_ns: u64) -> Result<()> {
        let losses = self.parts.outbox.losses();
        let load_id = self.parts.standing.programs.load_id;
        let own = self.own(load_id, losses.get(&load_id));
        if let Some(changed) = self.sweep.changes(load_id, own) {
            if self.lost.is_none() {
                self.lost_since_ns = now_ns;
            }
            self.lost = Some(changed);
        }
        for (earlier, of_load) in losses {
            if earlier == load_id || self.told_earlier.get(&earlier) == Some(&of_load) {
                continue;
            }
            self.push_empty(Lost {
                load_id: earlier,
                taken: Vec::new(),
                reasons: of_load
                    .iter()
                    .map(|((stream, reason), count)| (*stream, *reason, *count))
                    .collect(),
            })?;
            self.told_earlier.insert(earlier, of_load);
        }
        Ok(())
    }

    fn own<'l>(&self, load_id: u64, lost: Option<&'l sweep::Reasons>) -> Own<'l> {
        let state = self.parts.intake.state();
        Own {
            lost,
            malformed: state.malformed(load_id),
            said: state.said,
        }
    }

    fn cut(&mut self, now_ns: u64, patience: Patience) -> Result<()> {
        let mut batches: Vec<Batch> = Vec::new();
        let mut state = self.parts.intake.state();
        state
            .batcher
            .cut(now_ns, patience, &mut self.lost, |batch| {
                batches.push(batch)
            })?;
        if now_ns.saturating_sub(self.lost_since_ns) >= TELL_LOST_NS
            && let Some(lost) = self.lost.take()
        {
            batches.push(state.batcher.empty(lost)?);
        }
        drop(state);
        if !batches.is_empty() {
            self.parts.outbox.push(batches);
        }
        Ok(())
    }

    fn push_empty(&self, lost: Lost) -> Result<()> {
        let batch = self.parts.intake.state().batcher.empty(lost)?;
        self.parts.outbox.push([batch]);
        Ok(())
    }

    /// READY=1 once Redis answers and life is proven; WATCHDOG=1 out of a finished round with
    /// a fresh proof, in which the sender lives too, be it by handling an outage.
    fn tell_service(&mut self, now_ns: u64) {
        let Parts { wire, service, .. } = &mut self.parts;
        if !self.proof.is_fresh(now_ns) {
            return;
        }
        if !self.ready && wire.connected.load(Ordering::Relaxed) {
            service.ready();
            self.ready = true;
        }
        if now_ns.saturating_sub(wire.step_ns.load(Ordering::Relaxed)) < SENDER_HANGS_NS {
            service.beat();
        }
    }

    fn publish(&mut self) {
        let numbers = self.numbers();
        let parts = &mut self.parts;
        parts.report.measure(numbers);
        parts
            .wire
            .set_report(parts.report.fields(numbers, &self.sweep.lost_by()));
        let trouble = parts.wire.trouble();
        parts
            .service
            .status(&parts.report.status(numbers, trouble.as_deref()));
        if !self.ready {
            // Hooks are attached and buffering; only Redis is missing.
            parts.service.extend(REPORT_EVERY * 3);
        }
    }

    fn numbers(&self) -> Numbers {
        let state = self.parts.intake.state();
        Numbers {
            events: state.events,
            syscalls: state.syscalls,
            lost: self.sweep.total_lost(),
            waiting: self.parts.outbox.len(),
        }
    }
}

fn rings(parts: &Parts) -> Result<Vec<RingBuffer<'static>>> {
    let sink = parts.intake.clone();
    parts
        .standing
        .programs
        .rings(move |bytes| sink.sample(bytes))
}

fn drain(rings: &[RingBuffer<'_>]) -> Result<bool> {
    let mut more = false;
    for ring in rings {
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
