//! `Linear`: the one place where `x·W` happens, and the low-rank adapter beside it.

use burn::module::{Initializer, Module, Param};
use burn::tensor::module::linear;
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A linear layer with an optional low-rank adapter: `y = x·Wᵀ + b + s·((x·Aᵀ)·Bᵀ)`.
///
/// Weights have PyTorch's layout `[out, in]`, so that checkpoints and adapters load and save
/// without a transposition.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// The branch that fine-tuning trains.
    pub adapter: Option<LoraAdapter>,
}

/// LoRA (Hu et al. 2021, <https://arxiv.org/abs/2106.09685>): two thin matrices beside a frozen
/// weight; with a magnitude it is DoRA (Liu et al. 2024, <https://arxiv.org/abs/2402.09353>).
/// The arithmetic is PEFT's (`peft/tuners/lora/{layer,dora}.py`).
#[derive(Module, Debug)]
pub struct LoraAdapter {
    /// `A`, `[r, in]`.
    pub lora_a: Param<Tensor<2>>,
    /// `B`, `[out, r]`.
    pub lora_b: Param<Tensor<2>>,
    /// DoRA's magnitude of each output, `[out]`.
    pub magnitude: Option<Param<Tensor<1>>>,
    /// `s`: alpha / r, or alpha / √r.
    #[module(skip)]
    pub scaling: f64,
    /// Probability with which an element of the branch's input is dropped in training.
    #[module(skip)]
    pub dropout: f64,
}

impl Linear {
    /// A layer of zeros, allocated when it is first used.
    pub fn new(d_in: usize, d_out: usize, bias: bool, device: &Device) -> Self {
        Self {
            weight: Initializer::Zeros.init([d_out, d_in], device),
            bias: bias.then(|| Initializer::Zeros.init([d_out], device)),
            adapter: None,
        }
    }

    /// `[in, out]`.
    pub fn dims(&self) -> [usize; 2] {
        let shape = self.weight.lazy_shape();
        [shape[1], shape[0]]
    }

    /// Input `[.., in]`, output `[.., out]`. With `rng` the adapter's dropout is active.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, rng: Option<&mut ChaCha8Rng>) -> Tensor<D> {
        let bias = self.bias.as_ref().map(Param::val);
        let weight = self.weight.val();
        match &self.adapter {
            None => linear(x, weight.transpose(), bias),
            Some(adapter) => adapter.forward(x, weight, bias, rng),
        }
    }

    /// Adds the adapter into the weight, in f32, and removes it.
    pub fn merge(&mut self) {
        if let Some(adapter) = self.adapter.take() {
            let weight = self.weight.val();
            let merged = adapter
                .merged(weight.clone().cast(DType::F32))
                .cast(weight.dtype());
            self.weight = self.weight.clone().map(|_| merged);
        }
    }
}

impl LoraAdapter {
    /// The base's `x·Wᵀ + b` with the adapter's branch. The branch is computed and added in the
    /// adapter's type, so that a base in half precision rounds the sum only.
    fn forward<const D: usize>(
        &self,
        x: Tensor<D>,
        weight: Tensor<2>,
        bias: Option<Tensor<1>>,
        rng: Option<&mut ChaCha8Rng>,
    ) -> Tensor<D> {
        let (a, b) = (self.lora_a.val(), self.lora_b.val());
        let (outer, inner) = (x.dtype(), a.dtype());
        let base = linear(x.clone(), weight.clone().transpose(), bias).cast(inner);
        let input = x.cast(inner);
        let input = match rng.filter(|_| self.dropout > 0.0) {
            Some(rng) => dropout(input, self.dropout, rng),
            None => input,
        };
        let low = linear(input.clone(), a.transpose(), None) * self.scaling; // [.., r]
        let branch = linear(low, b.transpose(), None);
        let Some(magnitude) = &self.magnitude else {
            return (base + branch).cast(outer);
        };
        // y = x·Wᵀ + b + (g − 1)·x'·Wᵀ + g·branch, where g = m/‖W + sBA‖ and x' is x under dropout.
        let gain: Tensor<D> = (magnitude.val() / self.weight_norm(weight.clone())).unsqueeze();
        let scaled = linear(input.cast(outer), weight.transpose(), None).cast(inner);
        (base + scaled * (gain.clone() - 1.0) + branch * gain).cast(outer)
    }

    /// `‖W + sBA‖` of each output's row, `[out]`: a constant for the gradient (section 4.3 of the DoRA
    /// paper), found without forming `W + sBA`: `‖w + s·b·A‖² = ‖w‖² + 2s·b·(A·w) + s²·b·(A·Aᵀ)·b`.
    pub fn weight_norm(&self, weight: Tensor<2>) -> Tensor<1> {
        // A detached leaf still requires gradients; the flag must go as well.
        let constant = |t: Tensor<2>| t.detach().set_require_grad(false);
        let (a, b) = (constant(self.lora_a.val()), constant(self.lora_b.val()));
        let weight = constant(weight).cast(a.dtype());
        let rows = |t: Tensor<2>| t.sum_dim(1).squeeze_dim::<1>(1);
        let cross = rows(weight.clone().matmul(a.clone().transpose()) * b.clone());
        let own = rows(b.clone().matmul(a.clone().matmul(a.transpose())) * b);
        let squares =
            rows(weight.square()) + cross * (2.0 * self.scaling) + own * self.scaling.powi(2);
        squares.clamp_min(0.0).sqrt()
    }

    /// The dense weight that does what base and adapter do together.
    fn merged(&self, weight: Tensor<2>) -> Tensor<2> {
        let (a, b) = (self.lora_a.val(), self.lora_b.val());
        let merged = weight + b.matmul(a) * self.scaling;
        match &self.magnitude {
            None => merged,
            Some(magnitude) => {
                let norm = merged.clone().square().sum_dim(1).sqrt();
                merged * (magnitude.val().unsqueeze_dim::<2>(1) / norm)
            }
        }
    }
}

/// Zeroes each element with probability `p` and scales the others by `1/(1 − p)`.
fn dropout<const D: usize>(x: Tensor<D>, p: f64, rng: &mut ChaCha8Rng) -> Tensor<D> {
    let mut random = vec![0u32; x.shape().num_elements()];
    rng.fill(&mut random[..]);
    let threshold = (p * 2f64.powi(32)) as u32;
    let keep = (1.0 / (1.0 - p)) as f32;
    let mask: Vec<f32> = random
        .iter()
        .map(|r| if *r < threshold { 0.0 } else { keep })
        .collect();
    let mask = TensorData::new(mask, x.shape()).convert_dtype(x.dtype());
    let options = (&x.device(), x.dtype());
    x * Tensor::from_data(mask, options)
}
