//! The loop: truncated back-propagation through time over lanes of sequences, Adam.

use anyhow::bail;
use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use indicatif::ProgressBar;
use ravn_shared::tokens::{self, Token};

use super::TrainOptions;
use crate::model::corpus::Sequence;
use crate::model::engine::Engine;
use crate::model::evaluate;
use crate::model::net::{HIDDEN, Net};
use crate::model::rng::Rng;

/// Most sequences that are read side by side: more make a step cheaper and rarer.
const MOST_LANES: usize = 64;
/// Fewest, and the steps of an epoch that are wanted before there are more.
const FEWEST_LANES: usize = 8;
const STEPS: usize = 100;
/// Tokens through which gradients go back.
const WINDOW: usize = 48;
/// Most tokens of an epoch; of more data each epoch takes another part.
const MOST_TOKENS: usize = 2_000_000;
const FIRST_RATE: f64 = 4e-3;
const LAST_RATE: f64 = 2e-4;
/// Share of hidden units left out before the head.
const DROPOUT: f32 = 0.3;
/// Share of the embedding left out.
const EMBEDDING_DROPOUT: f32 = 0.1;
/// Share of input tokens that are replaced by the unknown one.
const UNKNOWN: f32 = 0.1;
/// Epochs without a gain after which training stops.
const PATIENCE: usize = 3;

/// A network and how long it took.
pub struct Fitted {
    /// The best one by the data that decides when to stop.
    pub net: Net,
    /// Passes over the data.
    pub epochs: usize,
}

/// One step of one lane.
#[derive(Clone, Copy, Default)]
struct Step {
    input: Token,
    target: Token,
    /// The target counts.
    counts: bool,
    /// The sequence begins here.
    begins: bool,
}

/// Fits a network.
///
/// # Errors
/// A loss that is no number.
pub fn fit(
    train: &[&Sequence],
    stop: &[&Sequence],
    options: &TrainOptions,
    bar: &ProgressBar,
) -> anyhow::Result<Fitted> {
    let device = super::device();
    let mut rng = Rng::new(options.seed ^ 0x5eed);
    let mut net = Net::new(tokens::count(), options.seed, &device);
    let mut optimizer = AdamConfig::new()
        .with_epsilon(1e-8)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(1.0)))
        .init();
    let epoch_tokens = (evaluate::length(train) as usize).min(MOST_TOKENS);
    bar.set_length((epoch_tokens * options.epochs) as u64);
    let mut best = Fitted {
        net: net.clone().valid(),
        epochs: 0,
    };
    let (mut best_nll, mut since) = (f64::INFINITY, 0);
    let wide = (epoch_tokens / (WINDOW * STEPS)).clamp(FEWEST_LANES, MOST_LANES);
    let total = (options.epochs * epoch_tokens).max(1);
    let mut done = 0;
    for epoch in 1..=options.epochs {
        let lanes = lanes(train, wide, &mut rng);
        let longest = lanes.iter().map(Vec::len).max().unwrap_or(0);
        let mut state = [
            Tensor::<2>::zeros([wide, HIDDEN], &device),
            Tensor::<2>::zeros([wide, HIDDEN], &device),
        ];
        let mut loss_sum = 0.0;
        let mut counted = 0;
        for from in (0..longest).step_by(WINDOW) {
            let window = Window::new(&lanes, from, &mut rng);
            let part = (done as f64 / total as f64).min(1.0);
            let rate = LAST_RATE
                + (FIRST_RATE - LAST_RATE) * 0.5 * (1.0 + (std::f64::consts::PI * part).cos());
            let (loss, next) = forward(&net, &window, state, &mut rng, &device);
            state = next;
            let value: f32 = loss.clone().into_scalar();
            if !value.is_finite() {
                bail!("training went astray (the loss is no number); try another seed");
            }
            let gradients = GradientsParams::from_grads(loss.backward(), &net);
            net = optimizer.step(rate, net, gradients);
            loss_sum += f64::from(value) * window.counted as f64;
            counted += window.counted;
            done += window.counted;
            bar.inc(window.counted as u64);
        }
        let valid = net.clone().valid();
        let nll = if stop.is_empty() {
            loss_sum / counted.max(1) as f64
        } else {
            let mut engine = Engine::new(&valid)?;
            evaluate::mean(&evaluate::likelihood(&mut engine, stop)?, stop)
        };
        bar.set_message(format!("epoch {epoch}: nll {nll:.3}"));
        tracing::info!(
            epoch,
            train = loss_sum / counted.max(1) as f64,
            stop = nll,
            "epoch"
        );
        if nll < best_nll {
            (best_nll, since) = (nll, 0);
            best = Fitted {
                net: valid,
                epochs: epoch,
            };
        } else {
            since += 1;
            if since >= PATIENCE {
                break;
            }
        }
    }
    if !best_nll.is_finite() {
        bail!("training went astray (the loss is no number); try another seed");
    }
    Ok(best)
}

