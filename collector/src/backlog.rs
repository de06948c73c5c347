//! What waits in Redis: the sizes of the batches that this run pushed and nobody took.
//!
//! The list is first in, first out, and only this collector pushes: the last LLEN
//! batches pushed are those still there. So the collector knows its bytes and what a
//! trim loses without reading the list.

use std::collections::VecDeque;

use ravn_shared::kind::Class;

use crate::batch::Counts;

/// The batches in the list, oldest first.
#[derive(Debug)]
pub struct Backlog {
    entries: VecDeque<(usize, Counts)>,
    bytes: usize,
    /// Elements that an earlier run left, of unknown size.
    foreign: usize,
    bound_bytes: usize,
}

/// Size that an element of unknown size is taken for: on a quiet host most are smaller.
const UNKNOWN_BYTES: usize = 16 * 1024;

impl Backlog {
    /// An empty list, full at `bound_bytes`.
    pub const fn new(bound_bytes: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            foreign: 0,
            bound_bytes,
        }
    }

    /// A batch was pushed.
    pub fn pushed(&mut self, bytes: usize, counts: Counts) {
        self.entries.push_back((bytes, counts));
        self.bytes += bytes;
    }

    /// The list has `len` elements now: what is more than that was taken.
    pub fn observed(&mut self, len: usize) {
        while self.entries.len() > len {
            self.forget_oldest();
        }
        self.foreign = len - self.entries.len();
    }

    /// The oldest elements but `keep` are gone, trimmed: what was in them.
    pub fn trimmed(&mut self, keep: usize) -> Vec<Counts> {
        let mut lost = Vec::new();
        while self.entries.len() > keep {
            lost.extend(self.forget_oldest());
        }
        // Some may have been taken before: what is left is not known to be more than this.
        self.foreign = self.foreign.min(keep - self.entries.len());
        lost
    }

    /// Elements in the list.
    pub fn len(&self) -> usize {
        self.entries.len() + self.foreign
    }

    /// The cheapest class that may still be pushed: at half of the bound no sequences, at
    /// three quarters essential batches alone.
    pub fn admits(&self) -> Class {
        let bytes = self.bytes + self.foreign * UNKNOWN_BYTES;
        if bytes >= self.bound_bytes / 4 * 3 {
            Class::Essential
        } else if bytes >= self.bound_bytes / 2 {
            Class::Ordinary
        } else {
            Class::Sequences
        }
    }

    /// Essential batches alone passed the bound. Elements of an earlier run do not count:
    /// nothing is trimmed on a guess.
    pub const fn is_over(&self) -> bool {
        self.bytes > self.bound_bytes
    }

    fn forget_oldest(&mut self) -> Option<Counts> {
        let (bytes, counts) = self.entries.pop_front()?;
        self.bytes -= bytes;
        Some(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_fills_by_class_and_empties_again() {
        let mut backlog = Backlog::new(100);
        assert_eq!(backlog.admits(), Class::Sequences);
        for _ in 0..5 {
            backlog.pushed(10, Counts::default());
        }
        assert_eq!(backlog.admits(), Class::Ordinary);
        for _ in 0..3 {
            backlog.pushed(10, Counts::default());
        }
        assert_eq!(
            (backlog.admits(), backlog.is_over()),
            (Class::Essential, false)
        );
        for _ in 0..3 {
            backlog.pushed(10, Counts::default());
        }
        assert!(backlog.is_over());
        backlog.observed(1);
        assert_eq!((backlog.admits(), backlog.len()), (Class::Sequences, 1));
    }

    #[test]
    fn elements_of_an_earlier_run_count_too() {
        let mut backlog = Backlog::new(64 << 20);
        backlog.observed(3000);
        assert_eq!(backlog.admits(), Class::Ordinary);
        assert_eq!(backlog.trimmed(1500).len(), 0);
        assert_eq!(backlog.len(), 1500);
    }
}
