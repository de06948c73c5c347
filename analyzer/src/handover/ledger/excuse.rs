//! When nothing could come, so that nothing settles; and when Redis lost what it held: gaps of
//! that time are its loss.

use super::Ledger;
use super::numbers::Numbers;

/// Seconds after the first news of a collector until all is known to be taken that may have
/// been in Redis when it lost its data: counters are told once a second.
const EXCUSED_TICKS: u64 = 5;

/// A tick is due each second. One that is so late, nanoseconds, was held up itself, and with it
/// the taking of batches; or the host slept.
const LATE_NS: u64 = 2_000_000_000;

/// Redis lost what it held, and it is not known yet what that was.
#[derive(Clone, Copy, Debug)]
pub enum Excuse {
    /// No batch has come since.
    Silent,
    /// The first came at this tick.
    Heard(u64),
}

impl Ledger {
    /// Redis lost what it held: gaps of this time are its loss.
    pub fn redis_lost(&mut self) {
        self.excuse = Some(Excuse::Silent);
        self.each_numbers(Numbers::excuse);
    }

    /// Redis failed: what is missing is not under way until [`Self::redis_serves`], however
    /// long that takes, and may be lost with it.
    pub fn redis_away(&mut self) {
        if !std::mem::replace(&mut self.away, true) {
            self.hold();
        }
    }

    /// In this second, something was left in Redis for want of room here: what is missing may be
    /// behind it, so the second does not count.
    pub fn held_back(&mut self) {
        self.held = true;
    }

    fn hold(&mut self) {
        self.each_numbers(Numbers::hold);
    }

    /// The time by which something settles: without the seconds that do not count.
    pub(super) fn time(&self, now_ns: u64) -> u64 {
        let counted = self.ticked_ns.filter(|_| self.held).unwrap_or(now_ns);
        counted.saturating_sub(self.stood_ns)
    }

    /// Whether the second that is over counts.
    fn counts(&mut self, now_ns: u64) -> bool {
        let before_ns = self.ticked_ns.replace(now_ns).unwrap_or(now_ns);
        let held = std::mem::take(&mut self.held);
        if now_ns < before_ns {
            // Another machine's clock was set back, or it began anew.
            self.stood_ns = 0;
            self.hold();
            return !held;
        }
        let passed_ns = now_ns - before_ns;
        let counts = !held && passed_ns <= LATE_NS;
        if !counts {
            self.stood_ns += passed_ns;
        }
        counts
    }

    /// Redis is there; call after [`Self::redis_lost`], if it lost anything.
    pub fn redis_serves(&mut self) {
        self.away = false;
    }

    /// A batch came.
    pub(super) fn heard(&mut self) {
        if let Some(excuse @ Excuse::Silent) = &mut self.excuse {
            *excuse = Excuse::Heard(self.ticks);
        }
    }

    /// A second has passed: an excuse may be over, and more is settled.
    pub(super) fn settle(&mut self, now_ns: u64) {
        if !self.counts(now_ns) || self.away {
            if let Some(Excuse::Heard(at)) = &mut self.excuse {
                *at += 1;
            }
            return;
        }
        if let Some(Excuse::Heard(at)) = self.excuse
            && self.ticks > at + EXCUSED_TICKS
        {
            self.excuse = None;
            self.each_numbers(Numbers::excuse_ends);
        }
        let time_ns = self.time(now_ns);
        self.each_numbers(|numbers| numbers.mark(time_ns));
    }

    pub(super) fn each_numbers(&mut self, change: impl Fn(&mut Numbers)) {
        for load in self.loads.values_mut() {
            load.streams.values_mut().for_each(&change);
        }
    }
}
