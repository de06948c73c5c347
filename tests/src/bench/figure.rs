//! Figures with their intervals: what a bench gives, and when a target is met.

use serde_json::{Value, json};

/// Resamples for an interval.
const RESAMPLES: usize = 2000;

/// Unit of a ratio of whole times: with something over without it.
pub const TOTALS: &str = "× of totals";
/// Unit of a ratio of what was added to what it was before.
pub const ADDED: &str = "× added";

/// Which way a figure is good.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
    /// Shown only.
    None,
}

/// One measured figure with the interval that holds it with 95 %.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// The figure.
    pub value: f64,
    /// `ms`, `records/s`, [`TOTALS`]…
    pub unit: &'static str,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Runs, or pairs of runs, behind it.
    pub runs: usize,
    /// What it should be.
    pub target: Target,
}

impl Figure {
    /// A quantile (0 to 1) of `runs`, with a bootstrap interval.
    pub fn quantile(what: &str, unit: &'static str, runs: &[f64], q: f64, target: Target) -> Self {
        let (low, high) = interval(runs, q);
        Self {
            what: what.to_owned(),
            value: quantile(runs, q),
            unit,
            low,
            high,
            runs: runs.len(),
            target,
        }
    }

    /// The median of `runs`, with a bootstrap interval.
    pub fn median(what: &str, unit: &'static str, runs: &[f64], target: Target) -> Self {
        Self::quantile(what, unit, runs, 0.5, target)
    }

    /// The median over pairs (before, after) of after/before.
    pub fn totals(what: &str, pairs: &[(f64, f64)], target: Target) -> Self {
        let ratios: Vec<f64> = pairs.iter().map(|(before, after)| after / before).collect();
        Self::median(what, TOTALS, &ratios, target)
    }

    /// The median over pairs (before, after) of (after − before)/before.
    pub fn added(what: &str, pairs: &[(f64, f64)], target: Target) -> Self {
        let ratios: Vec<f64> = pairs
            .iter()
            .map(|(before, after)| (after - before) / before)
            .collect();
        Self::median(what, ADDED, &ratios, target)
    }

    /// A quantile over all the values of `windows`, whose interval resamples whole windows:
    /// values of one moment are not independent of each other.
    pub fn pooled(
        what: &str,
        unit: &'static str,
        windows: &[Vec<f64>],
        q: f64,
        target: Target,
    ) -> Self {
        let all: Vec<f64> = windows.iter().flatten().copied().collect();
        let (low, high) = bootstrap(windows.len(), |picked| {
            let sample: Vec<f64> = picked
                .iter()
                .flat_map(|at| windows[*at].iter().copied())
                .collect();
            quantile(&sample, q)
        });
        Self {
            what: what.to_owned(),
            value: quantile(&all, q),
            unit,
            low,
            high,
            runs: windows.len(),
            target,
        }
    }

    /// Whether the worse end of the interval meets the target; None without one.
    pub fn met(&self) -> Option<bool> {
        self.missed_by().map(|by| by <= 0.0)
    }

    /// By how much the worse end of the interval misses the target; 0 or less when it is met,
    /// and NaN counts as missed without end.
    pub fn missed_by(&self) -> Option<f64> {
        let by = match self.target {
            Target::AtLeast(bound) => bound - self.low,
            Target::AtMost(bound) => self.high - bound,
            Target::None => return None,
        };
        Some(if by.is_nan() { f64::INFINITY } else { by })
    }

    /// As it stands in the bench's file.
    pub fn json(&self) -> Value {
        let target = match self.target {
            Target::AtLeast(bound) | Target::AtMost(bound) => json!(bound),
            Target::None => Value::Null,
        };
        json!({
            "what": self.what, "value": round(self.value), "unit": self.unit,
            "low": round(self.low), "high": round(self.high), "runs": self.runs,
            "target": target, "met": self.met(),
        })
    }
}

/// The value below which a share `q` of `runs` lies, by the nearest rank.
pub fn quantile(runs: &[f64], q: f64) -> f64 {
    let mut values = runs.to_vec();
    if values.is_empty() {
        return f64::NAN;
    }
    let rank = (q * values.len() as f64).ceil() as usize;
    let at = rank.clamp(1, values.len()) - 1;
    *values.select_nth_unstable_by(at, f64::total_cmp).1
}

/// The 95 % percentile bootstrap interval of a quantile.
pub fn interval(runs: &[f64], q: f64) -> (f64, f64) {
    bootstrap(runs.len(), |picked| {
        let sample: Vec<f64> = picked.iter().map(|at| runs[*at]).collect();
        quantile(&sample, q)
    })
}

/// The middle 95 % of what `measure` says of resamples of `count` things, by their indices.
/// The seed is fixed, so that the same runs have one interval.
fn bootstrap(count: usize, measure: impl Fn(&[usize]) -> f64) -> (f64, f64) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below.max(1)
    };
    let values: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let picked: Vec<usize> = (0..count).map(|_| next(count)).collect();
            measure(&picked)
        })
        .collect();
    (quantile(&values, 0.025), quantile(&values, 0.975))
}

fn round(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_only_by_the_worse_end() {
        let runs: Vec<f64> = (1..=100).map(f64::from).collect();
        let figure = Figure::quantile("x", "ms", &runs, 0.5, Target::AtMost(51.0));
        assert_eq!(figure.value, 50.0);
        assert!(figure.low < 50.0 && figure.high > 51.0, "{figure:?}");
        assert_eq!(figure.met(), Some(false));
        let at_least = Figure {
            target: Target::AtLeast(figure.low),
            ..figure
        };
        assert_eq!(at_least.met(), Some(true));
    }

    #[test]
    fn nothing_measured_meets_nothing() {
        let figure = Figure::median("x", "ms", &[], Target::AtMost(1.0));
        assert_eq!(figure.met(), Some(false));
    }

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let runs = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&runs, 0.5), 2.0);
        assert_eq!(quantile(&runs, 0.99), 4.0);
        assert_eq!(quantile(&runs, 0.0), 1.0);
    }

    #[test]
    fn ratios_are_of_pairs_and_say_of_what() {
        // Each pair doubles, whatever the machine did meanwhile.
        let pairs = [(1.0, 2.0), (10.0, 20.0), (3.0, 6.0)];
        let totals = Figure::totals("x", &pairs, Target::None);
        let added = Figure::added("x", &pairs, Target::None);
        assert_eq!((totals.value, totals.unit), (2.0, TOTALS));
        assert_eq!((added.value, added.unit), (1.0, ADDED));
        assert_eq!((totals.low, totals.high), (2.0, 2.0));
    }

    #[test]
    fn an_interval_over_windows_is_wider_than_one_over_their_values() {
        // Twenty moments, each of one mood: the values of a window tell the same.
        let windows: Vec<Vec<f64>> = (0..20).map(|at| vec![f64::from(at); 50]).collect();
        let pooled = Figure::pooled("x", "ms", &windows, 0.5, Target::None);
        let all: Vec<f64> = windows.concat();
        let single = Figure::median("x", "ms", &all, Target::None);
        assert_eq!(pooled.value, single.value);
        assert!(pooled.high - pooled.low > 2.0 * (single.high - single.low));
    }
}
