//! Which boot of the host is judged. Batches of the last boot may still lie in Redis after
//! a restart of the machine; a host's name under which two boots alternate is forged.

use ravn_shared::clock;

use crate::horizon::Horizon;

/// Most boots that are remembered.
const MOST: usize = 16;

/// The boots of one host, the present one last.
#[derive(Debug, Default)]
pub struct Boots {
    known: Vec<[u8; 16]>,
    local: Option<[u8; 16]>,
    /// Of the last batch: realtime − boottime, nanoseconds.
    offset_ns: Option<i64>,
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
    }

    /// A batch of the present boot told its clock.
    pub fn offset(&mut self, offset_ns: i64) {
        self.offset_ns = Some(offset_ns);
    }

    /// CLOCK_BOOTTIME of the host that is judged, nanoseconds: this machine's, or, of
    /// another machine or boot, the time of day less its last batch's offset.
    pub fn now_ns(&self) -> u64 {
        self.reckoned_ns().unwrap_or_else(clock::boottime_ns)
    }

    /// The latest time that a batch of the present boot may tell of now.
    pub fn horizon(&self) -> Horizon {
        self.reckoned_ns()
            .map_or_else(|| Horizon::ours(clock::boottime_ns()), Horizon::another)
    }

    /// Of another machine or boot, once a batch told its clock.
    fn reckoned_ns(&self) -> Option<u64> {
        let offset = self.offset_ns?;
        if self.local == Some(self.present()) {
            return None;
        }
        let real = i128::from(clock::boottime_ns()) + i128::from(clock::offset_ns());
        Some(u64::try_from(real - i128::from(offset)).unwrap_or_default())
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
        let late_ns = boots.now_ns() + 60_000_000_000;
        assert_eq!(boots.horizon().bound(late_ns), late_ns, "clocks differ");
    }

    #[test]
    fn this_machines_own_clock_is_not_ahead_of_itself() {
        let mut boots = Boots::new();
        boots.advance(&ravn_shared::clock::boot_id().unwrap());
        boots.offset(0);
        let late_ns = ravn_shared::clock::boottime_ns() + 60_000_000_000;
        assert!(boots.horizon().bound(late_ns) < late_ns);
    }
}
