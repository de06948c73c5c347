//! The network as Burn trains and stores it.

use burn::module::{Module, Param, ParamId};
use burn::nn::{Embedding, Linear};
use burn::store::ModuleRecord;
use burn::tensor::{Bytes, Device, Tensor, TensorData};

use super::rng::Rng;

/// Width of a token's embedding.
pub const EMBED: usize = 32;
/// Width of the LSTM's state.
pub const HIDDEN: usize = 64;
/// Width of the four gates, in the order input, forget, cell, output.
pub const GATES: usize = 4 * HIDDEN;

/// Embedding, one LSTM layer with its four gates side by side, and the head.
#[derive(Module, Debug)]
pub struct Net {
    /// `[vocabulary, EMBED]`.
    pub embedding: Embedding,
    /// `[EMBED, GATES]`, with the gates' bias.
    pub input: Linear,
    /// `[HIDDEN, GATES]`, no bias.
    pub recurrent: Linear,
    /// `[HIDDEN, vocabulary]`, with bias.
    pub head: Linear,
}

impl Net {
    /// A network with random weights from `seed`; the parameters' ids are fixed too, so that
    /// the same training gives the same bytes.
    pub fn new(vocabulary: usize, seed: u64, device: &Device) -> Self {
        let mut rng = Rng::new(seed);
        let mut id = 0;
        let mut matrix = |rows: usize, columns: usize, spread: f32| {
            id += 1;
            let values: Vec<f32> = (0..rows * columns)
                .map(|_| (rng.uniform() * 2.0 - 1.0) * spread)
                .collect();
            let tensor = Tensor::<2>::from_data(TensorData::new(values, [rows, columns]), device);
            Param::initialized(ParamId::from(id), trained(tensor, device))
        };
        // 1/sqrt(fan in), as PyTorch starts an LSTM and a linear layer.
        let embedding = matrix(vocabulary, EMBED, 1.0);
        let input = matrix(EMBED, GATES, (EMBED as f32).powf(-0.5));
        let recurrent = matrix(HIDDEN, GATES, (HIDDEN as f32).powf(-0.5));
        let head = matrix(HIDDEN, vocabulary, (HIDDEN as f32).powf(-0.5));
        let mut bias = |values: Vec<f32>| {
            id += 1;
            let width = values.len();
            let tensor = Tensor::<1>::from_data(TensorData::new(values, [width]), device);
            Param::initialized(ParamId::from(id), trained(tensor, device))
        };
        // A forget gate that starts open lets gradients through from the first step
        // (Jozefowicz et al. 2015).
        let gates = (0..GATES)
            .map(|at| f32::from(u8::from((HIDDEN..2 * HIDDEN).contains(&at))))
            .collect();
        Self {
            embedding: Embedding { weight: embedding },
            input: Linear {
                weight: input,
                bias: Some(bias(gates)),
            },
            recurrent: Linear {
                weight: recurrent,
                bias: None,
            },
            head: Linear {
                weight: head,
                bias: Some(bias(vec![0.0; vocabulary])),
            },
        }
    }

    /// The weights as Burn's own record.
    ///
    /// # Errors
    /// Burn's word.
    pub fn to_bytes(&self) -> anyhow::Result<Vec<u8>> {
        let bytes = self
            .clone()
            .into_record()
            .into_bytes()
            .map_err(|error| anyhow::anyhow!("cannot write the weights: {error}"))?;
        Ok(bytes.to_vec())
    }

    /// Reads what [`Net::to_bytes`] wrote. The container's checksum has vouched for the bytes.
    ///
    /// # Errors
    /// Another layout, or weights of another shape.
    pub fn from_bytes(bytes: &[u8], vocabulary: usize, device: &Device) -> anyhow::Result<Self> {
        let failed = |error| anyhow::anyhow!("cannot read the weights: {error}; train anew");
        let record =
            ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes.to_vec())).map_err(failed)?;
        Self::new(vocabulary, 0, device)
            .try_load_record(record)
            .map_err(failed)
    }
}

/// On a device with gradients a parameter's are kept; elsewhere that may not be asked for.
fn trained<const D: usize>(tensor: Tensor<D>, device: &Device) -> Tensor<D> {
    if device.is_autodiff() {
        tensor.require_grad()
    } else {
        tensor
    }
}

/// The values of a tensor of 32-bit floats.
///
/// # Errors
/// A tensor of another type.
pub fn values<const D: usize>(tensor: Tensor<D>) -> anyhow::Result<Vec<f32>> {
    tensor
        .into_data()
        .try_into_vec::<f32>()
        .map_err(|error| anyhow::anyhow!("a tensor that is not of f32: {error:?}"))
}
