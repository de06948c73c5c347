//! The LSTM: the network, its file, how it scores, how it is trained and looked at.
//!
//! [`net`] is what Burn trains and stores, [`container`] the file around it, [`engine`] and
//! [`math`] the inference, [`profile`] and [`score`] lead from odds to a score.
//! [`recording`] and [`corpus`] lead from recorded batches to sequences; [`train`],
//! [`evaluate`] and [`show`] are the tool's verbs.

pub mod container;
pub mod corpus;
pub mod engine;
pub mod evaluate;
pub mod math;
pub mod net;
pub mod profile;
pub mod recording;
pub mod rng;
pub mod score;
pub mod show;
pub mod train;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use sha2::{Digest, Sha256};

pub use container::{Metadata, ModelError, Training};

use engine::Engine;
use net::Net;
use score::Normal;

/// The model that ships with the program; empty until one has been trained.
const BUILT_IN: &[u8] = include_bytes!("../../models/default.ravnmodel");

/// Where a model comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ModelSource {
    /// The one that ships with the program.
    #[default]
    BuiltIn,
    /// A file that `ravn train` wrote.
    File(PathBuf),
    /// Rules alone, by choice.
    None,
}

impl ModelSource {
    /// What `model =` in the configuration means: empty for the one built in, `none` for rules
    /// alone, else a file.
    pub fn from_path(path: &Path) -> Self {
        match path.to_str() {
            Some("") => Self::BuiltIn,
            Some("none") => Self::None,
            _ => Self::File(path.to_path_buf()),
        }
    }

    /// The bytes of the model.
    ///
    /// # Errors
    /// No model, or a file that cannot be read.
    pub fn bytes(&self) -> Result<Vec<u8>, ModelError> {
        match self {
            Self::None => Err(ModelError::Absent("no model: the configuration says none")),
            Self::BuiltIn if BUILT_IN.is_empty() => Err(ModelError::Absent(
                "no model: this build ships none; train one with ravn train",
            )),
            Self::BuiltIn => Ok(BUILT_IN.to_vec()),
            Self::File(path) => read_file(path).map_err(|source| ModelError::Read {
                path: path.clone(),
                source,
            }),
        }
    }
}

fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One byte more than is allowed, so that a larger file is seen to be one.
    File::open(path)?
        .take(container::MOST_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A model ready to score.
pub struct Model {
    /// First 12 digits of the file's SHA-256.
    pub name: String,
    /// Everything beside the weights.
    pub metadata: Metadata,
    /// Steps streams.
    pub engine: Engine,
    /// Judges what it says.
    pub normal: Normal,
}

impl Model {
    /// Reads a model from its file's bytes.
    ///
    /// # Errors
    /// [`ModelError`] names what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        let (metadata, weights) = container::read(bytes)?;
        let weights_error = |error: anyhow::Error| ModelError::Weights(format!("{error:#}"));
        let net =
            Net::from_bytes(weights, metadata.tokens, &Device::flex()).map_err(weights_error)?;
        let engine = Engine::new(&net).map_err(weights_error)?;
        let normal = Normal {
            usual: metadata.usual.clone().into(),
            sets: metadata.sets.clone().into(),
            calibration: metadata.calibration.clone().into(),
        };
        Ok(Self {
            name: digest(bytes),
            metadata,
            engine,
            normal,
        })
    }

    /// Loads a model.
    ///
    /// # Errors
    /// As [`ModelSource::bytes`] and [`Model::from_bytes`].
    pub fn load(source: &ModelSource) -> Result<Self, ModelError> {
        Self::from_bytes(&source.bytes()?)
    }
}

/// First 12 digits of the SHA-256 of a model's file.
pub fn digest(bytes: &[u8]) -> String {
    let sum = Sha256::digest(bytes);
    sum.iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
