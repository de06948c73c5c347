//! From odds to a process' score, the same live and offline.

use std::sync::Arc;

use ravn_shared::tokens::{self, Token};

use super::engine::Stream;
use super::math::Odds;
use super::profile::{Calibration, Meaning, Measured, TokenSet, Usual};
use crate::verdict::Span;

/// What the leaky sum keeps at each token: it forgets within about this many.
const KEEP: f32 = 1.0 - 1.0 / 64.0;
/// Deviations above the usual that are not yet excess.
const SLACK: f32 = 1.0;
/// A single token can add this much; one rare token is no attack.
const MOST_Z: f32 = 8.0;
/// Tokens that warm up a stream whose past is unknown, and that a process must have.
pub const WARM_UP: u64 = 16;
/// Added to a rank probability: below it differences are noise.
const FLOOR: f32 = 1e-4;
/// Spans that are kept.
pub const SPANS: usize = 5;

/// Rank surprise of a token: −ln of the probability of all that is at most as likely.
pub fn surprise(odds: &Odds) -> f32 {
    -(odds.rank_probability.max(0.0) + FLOOR).ln()
}

/// The model's side of one thread.
#[derive(Clone, Debug, PartialEq)]
pub struct ThreadScore {
    /// The LSTM's state.
    pub stream: Stream,
    /// The leaky sum of excess surprise.
    pub leak: f32,
    /// Tokens still to come before surprise counts: the stream's past is unknown.
    pub cold: u8,
}

impl ThreadScore {
    /// A thread that was first seen in the middle of its life.
    pub fn unknown(start: &Stream) -> Self {
        Self {
            stream: start.clone(),
            leak: 0.0,
            cold: WARM_UP as u8,
        }
    }

    /// A thread forked off here: the context stays, the guilt does not.
    pub fn forked(&self) -> Self {
        Self {
            stream: self.stream.clone(),
            leak: 0.0,
            cold: self.cold,
        }
    }
}

/// A surprising place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// What was seen.
    pub seen: Token,
    /// What was likeliest.
    pub expected: Token,
    /// Probability of what was seen.
    pub probability: f32,
    /// When.
    pub time_ns: u64,
}

/// The model's side of one process: what its threads' tokens sum up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessScore {
    /// Tokens seen.
    pub tokens: u64,
    /// Tokens whose surprise counted.
    pub scored: u64,
    /// Highest leaky sum of any thread.
    pub peak: f32,
    /// Which tokens occurred.
    pub set: TokenSet,
    /// Distance of the set from the nearest known one, as of [`ProcessScore::measured`].
    pub novelty: f32,
    /// The set grew since.
    pub set_grew: bool,
    /// The most surprising places, most surprising first.
    pub places: Vec<Place>,
    /// The score that was reported last.
    pub reported: Option<f32>,
}

/// What normal looks like, as the scorer needs it.
#[derive(Clone, Debug)]
pub struct Normal {
    /// By token.
    pub usual: Arc<[Usual]>,
    /// Representative sets of training processes.
    pub sets: Arc<[TokenSet]>,
    /// Spread of the scores of normals.
    pub calibration: Arc<Calibration>,
}

impl Normal {
    /// Counts one token that the engine has stepped over, of a thread with the sum `leak` and
    /// `cold` tokens to go until it counts.
    pub fn count(
        &self,
        leak: &mut f32,
        cold: &mut u8,
        process: &mut ProcessScore,
        token: Token,
        odds: &Odds,
        time_ns: u64,
    ) {
        if *cold > 0 {
            *cold -= 1;
            return;
        }
        process.scored += 1;
        let usual = self.usual.get(usize::from(token)).copied();
        let usual = usual.unwrap_or(Usual {
            mean: 0.0,
            deviation: 1.0,
        });
        let z = ((surprise(odds) - usual.mean) / usual.deviation).min(MOST_Z);
        *leak = *leak * KEEP + (z - SLACK).max(0.0);
        process.peak = process.peak.max(*leak);
        if z > SLACK {
            process.note(Place {
                seen: token,
                expected: odds.likeliest,
                probability: odds.probability,
                time_ns,
            });
        }
    }

    /// What the process measures now.
    pub fn measured(&self, process: &mut ProcessScore) -> Measured {
        if process.set_grew {
            let nearest = self.sets.iter().map(|set| set.distance(&process.set));
            process.novelty = nearest.fold(1.0, f32::min);
            process.set_grew = false;
        }
        Measured {
            tokens: process.tokens,
            surprise: process.peak.ln_1p(),
            novelty: process.novelty,
        }
    }

    /// What that means; None under [`WARM_UP`] tokens.
    pub fn meaning(&self, process: &mut ProcessScore) -> Option<(Measured, Meaning)> {
        let measured = self.measured(process);
        Some((measured, self.calibration.meaning(&measured)?))
    }
}

impl ProcessScore {
    /// Counts a token as seen, whether or not it is scored.
    pub fn see(&mut self, token: Token) {
        self.tokens += 1;
        self.set_grew |= self.set.insert(token);
    }

    /// Keeps the most surprising places, each pair of seen and expected once.
    fn note(&mut self, place: Place) {
        let same = |other: &Place| (other.seen, other.expected) == (place.seen, place.expected);
        match self.places.iter().position(same) {
            Some(at) if self.places[at].probability <= place.probability => return,
            Some(at) => {
                self.places.remove(at);
            }
            None => {}
        }
        let at = self
            .places
            .partition_point(|other| other.probability <= place.probability);
        if at < SPANS {
            self.places.insert(at, place);
            self.places.truncate(SPANS);
        }
    }

    /// The places in words.
    pub fn spans(&self) -> Vec<Span> {
        let span = |place: &Place| Span {
            seen: tokens::name(place.seen).to_owned(),
            expected: tokens::name(place.expected).to_owned(),
            probability: f64::from(place.probability),
            time_ns: place.time_ns,
        };
        self.places.iter().map(span).collect()
    }
}
