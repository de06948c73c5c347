//! The ledger's sums, as `ravn:state` shows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Records and syscalls, each with a balance of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Every kind but sequences.
    pub records: Side,
    /// The syscalls of sequences.
    pub syscalls: Side,
}

/// `produced = judged + lost + queued + in_flight + dead + unexplained`, always.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Numbers taken, and what was lost before it took one.
    pub produced: u64,
    /// Judged.
    pub judged: u64,
    /// By stage and reason, as who dropped it counted.
    pub lost: BTreeMap<String, u64>,
    /// Taken a number, but not here yet.
    pub queued: u64,
    /// Here, but not judged yet.
    pub in_flight: u64,
    /// Broke the judge, and lie in `events:dead`.
    pub dead: u64,
    /// Missing for more than 3 s, and counted by nobody.
    pub unexplained: u64,
}

impl Side {
    /// Whether the balance holds.
    pub fn balances(&self) -> bool {
        let lost: u64 = self.lost.values().sum();
        self.produced
            == self.judged + lost + self.queued + self.in_flight + self.dead + self.unexplained
    }

    /// Adds `other` to this.
    pub fn add(&mut self, other: &Self) {
        self.produced += other.produced;
        self.judged += other.judged;
        for (reason, count) in &other.lost {
            *self.lost.entry(reason.clone()).or_default() += count;
        }
        self.queued += other.queued;
        self.in_flight += other.in_flight;
        self.dead += other.dead;
        self.unexplained += other.unexplained;
    }

    /// Everything that will not be judged.
    pub fn missing(&self) -> u64 {
        self.lost.values().sum::<u64>() + self.dead + self.unexplained
    }

    /// Up to `most` of what is unexplained was lost by `reason`.
    pub fn explain(&mut self, reason: &str, most: u64) {
        let explained = self.unexplained.min(most);
        if explained > 0 {
            *self.lost.entry(reason.to_owned()).or_default() += explained;
            self.unexplained -= explained;
        }
    }

    /// What is missing for good: the load is over, nothing is waited for any more.
    pub fn close(&mut self) {
        self.unexplained += self.queued + self.in_flight;
        self.queued = 0;
        self.in_flight = 0;
    }
}
