//! What the polling thread does for the sensor itself: proves that it lives, loads anew what is
//! gone, and drains the rings of loads that are silent now.

use std::time::Duration;

use anyhow::Result;
use ravn_shared::clock;
use ravn_shared::kind::Stream;
use ravn_shared::wire::Lost;

use super::{Line, MOST_DRAINS, Parts, WHILE_SENDING, drain, rings};
use crate::batch::AT_ONCE;
use crate::programs::Programs;
use crate::proof::{self, Word};
use crate::standing::{Finding, Found};
use crate::sweep;

/// `handle__sched_process_exit` among the hooks.
const EXIT_HOOK: usize = 4;
const EXIT_LOOKS: usize = 10;
const EXIT_LOOK: Duration = Duration::from_millis(5);

impl Line {
    /// Takes in what an earlier collector left: records in the rings of its loads, and the
    /// traces of what was done to them.
    ///
    /// # Errors
    /// When a ring cannot be read.
    pub fn receive(&mut self, found: Found) -> Result<()> {
        for load in found.earlier {
            self.drain_out(load)?;
        }
        for detail in found.missing {
            self.tell(&Finding {
                what: "pin",
                detail,
            })?;
        }
        Ok(())
    }

    /// One look at everything, one proof of life; what is gone is loaded anew.
    pub(super) fn guard(&mut self, now_ns: u64) -> Result<()> {
        let finding = match self.parts.standing.check() {
            Err(finding) => Some(finding),
            Ok(()) => {
                let word = self.prove(now_ns)?;
                self.proof.take(word, now_ns).map(|detail| Finding {
                    what: "proof",
                    detail,
                })
            }
        };
        let Some(finding) = finding else {
            return Ok(());
        };
        self.tell(&finding)?;
        // On its way while the verifier works, which takes a second or two.
        self.cut(now_ns, AT_ONCE)?;
        match self.parts.standing.replace(&self.parts.config) {
            Ok(before) => {
                self.rings = rings(&self.parts)?;
                let lost = self.drain_out(before)?;
                self.sweep.turn(lost);
                self.lost = None;
                let Parts {
                    report,
                    standing,
                    config,
                    ..
                } = &mut self.parts;
                report.set_load(&standing.programs, &config.filter);
                self.proof.again();
                let load_id = self.parts.standing.programs.load_id;
                tracing::warn!("the programs are loaded anew: load {load_id:016x}");
            }
            // The watchdog is not fed, and it is tried again.
            Err(error) => {
                tracing::error!("cannot load the programs anew: {error:#}");
                self.proof.later(now_ns);
            }
        }
        Ok(())
    }

    /// Acts, then drains the rings until they were found empty once: what is missing then was
    /// never in them.
    fn prove(&mut self, now_ns: u64) -> Result<Word> {
        let before = self.parts.standing.programs.counters()?;
        let nonce = clock::boottime_ns();
        self.parts.intake.state().seen.expect(nonce);
        let acts = match self.parts.prover.act(nonce) {
            Ok(acts) => acts,
            Err(error) => return Ok(Word::Degraded(format!("{error:#}"))),
        };
        let mut rounds = 0;
        while self.drain()? {
            self.cut(now_ns, WHILE_SENDING)?;
            rounds += 1;
            if rounds == MOST_DRAINS {
                return Ok(Word::Degraded("the rings never become empty".to_owned()));
            }
        }
        let mut after = self.parts.standing.programs.counters()?;
        // Before 6.16 a thread is joined a little before its exit is told.
        for _ in 0..EXIT_LOOKS {
            if after.hits[EXIT_HOOK] > before.hits[EXIT_HOOK] {
                break;
            }
            std::thread::sleep(EXIT_LOOK);
            after = self.parts.standing.programs.counters()?;
        }
        let missing: Vec<Stream> = self.parts.intake.state().seen.missing().collect();
        let attached = self.parts.standing.programs.attached();
        Ok(proof::judge(&acts, &missing, attached, &before, &after))
    }

    /// Says it in the log and in a record.
    fn tell(&mut self, finding: &Finding) -> Result<()> {
        tracing::error!("tampered with: {}: {}", finding.what, finding.detail);
        Ok(self.parts.intake.say(finding)?)
    }

    /// Drains a silent load's rings under its own id, tells its last counters, lets it go.
    fn drain_out(&mut self, mut load: Programs) -> Result<Lost> {
        self.parts.standing.detach(&mut load)?;
        let now_ns = clock::boottime_ns();
        self.cut(now_ns, AT_ONCE)?;
        let current = self.parts.standing.programs.load_id;
        self.parts.intake.state().set_load(load.load_id);
        let sink = self.parts.intake.clone();
        let rings = load.rings(move |bytes| sink.sample(bytes))?;
        let mut more = true;
        while more {
            more = drain(&rings)?;
            // Nothing is attached to them any more: this ends. The running load's counters
            // are no part of these batches.
            let lost = self.lost.take();
            self.cut(now_ns, AT_ONCE)?;
            self.lost = lost;
        }
        let losses = self.parts.outbox.losses();
        let of_load = losses.get(&load.load_id);
        let counters = load.counters()?;
        let lost = sweep::lost(load.load_id, &counters, self.own(load.load_id, of_load));
        self.push_empty(lost.clone())?;
        if let Some(of_load) = of_load {
            self.told_earlier.insert(load.load_id, of_load.clone());
        }
        self.parts.intake.state().set_load(current);
        self.parts.standing.retire(load)?;
        Ok(lost)
    }
}
