//! Training: recordings in, a model file out. The same data and seed give the same bytes.

mod fit;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use burn::tensor::Device;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ravn_shared::tokens;

use super::container::{self, Metadata, Training};
use super::corpus::{Corpus, Part, Sequence, part};
use super::engine::Engine;
use super::evaluate;
use super::net::{EMBED, HIDDEN};
use super::profile::{Calibration, representatives};
use super::score::Normal;
use super::show::Summary;

/// What to train on, and how.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// Recordings of ordinary work.
    pub recordings: Vec<PathBuf>,
    /// The model's file; written by rename.
    pub out: PathBuf,
    /// Seed of the weights, of dropout and of the order.
    pub seed: u64,
    /// Most passes over the data; fewer when held-out data stop getting likelier.
    pub epochs: usize,
    /// Show a bar on a terminal.
    pub progress: bool,
}

/// Fewest tokens that a model is trained on.
const FEWEST_TOKENS: u64 = 10_000;

/// Trains a model and writes it.
///
/// # Errors
/// Recordings that cannot be read or hold too little, or a file that cannot be written.
pub fn run(options: &TrainOptions) -> anyhow::Result<Summary> {
    let bytes = train(options)?;
    let draft = options.out.with_extension("part");
    fs::write(&draft, &bytes)
        .and_then(|()| fs::rename(&draft, &options.out))
        .with_context(|| format!("cannot write {}; check the folder", options.out.display()))?;
    super::show::summary(&bytes).map_err(Into::into)
}

fn train(options: &TrainOptions) -> anyhow::Result<Vec<u8>> {
    let corpus = Corpus::read(&options.recordings)?;
    let tokens = corpus.tokens();
    if tokens < FEWEST_TOKENS {
        bail!(
            "{tokens} tokens in the recordings, at least {FEWEST_TOKENS} are needed; record longer"
        );
    }
    let (split, trees) = corpus.split();
    let of = |wanted: Part| -> Vec<&Sequence> {
        let all = corpus.sequences.iter();
        all.filter(|sequence| part(&split, sequence.process) == wanted)
            .collect()
    };
    let (train, stop, held_out, unseen) = (
        of(Part::Train),
        of(Part::Stop),
        of(Part::HeldOut),
        of(Part::Unseen),
    );
    if train.is_empty() || held_out.is_empty() {
        bail!("all of the recordings are one process tree; record several sessions or services");
    }
    let bar = bar(options);
    let fitted = fit::fit(&train, &stop, options, &bar)?;
    bar.finish_and_clear();

    let net = fitted.net;
    let mut engine = Engine::new(&net)?;
    let counts = evaluate::counts(&train);
    let usual = evaluate::usual(&mut engine, &train)?;
    let sets = representatives(evaluate::sets(&train));
    let mut normal = Normal {
        usual: usual.clone().into(),
        sets: sets.clone().into(),
        calibration: Calibration::default().into(),
    };
    let mut measured = Vec::new();
    for (process, one) in evaluate::measure(&mut engine, &mut normal, &options.recordings)? {
        if matches!(part(&split, process), Part::HeldOut | Part::Unseen) {
            measured.push(one);
        }
    }
    let calibration = Calibration::fit(&measured);
    let held = evaluate::likelihood(&mut engine, &held_out)?;
    let metadata = Metadata {
        vocabulary: tokens::digest(),
        tokens: tokens::count(),
        embed: EMBED,
        hidden: HIDDEN,
        seed: options.seed,
        training: Training {
            recordings: corpus.recordings,
            host_hours: corpus.host_hours,
            programs: corpus.programs(),
            trees,
            processes: split.len(),
            tokens: evaluate::length(&train),
            epochs: fitted.epochs,
            held_out_tokens: evaluate::length(&held_out),
            held_out_nll: evaluate::mean(&held, &held_out),
            unigram_nll: evaluate::unigram(&counts, &held_out),
            unseen_programs_nll: evaluate::mean(
                &evaluate::likelihood(&mut engine, &unseen)?,
                &unseen,
            ),
            shuffled_above: evaluate::shuffled(&mut engine, &held_out, options.seed)?,
            calibrated_on: measured.len(),
        },
        counts,
        usual,
        sets,
        calibration,
    };
    Ok(container::write(&metadata, &net.to_bytes()?)?)
}

fn bar(options: &TrainOptions) -> ProgressBar {
    let bar = ProgressBar::new(0);
    // indicatif draws on terminals alone.
    bar.set_draw_target(if options.progress {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    });
    let style = "{bar:30} {pos}/{len} tokens, {per_sec}, {eta} left  {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}

/// The device of the CPU, with gradients.
pub(super) fn device() -> Device {
    Device::flex().autodiff()
}

#[cfg(test)]
pub(crate) mod synthetic;
#[cfg(test)]
mod tests;
