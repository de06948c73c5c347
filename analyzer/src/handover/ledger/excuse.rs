//! When nothing could come, so that nothing settles; and when Redis lost what it held: gaps of
//! that time are its loss.

use super::numbers::Numbers;
use super::{Ledger, Part};

/// Seconds after the first news of a collector until all is known to be taken that may have
/// been in Redis when it lost its data: counters are told once a second.
const EXCUSED_TICKS: u64 = 5;

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
        self.hold();
        self.away = true;
    }

    /// In this second, something was left in Redis for want of room here: what is missing may be
    /// behind it.
    pub fn held_back(&mut self) {
        self.hold();
        self.held = true;
    }

    fn hold(&mut self) {
        if self.away || self.held {
            return;
        }
        for load in self.loads.values_mut() {
            load.streams.values_mut().for_each(Numbers::hold);
        }
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
        if self.away || std::mem::take(&mut self.held) {
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
        for (id, load) in &mut self.loads {
            for ((stream, cpu), numbers) in &mut load.streams {
                if numbers.mark(now_ns) {
                    self.changed.insert(Part::Numbers(*id, *stream, *cpu));
                }
            }
        }
    }

    fn each_numbers(&mut self, change: impl Fn(&mut Numbers)) {
        for (id, load) in &mut self.loads {
            for ((stream, cpu), numbers) in &mut load.streams {
                change(numbers);
                self.changed.insert(Part::Numbers(*id, *stream, *cpu));
            }
        }
    }
}
