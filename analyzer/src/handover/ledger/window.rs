//! What was lost in the last minute: what makes the level `blind`.

use std::collections::VecDeque;

use ravn_shared::kind::{Class, Stream};
use serde::{Deserialize, Serialize};

/// Seconds that a loss counts for.
const SECONDS: usize = 60;

/// Cumulative sums at one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    essential_lost: u64,
    records_lost: u64,
    records: u64,
    syscalls_lost: u64,
    syscalls: u64,
}

impl Snapshot {
    /// Adds a stream's sums; what a budget cut is not among the lost.
    pub fn add(&mut self, stream: Stream, lost: u64, produced: u64) {
        if stream == Stream::Sequence {
            self.syscalls_lost += lost;
            self.syscalls += produced;
        } else {
            if class(stream) == Class::Essential {
                self.essential_lost += lost;
            }
            self.records_lost += lost;
            self.records += produced;
        }
    }
}

const fn class(stream: Stream) -> Class {
    match stream {
        Stream::Syscall | Stream::Security | Stream::Collector => Class::Essential,
        Stream::File | Stream::Network => Class::Ordinary,
        Stream::Sequence => Class::Sequences,
    }
}

/// The last 60 seconds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Window(VecDeque<Snapshot>);

impl Window {
    /// Nothing was produced before: the first loss already counts.
    pub fn from_nothing() -> Self {
        Self(VecDeque::from([Snapshot::default()]))
    }

    /// Adds a second.
    pub fn push(&mut self, snapshot: Snapshot) {
        self.0.push_back(snapshot);
        if self.0.len() > SECONDS + 1 {
            self.0.pop_front();
        }
    }

    /// Whether anything was lost in it.
    pub fn has_losses(&self) -> bool {
        let lost = |s: &Snapshot| s.essential_lost + s.records_lost + s.syscalls_lost;
        self.grown(lost) > 0
    }

    /// A window of the checkpoint, of no more seconds than there are.
    pub fn restored(mut self) -> Self {
        self.0.truncate(SECONDS + 1);
        self
    }

    /// Records of exec, credentials and security that were lost.
    pub fn essential(&self) -> u64 {
        self.grown(|snapshot| snapshot.essential_lost)
    }

    /// Share of records that were lost, 0 to 1.
    pub fn records_share(&self) -> f64 {
        share(self.grown(|s| s.records_lost), self.grown(|s| s.records))
    }

    /// Share of syscalls that were lost, 0 to 1.
    pub fn syscalls_share(&self) -> f64 {
        share(self.grown(|s| s.syscalls_lost), self.grown(|s| s.syscalls))
    }

    /// How much a sum grew. It may shrink: a gap that was filled late is none.
    fn grown(&self, sum: impl Fn(&Snapshot) -> u64) -> u64 {
        match (self.0.front(), self.0.back()) {
            (Some(first), Some(last)) => sum(last).saturating_sub(sum(first)),
            _ => 0,
        }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if part == 0 {
        0.0
    } else {
        (part as f64 / whole.max(part) as f64).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Snapshot, Stream, Window};

    #[test]
    fn a_loss_counts_for_sixty_seconds_and_fades() {
        let mut window = Window::default();
        let mut sums = Snapshot::default();
        window.push(sums);
        sums.add(Stream::Security, 1, 10);
        sums.add(Stream::File, 1, 90);
        sums.add(Stream::Sequence, 5, 1000);
        window.push(sums);
        assert_eq!(window.essential(), 1);
        assert!((window.records_share() - 0.02).abs() < 1e-9);
        assert!((window.syscalls_share() - 0.005).abs() < 1e-9);
        for _ in 0..59 {
            window.push(sums);
        }
        assert_eq!(window.essential(), 1, "60 s later it still counts");
        window.push(sums);
        assert_eq!(window.essential(), 0);
    }
}
