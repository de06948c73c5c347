//! Proof of life: every two seconds one real act for each ring, seen back through the whole
//! normal path, and a hit of every program that such an act runs.
//!
//! The acts are over when their records are looked for, so no time is waited for: a ring that
//! was found empty since has handed over all that came before.

mod acts;
mod seen;

use ravn_shared::kind::{Reason, Stream};

pub use acts::{Acts, Prover};
pub use seen::Seen;

use crate::programs::{Counters, HOOKS};

/// Between two proofs, nanoseconds.
pub const EVERY_NS: u64 = 2_000_000_000;
/// After a first failure.
const AGAIN_NS: u64 = 100_000_000;
/// A proof that is older keeps no watchdog.
const FRESH_NS: u64 = 3 * EVERY_NS;
/// Failures in a row that mean death. One may be an interrupt's, or a program's of another hook
/// that held the CPU.
const FAILURES: u32 = 2;

/// What one round of acts proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// All of it.
    Alive,
    /// Everything runs, but not all was seen, and why.
    Degraded(String),
    /// What gave no sign of life.
    Dead(String),
}

/// When to prove, and what was proven.
#[derive(Debug, Default)]
pub struct Proof {
    next_ns: u64,
    proven_ns: Option<u64>,
    failures: u32,
    degraded: Option<String>,
}

impl Proof {
    /// Whether it is time.
    pub const fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.next_ns
    }

    /// Takes the outcome of a round; gives what is dead beyond doubt.
    pub fn take(&mut self, word: Word, now_ns: u64) -> Option<String> {
        self.next_ns = now_ns + EVERY_NS;
        let degraded = match word {
            Word::Dead(what) => {
                self.failures += 1;
                if self.failures >= FAILURES {
                    self.failures = 0;
                    return Some(what);
                }
                self.next_ns = now_ns + AGAIN_NS;
                return None;
            }
            Word::Alive => None,
            Word::Degraded(why) => Some(why),
        };
        self.failures = 0;
        self.proven_ns = Some(now_ns);
        if self.degraded != degraded {
            match &degraded {
                Some(why) => tracing::warn!("proof of life is degraded: {why}"),
                None => tracing::info!("proof of life is whole again"),
            }
            self.degraded = degraded;
        }
        None
    }

    /// Something was loaded anew: prove it at once.
    pub const fn again(&mut self) {
        self.next_ns = 0;
    }

    /// Nothing could be proven now.
    pub const fn later(&mut self, now_ns: u64) {
        self.next_ns = now_ns + EVERY_NS;
    }

    /// Whether the last proof is fresh.
    pub fn is_fresh(&self, now_ns: u64) -> bool {
        self.proven_ns
            .is_some_and(|proven| now_ns.saturating_sub(proven) < FRESH_NS)
    }
}

/// Judges a round by the counters before and after it, once the rings were found empty.
/// `attached` has a bit for each hook.
pub fn judge(
    acts: &Acts,
    missing: &[Stream],
    attached: u64,
    before: &Counters,
    after: &Counters,
) -> Word {
    if !acts.refused.is_empty() {
        return Word::Degraded(format!("cannot act: {}", acts.refused.join(", ")));
    }
    let ran = |number: usize| after.hits[number] > before.hits[number];
    for (number, name) in HOOKS.into_iter().enumerate() {
        let acted = match number {
            0 | 2 | 4 => true,
            1 => acts.moved,
            // Nothing is executed for proof, no cgroup made.
            _ => false,
        };
        if acted && attached >> number & 1 == 1 && !ran(number) {
            return Word::Dead(format!("{name} did not run"));
        }
    }
    let grew = |stream: Stream| {
        [Reason::RingFull, Reason::ScratchFull, Reason::Budget]
            .into_iter()
            .any(|reason| {
                after.reasons.get(&(stream, reason)) > before.reasons.get(&(stream, reason))
            })
    };
    let needed = |stream: Stream| match stream {
        Stream::Syscall => 1 << 2,
        _ => 1 << 0,
    };
    let mut full = Vec::new();
    for stream in missing {
        if attached & needed(*stream) == 0 {
            continue;
        }
        if !grew(*stream) {
            return Word::Dead(format!("no record came through the {} ring", stream.name()));
        }
        full.push(stream.name());
    }
    if full.is_empty() {
        Word::Alive
    } else {
        Word::Degraded(format!("full rings: {}", full.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = (1 << HOOKS.len()) - 1;

    fn acts() -> Acts {
        Acts {
            refused: Vec::new(),
            moved: true,
        }
    }

    fn ran() -> Counters {
        Counters {
            hits: [1; HOOKS.len()],
            ..Counters::default()
        }
    }

    #[test]
    fn a_lost_record_is_death_unless_a_full_ring_explains_it() {
        let before = Counters::default();
        let mut after = ran();
        assert_eq!(judge(&acts(), &[], ALL, &before, &after), Word::Alive);
        let lost = [Stream::File];
        assert!(matches!(
            judge(&acts(), &lost, ALL, &before, &after),
            Word::Dead(_)
        ));
        after.reasons.insert((Stream::Network, Reason::RingFull), 1);
        assert!(matches!(
            judge(&acts(), &lost, ALL, &before, &after),
            Word::Dead(_)
        ));
        after.reasons.insert((Stream::File, Reason::RingFull), 1);
        assert!(matches!(
            judge(&acts(), &lost, ALL, &before, &after),
            Word::Degraded(_)
        ));
    }

    #[test]
    fn a_program_that_did_not_run_is_dead_if_it_was_attached() {
        let mut after = ran();
        after.hits[4] = 0;
        let before = Counters::default();
        assert!(matches!(
            judge(&acts(), &[], ALL, &before, &after),
            Word::Dead(_)
        ));
        assert_eq!(
            judge(&acts(), &[], ALL & !(1 << 4), &before, &after),
            Word::Alive
        );
    }

    #[test]
    fn two_failures_in_a_row_are_death_and_one_is_not() {
        let mut proof = Proof::default();
        let dead = || Word::Dead("x".to_owned());
        assert_eq!(proof.take(dead(), 0), None);
        assert!(!proof.is_fresh(0) && !proof.is_due(1) && proof.is_due(AGAIN_NS));
        assert_eq!(proof.take(Word::Alive, 1), None);
        assert!(proof.is_fresh(2) && !proof.is_fresh(1 + FRESH_NS));
        assert_eq!(proof.take(dead(), 3), None);
        assert_eq!(proof.take(dead(), 4), Some("x".to_owned()));
    }
}
