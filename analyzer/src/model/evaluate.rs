//! How well a model knows what is normal: likelihood, and what it makes of processes.

use std::collections::HashMap;
use std::path::PathBuf;

use ravn_shared::tokens::{self, Token};
use serde::Serialize;

use super::corpus::{Corpus, ProcessKey, Sequence, replay};
use super::engine::{Engine, Lane, Stream, WIDEST};
use super::math::Odds;
use super::profile::{Measured, TokenSet, Usual};
use super::rng::{self, Rng};
use super::score::{Normal, ProcessScore, WARM_UP, surprise};
use super::{Model, ModelError, ModelSource};
use crate::sequence::apply::apply;
use crate::sequence::rounds;
use crate::sequence::table::Table;
use crate::verdict::ProcessId;

/// How a model does on recordings that it was not trained on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Name of the model.
    pub model: String,
    /// Tokens.
    pub tokens: u64,
    /// Processes of 16 tokens or more.
    pub processes: usize,
    /// Hours from first to last record, summed.
    pub host_hours: f64,
    /// Mean negative log-likelihood of a token.
    pub nll: f64,
    /// The same by the frequencies of single tokens in training.
    pub unigram_nll: f64,
    /// Share of processes whose shuffled tokens are less likely than their own.
    pub shuffled_above: f64,
    /// Highest score of any process.
    pub highest: f64,
    /// Processes whose score passed 20, 40, 55 and 80: what would have been said of them.
    pub above: [usize; 4],
}

/// Evaluates a model on recordings.
///
/// # Errors
/// A model or recordings that cannot be read.
pub fn run(model: &ModelSource, recordings: &[PathBuf]) -> anyhow::Result<Evaluation> {
    let mut model = Model::load(model).map_err(|error: ModelError| anyhow::anyhow!(error))?;
    let corpus = Corpus::read(recordings)?;
    let all: Vec<&Sequence> = corpus.sequences.iter().collect();
    let likelihood = likelihood(&mut model.engine, &all)?;
    let measured = measure(&mut model.engine, &mut model.normal, recordings)?;
    let calibration = &model.normal.calibration;
    let scores: Vec<f64> = measured
        .iter()
        .filter_map(|(_, measured)| calibration.meaning(measured))
        .map(|meaning| meaning.score)
        .collect();
    let above = |bound: f64| scores.iter().filter(|score| **score > bound).count();
    Ok(Evaluation {
        tokens: length(&all),
        processes: scores.len(),
        host_hours: corpus.host_hours,
        nll: mean(&likelihood, &all),
        unigram_nll: unigram(&model.metadata.counts, &all),
        shuffled_above: shuffled(&mut model.engine, &all, model.metadata.seed)?,
        highest: scores.iter().copied().fold(0.0, f64::max),
        above: [20.0, 40.0, 55.0, 80.0].map(above),
        model: model.name,
    })
}

/// Tokens of sequences.
pub fn length(sequences: &[&Sequence]) -> u64 {
    sequences
        .iter()
        .map(|sequence| sequence.tokens.len() as u64)
        .sum()
}

/// Steps all sequences, many at a time, and tells `each` the odds of every token that counts,
/// by the sequence's place in the list.
fn walk(
    engine: &mut Engine,
    sequences: &[&Sequence],
    mut each: impl FnMut(usize, Token, &Odds),
) -> anyhow::Result<()> {
    let mut order: Vec<usize> = (0..sequences.len()).collect();
    let whole = |at: &usize| sequences[*at].context.len() + sequences[*at].tokens.len();
    order.sort_by_key(|at| std::cmp::Reverse(whole(at)));
    for group in order.chunks(WIDEST) {
        let mut streams: Vec<Stream> = vec![engine.start().clone(); group.len()];
        let longest = group.first().map_or(0, whole);
        for step in 0..longest {
            // Longest first, so that those that still have tokens stand in front.
            let active = group.partition_point(|at| whole(at) > step);
            let mut lanes: Vec<Lane<'_>> = streams
                .iter_mut()
                .zip(&group[..active])
                .map(|(stream, at)| {
                    let Sequence {
                        context, tokens, ..
                    } = sequences[*at];
                    let token = context
                        .get(step)
                        .or_else(|| tokens.get(step - context.len()));
                    Lane {
                        stream,
                        token: token.copied().unwrap_or(tokens::UNKNOWN),
                        odds: Odds::default(),
                    }
                })
                .collect();
            engine.step(&mut lanes)?;
            for (lane, at) in lanes.iter().zip(group) {
                if step >= sequences[*at].context.len() {
                    each(*at, lane.token, &lane.odds);
                }
            }
        }
    }
    Ok(())
}

/// Negative log-likelihood of each sequence, summed over its tokens.
///
/// # Errors
/// A model that gives no numbers.
pub fn likelihood(engine: &mut Engine, sequences: &[&Sequence]) -> anyhow::Result<Vec<f64>> {
    let mut sums = vec![0.0; sequences.len()];
    walk(engine, sequences, |at, _, odds| {
        sums[at] -= f64::from(odds.probability.max(1e-12)).ln();
    })?;
    Ok(sums)
}

/// Mean over all tokens of what [`likelihood`] gave.
pub fn mean(sums: &[f64], sequences: &[&Sequence]) -> f64 {
    sums.iter().sum::<f64>() / (length(sequences) as f64).max(1.0)
}

/// How often each token occurs.
pub fn counts(sequences: &[&Sequence]) -> Vec<u64> {
    let mut counts = vec![0; tokens::count()];
    for token in sequences.iter().flat_map(|sequence| &sequence.tokens) {
        if let Some(count) = counts.get_mut(usize::from(*token)) {
            *count += 1;
        }
    }
    counts
}

