//! What is in a model, in words.

use std::fmt;

use serde::Serialize;

use super::container::{self, ModelError, Training};
use super::{ModelSource, digest};

/// What a model's file says of itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// First digits of its SHA-256.
    pub name: String,
    /// Bytes of the file.
    pub bytes: usize,
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Width of the embedding and of the state.
    pub embed: usize,
    /// See `embed`.
    pub hidden: usize,
    /// Seed of the training.
    pub seed: u64,
    /// Data and results.
    pub training: Training,
    /// Representative sets of tokens.
    pub sets: usize,
    /// Rate of alarms a host and day that no alarm in the training's time still allows
    /// (95 %): 3 over the days.
    pub alarms_per_day_bound: f64,
}

/// Tells what a model is.
///
/// # Errors
/// No model, or one that cannot be used.
pub fn show(source: &ModelSource) -> Result<Summary, ModelError> {
    summary(&source.bytes()?)
}

pub(super) fn summary(bytes: &[u8]) -> Result<Summary, ModelError> {
    let (metadata, _) = container::read(bytes)?;
    Ok(Summary {
        name: digest(bytes),
        bytes: bytes.len(),
        vocabulary: metadata.tokens,
        embed: metadata.embed,
        hidden: metadata.hidden,
        seed: metadata.seed,
        sets: metadata.sets.len(),
        alarms_per_day_bound: 3.0 / (metadata.training.host_hours / 24.0).max(1e-6),
        training: metadata.training,
    })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let training = &self.training;
        writeln!(
            f,
            "model {} ({} KiB, seed {})",
            self.name,
            self.bytes / 1024,
            self.seed
        )?;
        writeln!(
            f,
            "  LSTM of {} over {} tokens, embedding {}, {} known sets",
            self.hidden, self.vocabulary, self.embed, self.sets
        )?;
        writeln!(
            f,
            "  trained on {} recordings, {:.2} host-hours: {} processes in {} trees, {} programs, {} tokens, {} epochs",
            training.recordings,
            training.host_hours,
            training.processes,
            training.trees,
            training.programs,
            training.tokens,
            training.epochs
        )?;
        writeln!(
            f,
            "  held out by process tree, {} tokens: NLL {:.3}, unigram {:.3} ({:+.0} %); programs never seen {:.3}",
            training.held_out_tokens,
            training.held_out_nll,
            training.unigram_nll,
            100.0 * (training.held_out_nll / training.unigram_nll - 1.0),
            training.unseen_programs_nll
        )?;
        writeln!(
            f,
            "  shuffled less likely than in order: {:.1} % of processes",
            100.0 * training.shuffled_above
        )?;
        write!(
            f,
            "  calibrated on {} normals; nominal until observed: up to {:.1} alarms a host and day are not excluded",
            training.calibrated_on, self.alarms_per_day_bound
        )
    }
}
