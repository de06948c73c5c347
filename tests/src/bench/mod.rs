//! What the benches share: figures with their intervals, and the file that they end in.

pub mod pipeline;

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Resamples for an interval.
const RESAMPLES: usize = 2000;

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
    /// `ms`, `records/s`…
    pub unit: &'static str,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Runs behind it.
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

    /// Whether the worse end of the interval meets the target; None without one.
    pub fn met(&self) -> Option<bool> {
        match self.target {
            Target::AtLeast(bound) => Some(self.low >= bound),
            Target::AtMost(bound) => Some(self.high <= bound),
            Target::None => None,
        }
    }

    fn json(&self) -> Value {
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

/// Prints the figures and writes `NAME.json` into the folder of RAVN_BENCH_DIR.
///
/// # Errors
/// When the file cannot be written.
pub fn report(name: &str, figures: &[Figure]) -> Result<()> {
    println!("\n{name}");
    for figure in figures {
        let target = match figure.target {
            Target::AtLeast(bound) => format!("target ≥ {bound}"),
            Target::AtMost(bound) => format!("target ≤ {bound}"),
            Target::None => String::new(),
        };
        let met = match figure.met() {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "",
        };
        println!(
            "  {:<52} {:>12.1} {:<10} [{:.1}, {:.1}] n={:<3} {target} {met}",
            figure.what, figure.value, figure.unit, figure.low, figure.high, figure.runs
        );
    }
    let folder =
        std::env::var_os("RAVN_BENCH_DIR").map_or_else(|| "target/bench".into(), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.json"));
    let all: Vec<Value> = figures.iter().map(Figure::json).collect();
    let text = serde_json::to_string_pretty(&json!({"name": name, "figures": all}))?;
    std::fs::write(&path, text + "\n").with_context(|| path.display().to_string())?;
    Ok(())
}

/// The value below which a share `q` of `runs` lies, by the nearest rank.
pub fn quantile(runs: &[f64], q: f64) -> f64 {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    if sorted.is_empty() {
        return f64::NAN;
    }
    let rank = (q * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// The 95 % percentile bootstrap interval of a quantile; the seed is fixed, so that a figure
/// has one interval.
pub fn interval(runs: &[f64], q: f64) -> (f64, f64) {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below.max(1)
    };
    let values: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let sample: Vec<f64> = runs.iter().map(|_| runs[next(runs.len())]).collect();
            quantile(&sample, q)
        })
        .collect();
    (quantile(&values, 0.025), quantile(&values, 0.975))
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
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
    }

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let runs = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&runs, 0.5), 2.0);
        assert_eq!(quantile(&runs, 0.99), 4.0);
        assert_eq!(quantile(&runs, 0.0), 1.0);
    }
}