/// Mean negative log-likelihood by the frequencies of single tokens, with one added to each.
pub fn unigram(counts: &[u64], sequences: &[&Sequence]) -> f64 {
    let total = counts.iter().sum::<u64>() as f64 + counts.len() as f64;
    let all = sequences.iter().flat_map(|sequence| &sequence.tokens);
    let sum: f64 = all
        .map(|token| {
            let count = counts.get(usize::from(*token)).copied().unwrap_or(0);
            -((count as f64 + 1.0) / total).ln()
        })
        .sum();
    sum / (length(sequences) as f64).max(1.0)
}

/// Share of sequences of 16 tokens or more that are likelier than the same tokens shuffled,
/// after the same context.
///
/// # Errors
/// A model that gives no numbers.
pub fn shuffled(engine: &mut Engine, sequences: &[&Sequence], seed: u64) -> anyhow::Result<f64> {
    let long = |sequence: &&&Sequence| sequence.tokens.len() as u64 >= WARM_UP;
    let own: Vec<&Sequence> = sequences.iter().filter(long).copied().collect();
    let mut rng = Rng::new(seed ^ rng::hash(b"shuffled"));
    let mixed: Vec<Sequence> = own
        .iter()
        .map(|sequence| {
            let mut sequence = (*sequence).clone();
            rng.shuffle(&mut sequence.tokens);
            sequence
        })
        .collect();
    let mixed: Vec<&Sequence> = mixed.iter().collect();
    let pairs = likelihood(engine, &own)?
        .into_iter()
        .zip(likelihood(engine, &mixed)?);
    let above = pairs.filter(|(own, mixed)| mixed > own).count();
    Ok(above as f64 / own.len().max(1) as f64)
}

/// How strongly a token's own statistics are drawn to those of all.
const SHRINKAGE: f64 = 20.0;
/// Added to every variance.
const VARIANCE_FLOOR: f64 = 0.01;

/// Mean and deviation of each token's rank surprise where it usually stands. Every sequence
/// weighs the same, however long.
///
/// # Errors
/// A model that gives no numbers.
pub fn usual(engine: &mut Engine, sequences: &[&Sequence]) -> anyhow::Result<Vec<Usual>> {
    // Weight, weighted sum and sum of squares.
    let mut sums = vec![[0.0f64; 3]; tokens::count()];
    walk(engine, sequences, |at, token, odds| {
        let weight = 1.0 / sequences[at].tokens.len().max(1) as f64;
        let value = f64::from(surprise(odds));
        if let Some(sum) = sums.get_mut(usize::from(token)) {
            sum[0] += weight;
            sum[1] += weight * value;
            sum[2] += weight * value * value;
        }
    })?;
    let all = sums.iter().fold([0.0; 3], |all, one| {
        [all[0] + one[0], all[1] + one[1], all[2] + one[2]]
    });
    let weight = all[0].max(1e-9);
    let (mean, square) = (all[1] / weight, all[2] / weight);
    // A weight is a share of a sequence; in tokens' mean weights it is this many.
    let unit = weight / (length(sequences) as f64).max(1.0);
    let of = |sum: &[f64; 3]| {
        let drawn = SHRINKAGE * unit;
        let weight = sum[0] + drawn;
        let own_mean = (sum[1] + drawn * mean) / weight;
        let own_square = (sum[2] + drawn * square) / weight;
        let variance = (own_square - own_mean * own_mean).max(0.0) + VARIANCE_FLOOR;
        Usual {
            mean: own_mean as f32,
            deviation: variance.sqrt() as f32,
        }
    };
    Ok(sums.iter().map(of).collect())
}

/// The set of tokens of each process of 16 tokens or more.
pub fn sets(sequences: &[&Sequence]) -> Vec<TokenSet> {
    let mut processes: HashMap<ProcessKey, (u64, TokenSet)> = HashMap::new();
    for sequence in sequences {
        let (count, set) = processes.entry(sequence.process).or_default();
        *count += sequence.tokens.len() as u64;
        for token in &sequence.tokens {
            set.insert(*token);
        }
    }
    let long = processes
        .into_values()
        .filter(|(count, _)| *count >= WARM_UP);
    long.map(|(_, set)| set).collect()
}

/// What every process of 16 tokens or more in some recordings measures, by the same code that
/// measures live ones; in a fixed order.
///
/// # Errors
/// Recordings that cannot be read, or a model that gives no numbers.
pub fn measure(
    engine: &mut Engine,
    normal: &mut Normal,
    recordings: &[PathBuf],
) -> anyhow::Result<Vec<(ProcessKey, Measured)>> {
    let mut measured = Vec::new();
    for (recording, path) in recordings.iter().enumerate() {
        let mut table = Table::default();
        let mut processes: foldhash::HashMap<ProcessId, ProcessScore> =
            foldhash::HashMap::default();
        replay(path, |items| {
            let applied = apply(&mut table, items, engine.start());
            for id in &applied.touched {
                // What was seen stands in the table, what was scored in `processes`.
                let seen = &table.process(*id).score;
                let score = processes.entry(*id).or_default();
                score.tokens = seen.tokens;
                score.set = seen.set;
                score.set_grew = true;
            }
            let (works, _) = rounds::score(engine, normal, applied.works, &mut processes)?;
            for work in works {
                if let Some(thread) = table.known_mut(work.thread) {
                    thread.score = work.score;
                }
            }
            table.sweep(items.last().map_or(0, |item| item.time_ns));
            table.changed();
            Ok(())
        })?;
        let mut all: Vec<(ProcessId, ProcessScore)> = processes.into_iter().collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        for (id, mut score) in all {
            if score.tokens >= WARM_UP {
                measured.push(((recording, id), normal.measured(&mut score)));
            }
        }
    }
    Ok(measured)
}
