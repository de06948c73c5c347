//! `ravn train`, `ravn evaluate` and `ravn model`: thin words around [`crate::model`].

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::model::train::TrainOptions;
use crate::model::{ModelSource, evaluate, show, train};

/// What `ravn train` takes.
#[derive(Debug, clap::Args)]
pub struct TrainArgs {
    /// Recordings of ordinary work
    #[arg(value_name = "RECORDING", required = true)]
    recordings: Vec<PathBuf>,
    /// File of the new model
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The same recordings and seed give the same bytes
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Most passes over the recordings
    #[arg(long, default_value_t = 20, value_name = "N")]
    epochs: usize,
}

/// What `ravn evaluate` takes.
#[derive(Debug, clap::Args)]
pub struct EvaluateArgs {
    /// Recordings that the model was not trained on
    #[arg(value_name = "RECORDING", required = true)]
    recordings: Vec<PathBuf>,
    /// The model; without it, the one that ships with the program
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
}

/// What `ravn model` can do.
#[derive(Debug, Subcommand)]
pub enum Model {
    /// What a model was trained on, and how well it does
    Show {
        /// The model; without it, the one that ships with the program
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

/// Trains a model and tells what came of it.
///
/// # Errors
/// Recordings that cannot be read or hold too little, or a file that cannot be written.
pub fn train(args: TrainArgs) -> Result<ExitCode> {
    let summary = train::run(&TrainOptions {
        recordings: args.recordings,
        out: args.out,
        seed: args.seed,
        epochs: args.epochs,
        progress: true,
    })?;
    println!("{summary}");
    Ok(ExitCode::SUCCESS)
}

/// Prints how a model does, as JSON.
///
/// # Errors
/// A model or recordings that cannot be read.
pub fn evaluate(args: &EvaluateArgs) -> Result<ExitCode> {
    let evaluation = evaluate::run(&source(args.model.as_deref()), &args.recordings)?;
    println!("{}", serde_json::to_string_pretty(&evaluation)?);
    Ok(ExitCode::SUCCESS)
}

/// Does what `ravn model` was asked for.
///
/// # Errors
/// No model, or one that cannot be used.
pub fn model(verb: &Model) -> Result<ExitCode> {
    let Model::Show { file, json } = verb;
    let summary = show::show(&source(file.as_deref()))?;
    if *json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        println!("{summary}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The model that was named, or the one built in.
fn source(file: Option<&Path>) -> ModelSource {
    file.map_or(ModelSource::BuiltIn, ModelSource::from_path)
}
