//! One incident: the evidence in one process tree, and the score that it makes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::rule::Severity;
use crate::verdict::ProcessId;

/// A peak stands this long after its last evidence; then it halves in the same time, each time.
pub const HOLD_NS: u64 = 120_000_000_000;
/// Within this time one tactic counts once.
const TACTIC_NS: u64 = 600_000_000_000;
/// All lows together are worth at most this.
const LOWS_MOST: f64 = 50.0;
/// Below this an incident closes.
pub const CLOSE_BELOW: f64 = 5.0;
/// The model's evidence under this name.
pub const MODEL: &str = "model";

/// One thing that speaks against a process tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Title of the rule.
    pub title: String,
    /// ATT&CK tactic, empty if none.
    pub tactic: String,
    /// What it is worth, 0 to 100.
    pub worth: f64,
    /// Worth little: counts among the lows.
    pub low: bool,
    /// First and last time, CLOCK_BOOTTIME nanoseconds.
    pub first_ns: u64,
    /// See `first_ns`.
    pub last_ns: u64,
    /// Times seen.
    pub count: u64,
    /// The process that gave it first.
    pub process: ProcessId,
    /// Its program, safe to show.
    pub program: String,
    /// Its user.
    pub uid: u32,
}

impl Evidence {
    /// Whether a severity counts among the lows.
    pub fn is_low(severity: Severity) -> bool {
        severity <= Severity::Low
    }
}

/// A process tree that something speaks against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its name: hex of a digest.
    pub id: String,
    /// Where the tree begins.
    pub entry: ProcessId,
    /// By rule's name.
    pub evidence: BTreeMap<String, Evidence>,
    /// When it was opened first, and opened again last.
    pub opened_ns: u64,
    /// The score when the last evidence came.
    pub score: f64,
    /// The highest ever.
    pub peak: f64,
    /// When its last evidence came.
    pub last_ns: u64,
    /// Drives the level.
    pub open: bool,
    /// Times opened.
    pub opened: u32,
}

impl Incident {
    /// A new one, without evidence.
    pub fn new(id: String, entry: ProcessId, now_ns: u64) -> Self {
        Self {
            id,
            entry,
            evidence: BTreeMap::new(),
            opened_ns: now_ns,
            score: 0.0,
            peak: 0.0,
            last_ns: now_ns,
            open: true,
            opened: 1,
        }
    }

    /// Begins anew: what was before stays history.
    pub fn reopen(&mut self, now_ns: u64) {
        self.evidence.clear();
        self.open = true;
        self.opened += 1;
        self.opened_ns = now_ns;
        self.score = 0.0;
        self.last_ns = now_ns;
    }

    /// Adds evidence, or sees it again. `renew` is false for what is no news: it is counted and
    /// holds nothing up.
    pub fn add(&mut self, rule: &str, new: Evidence, renew: bool) {
        let now_ns = new.last_ns;
        if let Some(known) = self.evidence.get_mut(rule) {
            known.count += 1;
            known.last_ns = now_ns;
            known.worth = known.worth.max(new.worth);
            if !renew {
                return;
            }
        } else {
            self.evidence.insert(rule.to_owned(), new);
        }
        self.score = combine(self.evidence.values());
        self.peak = self.peak.max(self.score);
        self.last_ns = self.last_ns.max(now_ns);
    }

    /// The score at a time: held, then halving.
    pub fn score_at(&self, now_ns: u64) -> f64 {
        let age = now_ns.saturating_sub(self.last_ns);
        self.score * halved(age.saturating_sub(HOLD_NS))
    }

    /// The score at a time as if nothing were held.
    pub fn score_unheld(&self, now_ns: u64) -> f64 {
        self.score * halved(now_ns.saturating_sub(self.last_ns))
    }

    /// The evidence that says most; at equal worth the first.
    pub fn worst(&self) -> Option<&Evidence> {
        self.evidence.values().max_by(|a, b| {
            a.worth
                .total_cmp(&b.worth)
                .then(b.first_ns.cmp(&a.first_ns))
        })
    }
}

