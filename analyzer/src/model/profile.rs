//! What a model knows of normal processes besides its weights: how surprising each token
//! usually is, which sets of tokens occur, and how such scores are spread.

use ravn_shared::tokens::{self, Token};
use serde::{Deserialize, Serialize};

/// Most representative sets that a model keeps.
pub const MOST_SETS: usize = 256;

/// A set of tokens, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenSet([u64; tokens::MOST / 64]);

impl TokenSet {
    /// Adds a token; true when it is new.
    pub const fn insert(&mut self, token: Token) -> bool {
        let at = token as usize % tokens::MOST;
        let bit = 1 << (at % 64);
        let word = &mut self.0[at / 64];
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Number of tokens in it.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Jaccard distance: 0 for equal sets, 1 for disjoint ones.
    pub fn distance(&self, other: &Self) -> f32 {
        let pairs = self.0.iter().zip(&other.0);
        let (both, either) = pairs.fold((0, 0), |(both, either), (a, b)| {
            (both + (a & b).count_ones(), either + (a | b).count_ones())
        });
        if either == 0 {
            0.0
        } else {
            1.0 - both as f32 / either as f32
        }
    }

    /// Little-endian bytes.
    pub fn to_bytes(self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Reads [`TokenSet::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let words: [[u8; 8]; tokens::MOST / 64] = words.try_into().ok()?;
        rest.is_empty().then(|| Self(words.map(u64::from_le_bytes)))
    }
}

impl Serialize for TokenSet {
    fn serialize<S: serde::Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        let text: String = self.0.iter().map(|word| format!("{word:016x}")).collect();
        output.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for TokenSet {
    fn deserialize<D: serde::Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let text = String::deserialize(input)?;
        let mut set = Self::default();
        let parsed = text.len() == 16 * set.0.len()
            && set.0.iter_mut().enumerate().all(|(at, word)| {
                let digits = text.get(16 * at..16 * at + 16);
                let value = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
                value.map(|value| *word = value).is_some()
            });
        if parsed {
            Ok(set)
        } else {
            Err(serde::de::Error::custom("a token set of another form"))
        }
    }
}

/// Mean and deviation of a token's rank surprise where it usually stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usual {
    /// Mean.
    pub mean: f32,
    /// Standard deviation.
    pub deviation: f32,
}

/// A distribution of normals: quantiles, and an exponential tail above the 90 % one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// Observations that it was fitted on.
    pub count: usize,
    /// Quantiles 0, 5, … 90 %.
    pub quantiles: Vec<f32>,
    /// Mean excess over the last quantile, widened for the few that it was fitted on.
    pub excess: f32,
}

/// Quantiles that a tail keeps, and the share above the last.
const STEPS: usize = 18;
const ABOVE: f64 = 0.1;

impl Tail {
    /// Fits the values of normals.
    pub fn fit(mut values: Vec<f32>) -> Self {
        values.retain(|value| value.is_finite());
        values.sort_by(f32::total_cmp);
        if values.is_empty() {
            return Self::default();
        }
        let at = |step: usize| {
            let rank = (values.len() - 1) as f64 * step as f64 * 0.05;
            values[rank.round() as usize]
        };
        let quantiles: Vec<f32> = (0..=STEPS).map(at).collect();
        let last = quantiles[STEPS];
        let above: Vec<f32> = values
            .iter()
            .filter(|value| **value > last)
            .map(|value| value - last)
            .collect();
        let mean = above.iter().sum::<f32>() / above.len().max(1) as f32;
        // Two standard errors of an exponential's mean: few observations, a fatter tail.
        let wider = 1.0 + 2.0 / (above.len().max(1) as f32).sqrt();
        Self {
            count: values.len(),
            quantiles,
            excess: (mean * wider).max(0.01),
        }
    }

    /// Share of normals that reach `value`, extrapolated above what was observed; 1 without
    /// observations.
    pub fn probability(&self, value: f32) -> f64 {
        let (Some(first), Some(last)) = (self.quantiles.first(), self.quantiles.last()) else {
            return 1.0;
        };
        if value > *last {
            let probability = ABOVE * (-f64::from((value - last) / self.excess)).exp();
            return probability.max(1e-12);
        }
        if value <= *first {
            return 1.0;
        }
        let above = self.quantiles.partition_point(|quantile| *quantile < value);
        let (low, high) = (self.quantiles[above - 1], self.quantiles[above]);
        let part = f64::from((value - low) / (high - low));
        1.0 - 0.05 * (above as f64 - 1.0 + part)
    }
}

/// How the scores of normals of about one length are spread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LengthClass {
    /// Fewest tokens.
    pub from: u64,
    /// Surprise: ln(1 + peak of the leaky sum).
    pub surprise: Tail,
    /// Novelty of the set of tokens.
    pub novelty: Tail,
    /// Both: ln(novelty + .03) + ln(surprise + .1).
    pub both: Tail,
    /// −ln of the smallest of the three probabilities, each by its share of the vote.
    pub joint: Tail,
}

/// Bounds of the length classes; below the first, rules judge alone.
pub const LENGTHS: [u64; 4] = [16, 64, 128, 512];

/// Scores of normals outside training, by length class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// In the order of [`LENGTHS`].
    pub classes: Vec<LengthClass>,
    /// Most novel normal of all.
    pub most_novel: f32,
}

/// What is measured of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Its tokens.
    pub tokens: u64,
    /// ln(1 + peak of the leaky sum of excess surprise).
    pub surprise: f32,
    /// Distance of its set from the nearest known one.
    pub novelty: f32,
}

/// What that means among normals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Meaning {
    /// Share of normals that look at least as odd.
    pub probability: f64,
    /// 0 to 100.
    pub score: f64,
}

/// Fewest normals of a class; with fewer, all lengths together stand for it.
const FEWEST: usize = 40;

/// Fewest normals of a class on whose word the model alone may say HIGH; 1e-4 is then
/// extrapolated by a factor of 20 at most.
const FEWEST_FOR_HIGH: usize = 500;

impl Measured {
    fn both(&self) -> f32 {
        (self.novelty + 0.03).ln() + (self.surprise + 0.1).ln()
    }
}

impl LengthClass {
    fn fit(from: u64, normals: &[Measured]) -> Self {
        let tail = |of: &dyn Fn(&Measured) -> f32| Tail::fit(normals.iter().map(of).collect());
        let mut class = Self {
            from,
            surprise: tail(&|normal| normal.surprise),
            novelty: tail(&|normal| normal.novelty),
            both: tail(&Measured::both),
            joint: Tail::default(),
        };
        class.joint = tail(&|normal| class.vote(normal));
        class
    }

    /// Neither part may drown the other: the smallest of the three counts, the single parts
    /// with a handicap.
    fn vote(&self, measured: &Measured) -> f32 {
        let both = self.both.probability(measured.both());
        let surprise = 2.0 * self.surprise.probability(measured.surprise);
        let novelty = 4.0 * self.novelty.probability(measured.novelty);
        -(both.min(surprise).min(novelty).min(1.0).ln() as f32)
    }
}

impl Calibration {
    /// Fits normals that the model was not trained on.
    pub fn fit(normals: &[Measured]) -> Self {
        let classes = LENGTHS.iter().enumerate().map(|(at, from)| {
            let to = LENGTHS.get(at + 1).copied().unwrap_or(u64::MAX);
            let own: Vec<Measured> = normals
                .iter()
                .filter(|normal| (*from..to).contains(&normal.tokens))
                .copied()
                .collect();
            LengthClass::fit(*from, if own.len() < FEWEST { normals } else { &own })
        });
        Self {
            classes: classes.collect(),
            most_novel: normals
                .iter()
                .fold(0.0, |most, normal| most.max(normal.novelty)),
        }
    }

    /// Among normals of its length; None under 16 tokens.
    pub fn meaning(&self, measured: &Measured) -> Option<Meaning> {
        let class = self
            .classes
            .iter()
            .rev()
            .find(|class| class.from <= measured.tokens)?;
        // n normals say nothing of what is rarer than one in n: a fitted tail may order such
        // processes, but may not raise the level on their account.
        let rarest = 1.0 / (class.joint.count as f64 + 1.0);
        let probability = class.joint.probability(class.vote(measured)).max(rarest);
        let surprise = class.surprise.probability(measured.surprise);
        let mut score = score(probability);
        // HIGH needs both voices: unseen but ordinary programs are novel, and busy ones
        // have a surprising moment.
        if class.surprise.count >= FEWEST_FOR_HIGH
            && surprise < 1e-4
            && measured.novelty > self.most_novel
        {
            score = 81.0 + 4.75 * (-surprise.log10() - 4.0).clamp(0.0, 4.0);
        }
        Some(Meaning { probability, score })
    }
}

/// Points of the curve from −log10 of a probability to a score.
const CURVE: [(f64, f64); 7] = [
    (0.3, 0.0),
    (1.301, 20.0),
    (2.0, 40.0),
    (3.0, 55.0),
    (4.0, 65.0),
    (6.0, 75.0),
    (9.0, 80.0),
];

fn score(probability: f64) -> f64 {
    let x = -probability.max(1e-12).log10();
    let (first, last) = (CURVE[0], CURVE[CURVE.len() - 1]);
    if x <= first.0 {
        return first.1;
    }
    CURVE
        .windows(2)
        .find(|pair| x <= pair[1].0)
        .map_or(last.1, |pair| {
            let part = (x - pair[0].0) / (pair[1].0 - pair[0].0);
            pair[0].1 + part * (pair[1].1 - pair[0].1)
        })
}

/// Picks at most [`MOST_SETS`] of the sets so that every other is near one of them: always
/// the one that is farthest from those picked (Gonzalez 1985).
pub fn representatives(mut sets: Vec<TokenSet>) -> Vec<TokenSet> {
    sets.sort_unstable();
    sets.dedup();
    let Some(first) = sets.iter().copied().max_by_key(TokenSet::len) else {
        return sets;
    };
    let mut picked = vec![first];
    let mut near: Vec<f32> = sets.iter().map(|set| set.distance(&first)).collect();
    while picked.len() < MOST_SETS {
        let far = (0..sets.len()).max_by(|a, b| near[*a].total_cmp(&near[*b]));
        let Some(far) = far.filter(|at| near[*at] > 0.0) else {
            break;
        };
        let next = sets[far];
        picked.push(next);
        for (set, near) in sets.iter().zip(&mut near) {
            *near = near.min(set.distance(&next));
        }
    }
    picked
}

#[cfg(test)]
mod tests;
