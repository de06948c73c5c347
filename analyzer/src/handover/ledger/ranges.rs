//! A set of numbers that mostly come in order: few, long ranges.

use serde::{Deserialize, Serialize};

/// Most ranges that are kept apart; a field of the checkpoint stays below 5 KiB.
pub const MAX_RANGES: usize = 256;

/// A set of `u64`, as sorted ranges `start..end` that neither touch nor overlap.
///
/// Bounded: past [`MAX_RANGES`] the lowest gap is closed. Its numbers are remembered as
/// missing by count alone; should one come after all, it is taken for a repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranges {
    ranges: Vec<(u64, u64)>,
    closed: u64,
}

impl Ranges {
    /// Adds `start..start + count`, and says how many of them are new.
    pub fn insert(&mut self, start: u64, count: u64) -> u64 {
        let end = start.saturating_add(count);
        if start >= end {
            return 0;
        }
        // As it nearly always is: the next one.
        if let Some(last) = self.ranges.last_mut()
            && last.1 == start
        {
            last.1 = end;
            return end - start;
        }
        // All ranges in `first..last` touch or overlap the new one.
        let first = self.ranges.partition_point(|range| range.1 < start);
        let last = first + self.ranges[first..].partition_point(|range| range.0 <= end);
        let touched = &self.ranges[first..last];
        let held: u64 = touched
            .iter()
            .map(|range| range.1.min(end).saturating_sub(range.0.max(start)))
            .sum();
        let merged = touched.iter().fold((start, end), |sum, range| {
            (sum.0.min(range.0), sum.1.max(range.1))
        });
        self.ranges.splice(first..last, [merged]);
        self.bound();
        end - start - held
    }

    /// Whether `n` is in the set, or in a gap that was closed.
    #[cfg(test)]
    pub fn contains(&self, n: u64) -> bool {
        let at = self.ranges.partition_point(|range| range.1 <= n);
        self.ranges.get(at).is_some_and(|range| range.0 <= n)
    }

    /// How many numbers are in the set.
    pub fn count(&self) -> u64 {
        let all: u64 = self.ranges.iter().map(|range| range.1 - range.0).sum();
        all.saturating_sub(self.closed)
    }

    /// How many numbers of the set are below `bound`.
    pub fn count_below(&self, bound: u64) -> u64 {
        let below: u64 = self
            .ranges
            .iter()
            .take_while(|range| range.0 < bound)
            .map(|range| range.1.min(bound) - range.0)
            .sum();
        // Closed gaps are the lowest ones, so whoever asks is above them.
        below.saturating_sub(self.closed)
    }

    /// The lowest number, if any.
    pub fn first(&self) -> Option<u64> {
        self.ranges.first().map(|range| range.0)
    }

    /// One past the highest number, 0 if empty.
    pub fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |range| range.1)
    }

    /// Whether these are ranges that [`Ranges::insert`] could have made.
    pub fn is_sound(&self) -> bool {
        self.ranges.len() <= MAX_RANGES
            && self.ranges.iter().all(|range| range.0 < range.1)
            && self.ranges.windows(2).all(|pair| pair[0].1 < pair[1].0)
    }

    fn bound(&mut self) {
        if self.ranges.len() > MAX_RANGES {
            let low = self.ranges.remove(0);
            let next = &mut self.ranges[0];
            self.closed = self.closed.saturating_add(next.0 - low.1);
            next.0 = low.0;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{MAX_RANGES, Ranges};

    proptest! {
        #[test]
        fn ranges_equal_a_naive_set(parts in prop::collection::vec((0u64..400, 0u64..30), 0..60), ask in 0u64..450) {
            let mut naive = BTreeSet::new();
            let mut ranges = Ranges::default();
            for (start, count) in parts {
                let new = (start..start + count).filter(|n| naive.insert(*n)).count() as u64;
                prop_assert_eq!(ranges.insert(start, count), new);
                prop_assert!(ranges.is_sound());
            }
            prop_assert_eq!(ranges.count(), naive.len() as u64);
            prop_assert_eq!(ranges.contains(ask), naive.contains(&ask));
            prop_assert_eq!(ranges.count_below(ask), naive.range(..ask).count() as u64);
            prop_assert_eq!(ranges.first(), naive.first().copied());
            prop_assert_eq!(ranges.end(), naive.last().map_or(0, |n| n + 1));
        }
    }

    #[test]
    fn past_the_bound_the_lowest_gap_is_closed_and_stays_missing() {
        let mut ranges = Ranges::default();
        let odd = MAX_RANGES as u64 + 10;
        for n in 0..odd {
            assert_eq!(ranges.insert(n * 2, 1), 1);
        }
        assert!(ranges.is_sound());
        assert_eq!(ranges.count(), odd);
        assert!(ranges.contains(1), "a closed gap takes no number any more");
        assert_eq!(ranges.insert(1, 1), 0);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let mut ranges = Ranges::default();
        assert_eq!(ranges.insert(u64::MAX - 1, u64::MAX), 1);
        assert_eq!(ranges.insert(0, u64::MAX), u64::MAX - 1);
        assert_eq!(ranges.count(), u64::MAX);
    }
}
