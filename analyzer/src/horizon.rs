//! No record can tell of a time after its arrival, as far as that is known.

/// Another machine's time may be ahead of what its records told by so much, nanoseconds: batches
/// that waited come at once. Below the time for which a batch is waited at most.
pub const GRACE_NS: u64 = 20_000_000_000;

/// The latest time that a record may tell of. A forged or damaged time of the far future would
/// stop the clocks that go by the records' times.
#[derive(Clone, Copy, Debug)]
pub struct Horizon {
    now_ns: u64,
    grace_ns: u64,
}

impl Horizon {
    /// Everything is believed: a recording, whose time is over.
    pub const NONE: Self = Self {
        now_ns: u64::MAX,
        grace_ns: 0,
    };

    /// Of records of this boot of this machine that arrive at `now_ns`, CLOCK_BOOTTIME.
    pub const fn ours(now_ns: u64) -> Self {
        Self {
            now_ns,
            grace_ns: 0,
        }
    }

    /// Of records of another machine, where `now_ns` is what its last ones told and the time since.
    pub const fn another(now_ns: u64) -> Self {
        Self {
            now_ns,
            grace_ns: GRACE_NS,
        }
    }

    /// `time_ns`, or the time of arrival if it cannot be true.
    pub const fn bound(self, time_ns: u64) -> u64 {
        if time_ns > self.now_ns.saturating_add(self.grace_ns) {
            self.now_ns
        } else {
            time_ns
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{GRACE_NS, Horizon};

    #[test]
    fn a_time_after_arrival_is_taken_as_arrival() {
        assert_eq!(Horizon::ours(7).bound(7), 7);
        assert_eq!(Horizon::ours(7).bound(8), 7);
        assert_eq!(Horizon::another(7).bound(7 + GRACE_NS), 7 + GRACE_NS);
        assert_eq!(Horizon::another(7).bound(8 + GRACE_NS), 7);
        assert_eq!(Horizon::NONE.bound(u64::MAX), u64::MAX);
    }
}
