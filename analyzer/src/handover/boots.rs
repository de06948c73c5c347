//! Which boot of the host is judged. Batches of the last boot may still lie in Redis after
//! a restart of the machine; a host's name under which two boots alternate is forged.

use std::time::Instant;

use ravn_shared::clock;

use crate::horizon::{GRACE_NS, Horizon};

/// Most boots that are remembered.
const MOST: usize = 16;

/// The boots of one host, the present one last.
#[derive(Debug, Default)]
pub struct Boots {
    known: Vec<[u8; 16]>,
    local: Option<[u8; 16]>,
    /// Of the last batch: realtime − boottime, nanoseconds.
    offset_ns: Option<i64>,
    /// Time of the newest record of this boot, and when it came.
    told: Option<(u64, Instant)>,
}

/// What a batch's boot id means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// The boot that is judged.
    Present,
    /// The host was started anew (or the first batch of all came).
    Next,
    /// A boot that was over.
    Past,
}

impl Boots {
    /// Knows the boot of this machine, which need not be the host that is judged.
    pub fn new() -> Self {
        Self {
            local: clock::boot_id().ok(),
            ..Self::default()
        }
    }

    /// The boot that is judged; before the first batch, this machine's as the best guess.
    pub fn present(&self) -> [u8; 16] {
        self.known
            .last()
            .copied()
            .or(self.local)
            .unwrap_or_default()
    }

    /// Classifies a batch's boot id.
    pub fn classify(&self, boot_id: &[u8]) -> Boot {
        match self.known.iter().rposition(|known| known == boot_id) {
            Some(at) if at + 1 == self.known.len() => Boot::Present,
            Some(_) => Boot::Past,
            None => Boot::Next,
        }
    }

    /// The boot that is judged from now on.
    pub fn advance(&mut self, boot_id: &[u8]) {
        if let Ok(boot_id) = <[u8; 16]>::try_from(boot_id) {
            self.known.push(boot_id);
            if self.known.len() > MOST {
                self.known.remove(0);
            }
        }
        self.offset_ns = None;
        self.told = None;
    }

    /// A batch of the present boot told its clock.
    pub fn offset(&mut self, offset_ns: i64) {
        self.offset_ns = Some(offset_ns);
    }

    /// CLOCK_BOOTTIME of the host that is judged, nanoseconds: this machine's. Of another machine or
    /// boot, the time of day less its last batch's offset, held to what its records told: clocks
    /// differ, and an offset may be wrong.
    pub fn now_ns(&self) -> u64 {
        match self.told_ns() {
            Some(told) if !self.is_ours() => {
                let latest = told.saturating_add(GRACE_NS);
                self.reckoned_ns().clamp(told, latest)
            }
            _ => self.reckoned_ns(),
        }
    }

    /// The same by the time of day alone: how far behind the records are. 0 before a batch of
    /// another machine told its clock.
    pub fn reckoned_ns(&self) -> u64 {
        if self.is_ours() {
            return clock::boottime_ns();
        }
        let real = i128::from(clock::boottime_ns()) + i128::from(clock::offset_ns());
        let reckoned = self.offset_ns.map(|offset| real - i128::from(offset));
        reckoned.map_or(0, |ns| u64::try_from(ns).unwrap_or_default())
    }

    /// The latest time that a batch may tell of now whose oldest record is of `oldest_ns`. Of
    /// another machine a whole batch that is ahead is believed: what lay between is lost, or was
    /// long ago.
    pub fn horizon(&self, oldest_ns: u64) -> Horizon {
        if self.is_ours() {
            return Horizon::ours(clock::boottime_ns());
        }
        match self.told_ns() {
            Some(told) if oldest_ns <= told.saturating_add(GRACE_NS) => Horizon::another(told),
            _ => Horizon::another(oldest_ns),
        }
    }

    /// The newest record of a batch was of this time.
    pub fn told(&mut self, time_ns: u64) {
        if self.told.is_none_or(|(newest_ns, _)| newest_ns < time_ns) {
            self.told = Some((time_ns, Instant::now()));
        }
    }

    /// What the records told, and the time since.
    fn told_ns(&self) -> Option<u64> {
        let (newest_ns, at) = self.told?;
        let since = u64::try_from(at.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Some(newest_ns.saturating_add(since))
    }

    fn is_ours(&self) -> bool {
        self.local == Some(self.present())
    }

    /// For the checkpoint.
    pub fn packed(&self) -> Vec<u8> {
        self.known.concat()
    }

    /// From the checkpoint.
    pub fn restore(&mut self, value: &[u8]) {
        self.known = value
            .as_chunks()
            .0
            .iter()
            .rev()
            .take(MOST)
            .rev()
            .copied()
            .collect();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{Boot, Boots};

    #[test]
    fn a_boot_that_is_over_never_returns() {
        let mut boots = Boots::new();
        assert_eq!(boots.classify(&[1; 16]), Boot::Next);
        boots.advance(&[1; 16]);
        boots.advance(&[2; 16]);
        let mut back = Boots::new();
        back.restore(&boots.packed());
        assert_eq!(back.classify(&[2; 16]), Boot::Present);
        assert_eq!(back.classify(&[1; 16]), Boot::Past);
        assert_eq!(back.classify(&[3; 16]), Boot::Next);
    }

    #[test]
    fn another_hosts_clock_is_reckoned_from_its_batches() {
        let mut boots = Boots::new();
        boots.advance(&[9; 16]);
        let an_hour = 3_600_000_000_000;
        boots.offset(ravn_shared::clock::offset_ns() - an_hour);
        let ahead = boots.now_ns() - ravn_shared::clock::boottime_ns();
        assert!(ahead.abs_diff(an_hour as u64) < 1_000_000_000, "{ahead}");
    }

    /// However far their times of day are apart.
    #[test]
    fn another_machines_time_is_what_its_records_tell() {
        let mut boots = Boots::new();
        boots.advance(&[9; 16]);
        for offset in [i64::MIN, 0, i64::MAX] {
            let (second, far) = (1_000_000_000, u64::MAX / 2);
            let mut boots = Boots {
                known: boots.known.clone(),
                ..Boots::new()
            };
            boots.offset(offset);
            assert_eq!(boots.horizon(7).bound(7), 7, "the first of all");
            assert_eq!(boots.horizon(7).bound(far), 7, "and one wrong time in it");
            boots.told(100 * second);
            boots.told(50 * second);
            let now_ns = boots.now_ns();
            assert!((100..=121).contains(&(now_ns / second)), "{now_ns}");
            let near = 115 * second;
            assert_eq!(boots.horizon(90 * second).bound(near), near);
            let bound = boots.horizon(90 * second).bound(far);
            assert!((100..=121).contains(&(bound / second)), "{bound}");
            let ahead = boots.horizon(500 * second);
            assert_eq!(ahead.bound(501 * second), 501 * second);
            assert_eq!(ahead.bound(far), 500 * second);
        }
    }

    #[test]
    fn this_machines_own_clock_is_not_ahead_of_itself() {
        let mut boots = Boots::new();
        boots.advance(&ravn_shared::clock::boot_id().unwrap());
        boots.offset(0);
        let late_ns = ravn_shared::clock::boottime_ns() + 60_000_000_000;
        assert!(boots.horizon(late_ns).bound(late_ns) < late_ns);
    }
}