/// Lays sequences out over `wide` lanes of about the same length, in a new order.
fn lanes(train: &[&Sequence], wide: usize, rng: &mut Rng) -> Vec<Vec<Step>> {
    let mut order: Vec<usize> = (0..train.len()).collect();
    rng.shuffle(&mut order);
    let mut lanes: Vec<Vec<Step>> = vec![Vec::new(); wide];
    let mut tokens = 0;
    for at in order {
        if tokens >= MOST_TOKENS {
            break;
        }
        let sequence = train[at];
        tokens += sequence.tokens.len();
        let shortest = (0..wide).min_by_key(|lane| lanes[*lane].len());
        let lane = &mut lanes[shortest.unwrap_or(0)];
        let mut input = tokens::START;
        let targets = sequence.context.iter().chain(&sequence.tokens);
        for (place, target) in targets.enumerate() {
            lane.push(Step {
                input,
                target: *target,
                counts: place >= sequence.context.len(),
                begins: place == 0,
            });
            input = *target;
        }
    }
    lanes
}

/// The steps of all lanes that are trained at once, lane after lane within a step.
struct Window {
    steps: usize,
    wide: usize,
    inputs: Vec<i32>,
    targets: Vec<i32>,
    weights: Vec<f32>,
    /// By step: 0 for lanes that begin anew; None when none does.
    keeps: Vec<Option<Vec<f32>>>,
    counted: usize,
}

impl Window {
    fn new(lanes: &[Vec<Step>], from: usize, rng: &mut Rng) -> Self {
        let longest = lanes.iter().map(Vec::len).max().unwrap_or(0);
        let steps = WINDOW.min(longest - from);
        let mut window = Self {
            steps,
            wide: lanes.len(),
            inputs: Vec::with_capacity(steps * lanes.len()),
            targets: Vec::with_capacity(steps * lanes.len()),
            weights: Vec::with_capacity(steps * lanes.len()),
            keeps: Vec::with_capacity(steps),
            counted: 0,
        };
        for at in from..from + steps {
            let row = lanes.iter().map(|lane| lane.get(at).copied());
            let row: Vec<Step> = row.map(Option::unwrap_or_default).collect();
            for step in &row {
                let hidden = rng.uniform() < UNKNOWN && step.input != tokens::START;
                let input = if hidden { tokens::UNKNOWN } else { step.input };
                window.inputs.push(i32::from(input));
                window.targets.push(i32::from(step.target));
                window.weights.push(f32::from(u8::from(step.counts)));
                window.counted += usize::from(step.counts);
            }
            let any = row.iter().any(|step| step.begins);
            window.keeps.push(any.then(|| {
                row.iter()
                    .map(|step| f32::from(u8::from(!step.begins)))
                    .collect()
            }));
        }
        window
    }
}

/// Mean loss of a window, and the state after it without its history.
fn forward(
    net: &Net,
    window: &Window,
    state: [Tensor<2>; 2],
    rng: &mut Rng,
    device: &Device,
) -> (Tensor<1>, [Tensor<2>; 2]) {
    let embedding = net.embedding.weight.val();
    let shape: [usize; 2] = embedding.dims();
    let embedding = embedding * mask(shape, EMBEDDING_DROPOUT, rng, device);
    let wide = window.wide;
    let [mut hidden, mut cell] = state;
    let mut outputs = Vec::with_capacity(window.steps);
    for (at, keep) in window.keeps.iter().enumerate() {
        if let Some(keep) = keep {
            let keep = Tensor::<2>::from_data(TensorData::new(keep.clone(), [wide, 1]), device);
            hidden = hidden * keep.clone();
            cell = cell * keep;
        }
        let inputs = window.inputs[at * wide..][..wide].to_vec();
        let inputs = Tensor::<1, Int>::from_data(TensorData::new(inputs, [wide]), device);
        let gates =
            net.input.forward(embedding.clone().select(0, inputs)) + net.recurrent.forward(hidden);
        let [input, forget, candidate, output] = split(gates);
        cell = activation::sigmoid(forget) * cell
            + activation::sigmoid(input) * activation::tanh(candidate);
        hidden = activation::sigmoid(output) * activation::tanh(cell.clone());
        outputs.push(hidden.clone());
    }
    let rows = window.steps * wide;
    let outputs = Tensor::cat(outputs, 0);
    let outputs = outputs * mask([rows, HIDDEN], DROPOUT, rng, device);
    let scores = activation::log_softmax(net.head.forward(outputs), 1);
    let targets = TensorData::new(window.targets.clone(), [rows, 1]);
    let targets = Tensor::<2, Int>::from_data(targets, device);
    let weights = TensorData::new(window.weights.clone(), [rows, 1]);
    let weights = Tensor::<2>::from_data(weights, device);
    let total = (scores.gather(1, targets) * weights).sum().neg();
    let loss = total.div_scalar(window.counted.max(1) as f32);
    (loss, [hidden.detach(), cell.detach()])
}

/// The four gates of a step.
fn split(gates: Tensor<2>) -> [Tensor<2>; 4] {
    [0, 1, 2, 3].map(|gate| gates.clone().narrow(1, gate * HIDDEN, HIDDEN))
}

/// Zero for the share left out, and what keeps the mean for the rest; from our own generator,
/// so that nothing else in the process can change a training.
fn mask(shape: [usize; 2], share: f32, rng: &mut Rng, device: &Device) -> Tensor<2> {
    let keep = 1.0 / (1.0 - share);
    let values: Vec<f32> = (0..shape[0] * shape[1])
        .map(|_| if rng.uniform() < share { 0.0 } else { keep })
        .collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}
