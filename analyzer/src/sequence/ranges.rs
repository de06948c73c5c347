//! Sets of numbers kept as ranges.

use std::collections::BTreeMap;

/// Most ranges that a set keeps; beyond, the lowest gap is closed. A gap is numbers that
/// were lost, so closing one only means that they would be refused if they came after all.
const MOST: usize = 128;

/// Numbers that were dealt with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// Adds `first .. first + count`.
    pub fn insert(&mut self, first: u64, count: u64) {
        let mut first = first;
        let mut end = first.saturating_add(count);
        if first == end {
            return;
        }
        // Swallow every range that touches this one.
        while let Some((&from, &to)) = self.0.range(..=end).next_back() {
            if to < first {
                break;
            }
            self.0.remove(&from);
            first = first.min(from);
            end = end.max(to);
        }
        self.0.insert(first, end);
        while self.0.len() > MOST {
            let mut lowest = self.0.iter();
            let (Some((&from, _)), Some((&next, &to))) = (lowest.next(), lowest.next()) else {
                break;
            };
            self.0.remove(&next);
            self.0.insert(from, to);
        }
    }

    /// Whether all of `first .. first + count` is in it.
    pub fn holds(&self, first: u64, count: u64) -> bool {
        self.0
            .range(..=first)
            .next_back()
            .is_some_and(|(_, &to)| first.saturating_add(count) <= to)
    }

    /// Number after the highest; 0 when empty.
    pub fn end(&self) -> u64 {
        self.0.last_key_value().map_or(0, |(_, end)| *end)
    }

    /// As bytes for a checkpoint: pairs of little-endian numbers, first and end.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0
            .iter()
            .flat_map(|(from, to)| [from.to_le_bytes(), to.to_le_bytes()])
            .flatten()
            .collect()
    }

    /// Reads [`Ranges::to_bytes`]; None when the bytes are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (pairs, rest) = bytes.as_chunks::<16>();
        if !rest.is_empty() || pairs.len() > MOST {
            return None;
        }
        let mut ranges = Self::default();
        for pair in pairs {
            let (from, to) = pair.split_at(8);
            let from = u64::from_le_bytes(from.try_into().ok()?);
            let to = u64::from_le_bytes(to.try_into().ok()?);
            ranges.insert(from, to.checked_sub(from)?);
        }
        Some(ranges)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn neighbours_join_and_gaps_stay() {
        let mut ranges = Ranges::default();
        for (first, count) in [(10, 5), (0, 5), (20, 1), (15, 5), (3, 4)] {
            ranges.insert(first, count);
        }
        assert!(ranges.holds(10, 11));
        assert!(ranges.holds(0, 7));
        assert!(!ranges.holds(6, 2));
        assert_eq!(ranges.0.len(), 2);
        assert_eq!(Ranges::from_bytes(&ranges.to_bytes()), Some(ranges));
    }

    #[test]
    fn the_lowest_gap_closes_first() {
        let mut ranges = Ranges::default();
        for number in 0..200 {
            ranges.insert(number * 2, 1);
        }
        assert_eq!(ranges.0.len(), MOST);
        assert!(ranges.holds(0, 100));
        assert!(!ranges.holds(397, 1));
        assert!(Ranges::from_bytes(&[0; 15]).is_none());
    }
}