fn halved(over_ns: u64) -> f64 {
    0.5f64.powf(over_ns as f64 / HOLD_NS as f64)
}

/// `100·(1 − ∏(1 − sᵢ/100))` over distinct evidence: of one tactic within ten minutes the worst
/// alone counts, and the lows share a bound.
pub fn combine<'e>(evidence: impl Iterator<Item = &'e Evidence>) -> f64 {
    let mut all: Vec<&Evidence> = evidence.collect();
    all.sort_by(|a, b| {
        b.worth
            .total_cmp(&a.worth)
            .then(a.first_ns.cmp(&b.first_ns))
    });
    let mut counted: Vec<&Evidence> = Vec::new();
    for one in all {
        let told = !one.tactic.is_empty()
            && counted.iter().any(|other| {
                other.tactic == one.tactic && other.first_ns.abs_diff(one.first_ns) < TACTIC_NS
            });
        if !told {
            counted.push(one);
        }
    }
    let product = |low: bool| -> f64 {
        counted
            .iter()
            .filter(|one| one.low == low)
            .map(|one| 1.0 - one.worth.clamp(0.0, 100.0) / 100.0)
            .product()
    };
    let lows = (1.0 - product(true)).min(LOWS_MOST / 100.0);
    100.0 * (1.0 - product(false) * (1.0 - lows))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(worth: f64, tactic: &str, at_ns: u64) -> Evidence {
        Evidence {
            title: String::new(),
            tactic: tactic.to_owned(),
            worth,
            low: worth < 20.0,
            first_ns: at_ns,
            last_ns: at_ns,
            count: 1,
            process: ProcessId::default(),
            program: String::new(),
            uid: 0,
        }
    }

    fn score(all: &[Evidence]) -> f64 {
        (combine(all.iter()) * 100.0).round() / 100.0
    }

    #[test]
    fn distinct_evidence_multiplies() {
        let e = |worth, tactic| evidence(worth, tactic, 0);
        assert_eq!(score(&[]), 0.0);
        assert_eq!(score(&[e(85.0, "execution")]), 85.0);
        assert_eq!(score(&[e(40.0, "execution"), e(40.0, "persistence")]), 64.0);
        assert_eq!(score(&[e(40.0, "execution"), e(85.0, "execution")]), 85.0);
        assert_eq!(score(&[e(40.0, ""), e(40.0, "")]), 64.0);
    }

    #[test]
    fn one_tactic_counts_again_after_ten_minutes() {
        let later = TACTIC_NS;
        assert_eq!(
            score(&[evidence(40.0, "x", 0), evidence(40.0, "x", later - 1)]),
            40.0
        );
        assert_eq!(
            score(&[evidence(40.0, "x", 0), evidence(40.0, "x", later)]),
            64.0
        );
    }

    #[test]
    fn lows_together_stay_at_fifty() {
        let lows: Vec<_> = (0..20).map(|_| evidence(15.0, "", 0)).collect();
        assert_eq!(score(&lows), 50.0);
        assert_eq!(score(&lows[..2]), 27.75);
    }

    #[test]
    fn a_peak_holds_two_minutes_and_halves_every_two() {
        let mut incident = Incident::new("x".to_owned(), ProcessId::default(), 0);
        incident.add("r", evidence(85.0, "execution", 0), true);
        assert_eq!(incident.score_at(HOLD_NS), 85.0);
        assert_eq!(incident.score_at(2 * HOLD_NS), 42.5);
        assert_eq!(incident.score_at(3 * HOLD_NS), 21.25);
        assert_eq!(incident.score_unheld(HOLD_NS), 42.5);
        incident.add("r", evidence(85.0, "execution", HOLD_NS), false);
        assert_eq!(
            (incident.score_at(2 * HOLD_NS), incident.evidence["r"].count),
            (42.5, 2)
        );
        incident.add("r", evidence(85.0, "execution", HOLD_NS), true);
        assert_eq!(incident.score_at(2 * HOLD_NS), 85.0);
    }
}
