//! Inference: many streams a step ahead at once.
//!
//! What depends on the token alone (`embedding · Wx + b`) is a table made at load; what
//! depends on the state (`h · Wh` and the head's `h · Wo`) is one Burn matrix product for all
//! streams. The state before a token both predicts it and is moved by it, so one product
//! serves both.

use burn::tensor::{Device, Tensor, TensorData};
use ravn_shared::tokens::{self, Token};

use super::math::{Kernel, Odds};
use super::net::{self, GATES, HIDDEN, Net};

/// Most streams that a step takes; more gain nothing and fall out of the cache.
pub const WIDEST: usize = 128;

/// The LSTM's state of one thread.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// Hidden state.
    pub hidden: [f32; HIDDEN],
    /// Cell state.
    pub cell: [f32; HIDDEN],
}

impl Stream {
    /// All zero: before any token.
    pub const ZERO: Self = Self {
        hidden: [0.0; HIDDEN],
        cell: [0.0; HIDDEN],
    };
}

/// One stream's next token, and what the model thought of it.
#[derive(Debug)]
pub struct Lane<'a> {
    /// The state; moved by the token.
    pub stream: &'a mut Stream,
    /// The token.
    pub token: Token,
    /// Set by [`Engine::step`].
    pub odds: Odds,
}

/// A model made ready to step.
pub struct Engine {
    vocabulary: usize,
    kernel: Kernel,
    device: Device,
    /// `[vocabulary][GATES]`.
    table: Vec<f32>,
    /// `[HIDDEN, GATES + vocabulary]`.
    weights: Tensor<2>,
    head_bias: Vec<f32>,
    start: Stream,
}

/// The model gave something that is no number.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the model gave a value that is no number; its weights or a state are damaged")]
pub struct NotANumber;

impl Engine {
    /// Derives the tables from a network.
    ///
    /// # Errors
    /// Weights that are not of f32, or not finite.
    pub fn new(net: &Net) -> anyhow::Result<Self> {
        let device = Device::flex();
        let embedding = net.embedding.weight.val();
        let [vocabulary, _] = embedding.dims();
        let bias = |linear: &burn::nn::Linear| {
            linear
                .bias
                .as_ref()
                .map(burn::module::Param::val)
                .ok_or_else(|| anyhow::anyhow!("a layer without its bias"))
        };
        let table = embedding.matmul(net.input.weight.val()) + bias(&net.input)?.unsqueeze();
        let table = net::values(table)?;
        let weights = Tensor::cat(vec![net.recurrent.weight.val(), net.head.weight.val()], 1);
        let head_bias = net::values(bias(&net.head)?)?;
        let finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
        if !(finite(&table) && finite(&head_bias) && finite(&net::values(weights.clone())?)) {
            return Err(NotANumber.into());
        }
        let mut engine = Self {
            vocabulary,
            kernel: Kernel::detect(),
            device,
            table,
            weights,
            head_bias,
            start: Stream::ZERO,
        };
        let mut start = Stream::ZERO;
        engine.step(&mut [Lane {
            stream: &mut start,
            token: tokens::START,
            odds: Odds::default(),
        }])?;
        engine.start = start;
        Ok(engine)
    }

    /// The state of a stream without a past.
    pub const fn start(&self) -> &Stream {
        &self.start
    }

    /// Tells each lane what its token's odds were and moves its stream past it. Tokens outside
    /// the vocabulary count as unknown. At most [`WIDEST`] lanes profit from each other.
    ///
    /// # Errors
    /// [`NotANumber`]; the streams are of no use then.
    pub fn step(&mut self, lanes: &mut [Lane<'_>]) -> Result<(), NotANumber> {
        for lanes in lanes.chunks_mut(WIDEST) {
            self.step_chunk(lanes)?;
        }
        Ok(())
    }

    fn step_chunk(&mut self, lanes: &mut [Lane<'_>]) -> Result<(), NotANumber> {
        let mut states = Vec::with_capacity(lanes.len() * HIDDEN);
        for lane in lanes.iter() {
            states.extend_from_slice(&lane.stream.hidden);
        }
        let states =
            Tensor::<2>::from_data(TensorData::new(states, [lanes.len(), HIDDEN]), &self.device);
        let mut product = states.matmul(self.weights.clone()).into_data();
        let product = product.as_mut_slice::<f32>().map_err(|_| NotANumber)?;
        let width = GATES + self.vocabulary;
        for (lane, row) in lanes.iter_mut().zip(product.chunks_exact_mut(width)) {
            let known = usize::from(lane.token) < self.vocabulary;
            let token = usize::from(if known { lane.token } else { tokens::UNKNOWN });
            let (gates, scores) = row.split_at_mut(GATES);
            let from = &self.table[token * GATES..][..GATES];
            for (gate, from) in gates.iter_mut().zip(from) {
                *gate += from;
            }
            for (score, bias) in scores.iter_mut().zip(&self.head_bias) {
                *score += bias;
            }
            lane.odds = self.kernel.odds(scores, token);
            let gates: &[f32; GATES] = (&*gates).try_into().map_err(|_| NotANumber)?;
            self.kernel
                .cell(gates, &mut lane.stream.hidden, &mut lane.stream.cell);
            if !lane.odds.probability.is_finite() || !lane.stream.cell[0].is_finite() {
                return Err(NotANumber);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
