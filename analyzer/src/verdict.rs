//! The words of a judgement that every part shares.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The one word per host.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Score 50 or less.
    #[default]
    Low,
    /// Score above 50.
    Medium,
    /// Score above 80.
    High,
}

impl Level {
    /// The level of a score of 0 to 100.
    pub fn of(score: f64) -> Self {
        if score > 80.0 {
            Self::High
        } else if score > 50.0 {
            Self::Medium
        } else {
            Self::Low
        }
    }

    /// The word as it stands in `threat_level`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What `threat_updates` says when nobody judges.
pub const UNKNOWN: &str = "UNKNOWN";

/// A process of this boot: its id alone is used again, with its start it is not.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct ProcessId {
    /// Process id, initial pid namespace.
    pub tgid: u32,
    /// `start_boottime` of its group leader, nanoseconds.
    pub start_ns: u64,
}

/// What takes part in judging now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Rules and the model.
    Full,
    /// Rules alone; the state's reason says why.
    #[default]
    Rules,
}

impl Mode {
    /// The word as it stands in `ravn:state`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Rules => "rules",
        }
    }
}

/// The model's judgement of one process, sent whenever its score moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Surprise {
    /// Whom it judges.
    pub process: ProcessId,
    /// 0 to 100, calibrated; above 80 only where surprise and novelty agree.
    pub score: f64,
    /// How rare such a process is among the normals of the calibration: a tail probability.
    pub probability: f64,
    /// Distance of the set of its tokens from the nearest known one, 0 to 1.
    pub novelty: f64,
    /// Tokens that were scored.
    pub tokens: u64,
    /// At most five places that surprised most, most surprising first.
    pub spans: Vec<Span>,
}

/// A place that surprised the model, in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// What was seen.
    pub seen: String,
    /// What was likeliest there instead.
    pub expected: String,
    /// Probability that the model gave to what was seen.
    pub probability: f64,
    /// When, CLOCK_BOOTTIME nanoseconds.
    pub time_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::Level;

    #[test]
    fn the_bounds_belong_to_the_lower_level() {
        assert_eq!(
            [50.0, 50.1, 80.0, 80.1].map(Level::of),
            [Level::Low, Level::Medium, Level::Medium, Level::High]
        );
    }
}
