//! An operation with the sensor's hooks and without, in rounds so short that the machine's mood
//! (its clock, its neighbours) is the same for both.

use anyhow::Result;
use libbpf_rs::Link;

use super::hooks::Hooks;
use super::slices::{Operation, calibrate, quiet_ns};

/// Rounds of a load; the median one counts.
const ROUNDS: usize = 15;
/// Slices of one side of a round: 20 ms.
const SLICES: usize = 10;

/// One row of a table: what it does, what it may cost, and what was measured.
pub struct Row {
    /// What it does.
    pub what: &'static str,
    /// Its target.
    pub at_most: f64,
    /// For each load, nanoseconds of the operation without and with the hooks.
    pub pairs: Vec<(f64, f64)>,
    operation: Box<dyn Operation>,
    times: u32,
}

impl Row {
    /// Nothing is measured yet.
    ///
    /// # Errors
    /// When the operation fails.
    pub fn new(
        what: &'static str,
        at_most: f64,
        operation: impl Operation + 'static,
    ) -> Result<Self> {
        let mut operation: Box<dyn Operation> = Box::new(operation);
        let times = calibrate(operation.as_mut())?;
        Ok(Self {
            what,
            at_most,
            pairs: Vec::new(),
            operation,
            times,
        })
    }

    /// Adds the pair of one load: its median round. `without` attaches what the hooks are
    /// compared with.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn measure(
        &mut self,
        hooks: &Hooks,
        without: impl Fn() -> Result<Option<Link>>,
    ) -> Result<()> {
        let mut rounds = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            let mut took = [0.0; 2];
            // In turn which side goes first: a drift then weighs on both alike.
            for side in [round % 2, 1 - round % 2] {
                let (_floor, _hooks) = if side == 0 {
                    (without()?, Vec::new())
                } else {
                    (None, hooks.attach()?)
                };
                took[side] = quiet_ns(self.operation.as_mut(), self.times, SLICES)?;
                hooks.drain()?;
            }
            rounds.push((took[0], took[1]));
        }
        rounds.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
        self.pairs.push(rounds[ROUNDS / 2]);
        Ok(())
    }
}
