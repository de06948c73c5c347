//! A model as a file: `RAVNMODL`, version, metadata, Burn's record, SHA-256 of all of it.
//!
//! Burn's record alone loads a flipped bit in silence; here any change is an error.

use ravn_shared::tokens;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::net::{EMBED, HIDDEN};
use super::profile::{Calibration, TokenSet, Usual};

/// First bytes of every model.
const MAGIC: &[u8; 8] = b"RAVNMODL";
/// Version of this layout.
const VERSION: u32 = 1;
/// Largest file that is read.
pub const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Why a file is no model that can be used. The rules judge alone then.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No model was given.
    #[error("{0}")]
    Absent(&'static str),
    /// The file cannot be read.
    #[error("cannot read the model {path}: {source}; check the path and its permissions")]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// Something else.
    #[error("not a model: it does not begin with RAVNMODL; give a file that ravn train wrote")]
    Magic,
    /// Changed or cut off since it was written.
    #[error("the model is damaged: {0}; fetch or train it anew")]
    Damaged(&'static str),
    /// Written by another version.
    #[error("the model has layout {0}, this version reads {VERSION}; train it anew")]
    Version(u32),
    /// Made for another vocabulary.
    #[error(
        "the model was trained on another vocabulary ({model:.12}, this version has {own:.12}); train it anew"
    )]
    Vocabulary {
        /// The model's digest.
        model: String,
        /// This version's.
        own: String,
    },
    /// Sizes that this version does not have.
    #[error("the model's sizes are not this version's; train it anew")]
    Sizes,
    /// The metadata are not what this version writes.
    #[error("the model's metadata cannot be read: {0}; train it anew")]
    Metadata(String),
    /// The weights do not load.
    #[error("{0}")]
    Weights(String),
}

/// What is known of the recordings and of how the training came out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// Recordings that it was trained on.
    pub recordings: usize,
    /// Hours that they cover, summed over hosts.
    pub host_hours: f64,
    /// Distinct programs that were executed.
    pub programs: usize,
    /// Process trees.
    pub trees: usize,
    /// Processes of 16 tokens or more.
    pub processes: usize,
    /// Tokens trained on.
    pub tokens: u64,
    /// Passes over them.
    pub epochs: usize,
    /// Tokens held out by process tree.
    pub held_out_tokens: u64,
    /// Mean negative log-likelihood of those.
    pub held_out_nll: f64,
    /// The same by the frequencies of single tokens.
    pub unigram_nll: f64,
    /// Mean negative log-likelihood of programs that were left out of training altogether.
    pub unseen_programs_nll: f64,
    /// Share of held-out processes whose shuffled tokens are less likely than their own.
    pub shuffled_above: f64,
    /// Normals that the calibration rests on.
    pub calibrated_on: usize,
}

/// Everything beside the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metadata {
    /// Digest of the vocabulary.
    pub vocabulary: String,
    /// Tokens in it.
    pub tokens: usize,
    /// Width of the embedding.
    pub embed: usize,
    /// Width of the state.
    pub hidden: usize,
    /// Seed of the training.
    pub seed: u64,
    /// Data and results.
    pub training: Training,
    /// How often each token occurred in training: what a unigram is made of.
    pub counts: Vec<u64>,
    /// How surprising each token usually is.
    pub usual: Vec<Usual>,
    /// Representative sets of tokens.
    pub sets: Vec<TokenSet>,
    /// How scores of normals are spread.
    pub calibration: Calibration,
}

/// Puts a model together.
///
/// # Errors
/// Metadata that are no JSON (a number that is none).
pub fn write(metadata: &Metadata, weights: &[u8]) -> Result<Vec<u8>, ModelError> {
    let json =
        serde_json::to_vec(metadata).map_err(|error| ModelError::Metadata(error.to_string()))?;
    let mut out = Vec::with_capacity(json.len() + weights.len() + 64);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    for part in [&json[..], weights] {
        out.extend_from_slice(&(part.len() as u64).to_le_bytes());
        out.extend_from_slice(part);
    }
    let sum = Sha256::digest(&out);
    out.extend_from_slice(&sum);
    Ok(out)
}

/// Takes a model apart, after its checksum has been found right.
///
/// # Errors
/// [`ModelError`] names what is wrong.
pub fn read(bytes: &[u8]) -> Result<(Metadata, &[u8]), ModelError> {
    if bytes.len() > MOST_BYTES {
        return Err(ModelError::Damaged("it is larger than any model"));
    }
    if !bytes.starts_with(MAGIC) {
        return Err(ModelError::Magic);
    }
    let (body, sum) = bytes
        .split_last_chunk::<32>()
        .ok_or(ModelError::Damaged("it is cut off"))?;
    if Sha256::digest(body).as_slice() != sum {
        return Err(ModelError::Damaged(
            "its checksum is wrong, or it is cut off",
        ));
    }
    let cut = ModelError::Damaged("it is cut off");
    let Some((version, rest)) = body.get(MAGIC.len()..).and_then(<[u8]>::split_first_chunk) else {
        return Err(cut);
    };
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        return Err(ModelError::Version(version));
    }
    let (json, rest) = part(rest).ok_or(ModelError::Damaged("it is cut off"))?;
    let (weights, rest) = part(rest).ok_or(cut)?;
    if !rest.is_empty() {
        return Err(ModelError::Damaged("something stands after the weights"));
    }
    let metadata = metadata(json)?;
    Ok((metadata, weights))
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)
}

fn metadata(json: &[u8]) -> Result<Metadata, ModelError> {
    #[derive(Deserialize)]
    struct Head {
        vocabulary: String,
    }
    let failed = |error: serde_json::Error| ModelError::Metadata(error.to_string());
    // The vocabulary first: with another one the rest may well have another form.
    let head: Head = serde_json::from_slice(json).map_err(failed)?;
    let own = tokens::digest();
    if head.vocabulary != own {
        return Err(ModelError::Vocabulary {
            model: head.vocabulary,
            own,
        });
    }
    let metadata: Metadata = serde_json::from_slice(json).map_err(failed)?;
    let sizes = (metadata.tokens, metadata.embed, metadata.hidden);
    if sizes != (tokens::count(), EMBED, HIDDEN)
        || metadata.usual.len() != metadata.tokens
        || metadata.counts.len() != metadata.tokens
    {
        return Err(ModelError::Sizes);
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests;
