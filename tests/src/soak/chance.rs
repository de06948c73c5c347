//! Chance that a seed decides, so that a run can be done again.

/// xorshift64*.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// Every seed has a run of its own.
    pub const fn new(seed: u64) -> Self {
        // Zero would stay zero; near seeds must not begin alike.
        Self((seed ^ 0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`; 0 for 0.
    pub const fn below(&mut self, end: usize) -> usize {
        if end == 0 {
            return 0;
        }
        (self.next() >> 11) as usize % end
    }

    /// A number from `low` to below `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        let share = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        low + share * (high - low)
    }
}

#[cfg(test)]
mod tests {
    use super::Chance;

    #[test]
    fn a_seed_decides_and_bounds_hold() {
        let run = |seed| -> Vec<u64> {
            let mut chance = Chance::new(seed);
            (0..8).map(|_| chance.next()).collect()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let mut chance = Chance::new(1);
        for _ in 0..1000 {
            let number = chance.between(5.0, 20.0);
            assert!((5.0..20.0).contains(&number), "{number}");
            assert!(chance.below(3) < 3);
        }
        assert_eq!(chance.below(0), 0);
    }
}
