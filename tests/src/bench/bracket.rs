//! Where the highest sustained rate lies: above what went well, below what did not.

/// Rates that were tried. One that went well and, at a lower rate, did not has the machine's mood
/// to thank for it: only what lies below every failure counts.
#[derive(Clone, Debug, Default)]
pub struct Bracket {
    good: Vec<f64>,
    bad: Option<f64>,
}

impl Bracket {
    /// A rate that was tried, and whether it was sustained.
    pub fn add(&mut self, rate: f64, sustained: bool) {
        if sustained {
            self.good.push(rate);
        } else {
            self.bad = Some(self.bad.map_or(rate, |bad| bad.min(rate)));
        }
    }

    /// The highest rate that was sustained, below every one that was not; 0 without one.
    pub fn best(&self) -> f64 {
        let below = |rate: &f64| self.bad.is_none_or(|bad| *rate < bad);
        self.good.iter().copied().filter(below).fold(0.0, f64::max)
    }

    /// The lowest rate that was not sustained.
    pub const fn failed(&self) -> Option<f64> {
        self.bad
    }

    /// The rate to try next between the two, until they are closer than `share` of the upper.
    pub fn next(&self, share: f64) -> Option<f64> {
        let bad = self.bad?;
        (bad - self.best() > share * bad).then(|| f64::midpoint(self.best(), bad))
    }
}

#[cfg(test)]
mod tests {
    use super::Bracket;

    #[test]
    fn what_failed_lower_was_not_sustained_higher() {
        let mut bracket = Bracket::default();
        for (rate, sustained) in [(100.0, true), (200.0, true), (190.0, false)] {
            bracket.add(rate, sustained);
        }
        assert_eq!(bracket.best(), 100.0);
        assert_eq!(bracket.next(0.02), Some(145.0));
        bracket.add(145.0, true);
        assert_eq!((bracket.best(), bracket.failed()), (145.0, Some(190.0)));
        assert_eq!(bracket.next(0.3), None);
    }
}
