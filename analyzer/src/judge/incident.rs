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
    /// When it was last news, CLOCK_BOOTTIME nanoseconds: `worth` is of that time.
    #[serde(default)]
    pub news_ns: u64,
}

impl Evidence {
    /// What it is still worth: all of it for [`HOLD_NS`], then half of it each further time.
    fn worth_at(&self, now_ns: u64) -> f64 {
        self.worth * faded(now_ns, self.news_ns, HOLD_NS)
    }

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
    /// The last peak: what the evidence came to when it last reached what was held then.
    pub score: f64,
    /// The highest ever.
    pub peak: f64,
    /// When its last evidence came.
    pub last_ns: u64,
    /// Drives the level.
    pub open: bool,
    /// Times opened.
    pub opened: u32,
    /// When `score` was reached.
    #[serde(default)]
    pub reached_ns: u64,
    /// What the evidence came to at `last_ns`, each piece faded by its own age.
    #[serde(default)]
    pub latest: f64,
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
            reached_ns: now_ns,
            latest: 0.0,
        }
    }

    /// Begins anew: what was before stays history.
    pub fn reopen(&mut self, now_ns: u64) {
        self.evidence.clear();
        self.open = true;
        self.opened += 1;
        self.opened_ns = now_ns;
        self.score = 0.0;
        self.latest = 0.0;
        self.last_ns = now_ns;
        self.reached_ns = now_ns;
    }

    /// Adds evidence, or sees it again. `renew` is false for what is no news: it is counted and
    /// holds nothing up.
    ///
    /// Old evidence counts by what its age has left of it: a weak piece beside it neither
    /// brings a faded peak back nor holds one that it is no part of.
    pub fn add(&mut self, rule: &str, new: Evidence, renew: bool) {
        let now_ns = new.last_ns;
        let held = self.score_at(now_ns);
        if let Some(known) = self.evidence.get_mut(rule) {
            known.count += 1;
            known.last_ns = now_ns;
            if !renew {
                return;
            }
            if new.worth >= known.worth_at(now_ns) {
                known.worth = new.worth;
                known.news_ns = now_ns;
            }
        } else {
            self.evidence.insert(rule.to_owned(), new);
        }
        let left = self
            .evidence
            .values()
            .map(|one| (one.worth_at(now_ns), one));
        self.latest = combine(left);
        self.last_ns = self.last_ns.max(now_ns);
        if self.latest >= held {
            self.score = self.latest;
            self.reached_ns = now_ns;
        }
        self.peak = self.peak.max(self.score);
    }

    /// The score at a time: held, then halving.
    pub fn score_at(&self, now_ns: u64) -> f64 {
        self.faded(now_ns, HOLD_NS)
    }

    /// The score at a time as if nothing were held.
    pub fn score_unheld(&self, now_ns: u64) -> f64 {
        self.faded(now_ns, 0)
    }

    /// The peak holds from when it was reached, what came later from when it came.
    fn faded(&self, now_ns: u64, hold_ns: u64) -> f64 {
        let peak = self.score * faded(now_ns, self.reached_ns, hold_ns);
        peak.max(self.latest * faded(now_ns, self.last_ns, hold_ns))
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

/// What is left, of 1, of something that holds for `hold_ns` and then halves every [`HOLD_NS`].
fn faded(now_ns: u64, since_ns: u64, hold_ns: u64) -> f64 {
    let over_ns = now_ns.saturating_sub(since_ns).saturating_sub(hold_ns);
    0.5f64.powf(over_ns as f64 / HOLD_NS as f64)
}

/// `100·(1 − ∏(1 − sᵢ/100))` over distinct evidence, each with what it is worth now: of one
/// tactic within ten minutes the worst alone counts, and the lows share a bound.
pub fn combine<'e>(evidence: impl Iterator<Item = (f64, &'e Evidence)>) -> f64 {
    let mut all: Vec<(f64, &Evidence)> = evidence.collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.first_ns.cmp(&b.1.first_ns)));
    let mut counted: Vec<(f64, &Evidence)> = Vec::new();
    for (worth, one) in all {
        let told = !one.tactic.is_empty()
            && counted.iter().any(|(_, other)| {
                other.tactic == one.tactic && other.first_ns.abs_diff(one.first_ns) < TACTIC_NS
            });
        if !told {
            counted.push((worth, one));
        }
    }
    let product = |low: bool| -> f64 {
        counted
            .iter()
            .filter(|(_, one)| one.low == low)
            .map(|(worth, _)| 1.0 - worth.clamp(0.0, 100.0) / 100.0)
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
            news_ns: at_ns,
        }
    }

    fn score(all: &[Evidence]) -> f64 {
        (combine(all.iter().map(|one| (one.worth, one))) * 100.0).round() / 100.0
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

    const MINUTE_NS: u64 = HOLD_NS / 2;

    fn struck(worth: f64) -> Incident {
        let mut incident = Incident::new("x".to_owned(), ProcessId::default(), 0);
        incident.add("strong", evidence(worth, "execution", 0), true);
        incident
    }

    #[test]
    fn weak_evidence_does_not_bring_a_faded_peak_back() {
        let mut incident = struck(85.0);
        // Ten minutes later, 8 of them halving: 85 / 16.
        incident.add("weak", evidence(15.0, "", 10 * MINUTE_NS), true);
        let left = 100.0 * (1.0 - (1.0 - 0.85 / 16.0) * 0.85);
        assert!((incident.score_at(10 * MINUTE_NS) - left).abs() < 1e-9);
        // The strong one again restores its own worth beside the weak.
        incident.add("strong", evidence(85.0, "execution", 11 * MINUTE_NS), true);
        assert_eq!(incident.score_at(11 * MINUTE_NS), 87.25);
        assert_eq!(incident.peak, 87.25);
    }

    #[test]
    fn weak_evidence_holds_no_peak_that_it_is_no_part_of() {
        let mut incident = struck(85.0);
        for minute in 1..30 {
            incident.add("weak", evidence(15.0, "", minute * MINUTE_NS), true);
        }
        // First told within the two minutes, it is part of the peak: held until the third.
        assert!(incident.score_at(30 * MINUTE_NS) < 16.0);
        let mut once = struck(85.0);
        once.add("weak", evidence(15.0, "", MINUTE_NS), true);
        assert_eq!(once.score_at(3 * MINUTE_NS), 87.25);
        assert_eq!(once.score_at(5 * MINUTE_NS), 87.25 / 2.0);
    }

    #[test]
    fn what_comes_while_a_peak_fades_holds_two_minutes_of_its_own() {
        let mut incident = struck(85.0);
        let at = 7 * MINUTE_NS;
        incident.add("medium", evidence(40.0, "persistence", at), true);
        let score = incident.score_at(at);
        assert!(score > 40.0 && score < 60.0, "{score}");
        assert_eq!(incident.score_at(at + HOLD_NS), score);
        assert_eq!(incident.score_at(at + 2 * HOLD_NS), score / 2.0);
        // Weaker news of the same rule lowers nothing and holds nothing up.
        incident.add(
            "medium",
            evidence(20.0, "persistence", at + MINUTE_NS),
            true,
        );
        assert!(incident.score_at(at + HOLD_NS) >= 40.0);
        assert_eq!(incident.evidence["medium"].news_ns, at);
    }

    #[test]
    fn a_peak_stands_its_two_minutes_and_so_does_what_comes_in_them() {
        let second_ns = HOLD_NS / 120;
        let mut incident = struck(85.0);
        incident.add("weak", evidence(15.0, "", 100 * second_ns), true);
        let at = 200 * second_ns;
        incident.add("medium", evidence(40.0, "persistence", at), true);
        // The strong one has faded to 53 by then, all three come to 76: less than is held.
        assert_eq!(incident.score_at(220 * second_ns), 87.25);
        let latest = incident.score_at(at + HOLD_NS);
        assert!((76.0..77.0).contains(&latest), "{latest}");
        assert_eq!(incident.score_at(at + 2 * HOLD_NS), latest / 2.0);
    }
}
