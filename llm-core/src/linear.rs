//! `Linear`: the one place where `x·W` happens, and the low-rank adapter beside it.

use burn::module::{Initializer, Module, Param};
use burn::tensor::{DType, Device, Tensor};
use rand_chacha::ChaCha8Rng;

use crate::ops::{self, Dropout, Want, Weight};
use crate::quant::QuantizedTensor;
use crate::{Error, Result};

/// A linear layer with an optional low-rank adapter: `y = x·Wᵀ + b + s·((x·Aᵀ)·Bᵀ)`.
///
/// Weights have PyTorch's layout `[out, in]`, so that checkpoints and adapters load and save
/// without a transposition.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`; `None` where the weight is quantised.
    pub weight: Option<Param<Tensor<2>>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// The branch that fine-tuning trains.
    pub adapter: Option<LoraAdapter>,
    /// The weight in a few bits, frozen: no parameter.
    #[module(skip)]
    quantized: Option<QuantizedTensor>,
    #[module(skip)]
    dims: [usize; 2],
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
            weight: Some(Initializer::Zeros.init([d_out, d_in], device)),
            bias: bias.then(|| Initializer::Zeros.init([d_out], device)),
            adapter: None,
            quantized: None,
            dims: [d_in, d_out],
        }
    }

    /// `[in, out]`.
    pub fn dims(&self) -> [usize; 2] {
        self.dims
    }

    /// Where the weight is.
    pub fn device(&self) -> Device {
        match (&self.weight, &self.quantized) {
            (None, Some(quantized)) => quantized.device().clone(),
            (Some(weight), _) => weight.lazy_device(),
            (None, None) => Device::default(),
        }
    }

    /// The weight, where it is quantised.
    pub fn quantized(&self) -> Option<&QuantizedTensor> {
        self.quantized.as_ref()
    }

    /// Puts a quantised weight in the place of the layer's.
    ///
    /// # Errors
    /// When its shape is not the layer's.
    pub fn set_quantized(&mut self, weight: QuantizedTensor) -> Result<()> {
        let [d_in, d_out] = self.dims;
        if weight.shape() != [d_out, d_in] {
            let got = weight.shape();
            let expected = [d_out, d_in];
            return Err(Error::Input(format!(
                "a quantised weight: expected {expected:?}, got {got:?}"
            )));
        }
        self.weight = None;
        self.quantized = Some(weight);
        Ok(())
    }

    /// Makes a quantised weight dense, in f32.
    ///
    /// # Errors
    /// When the device fails to hand it out.
    pub fn dequantize(&mut self) -> Result<()> {
        if let Some(quantized) = &self.quantized {
            self.weight = Some(Param::from_tensor(quantized.dequantize()?).no_grad());
            self.quantized = None;
        }
        Ok(())
    }

    /// The weight in either form.
    pub(crate) fn any_weight(&self) -> Weight {
        match (&self.weight, &self.quantized) {
            (None, Some(quantized)) => Weight::Quantized(quantized.clone()),
            (Some(weight), _) => Weight::Dense(weight.val()),
            (None, None) => unreachable!("a layer has a weight in one of two forms"),
        }
    }

    /// Input `[.., in]`, output `[.., out]`. With `rng` the adapter's dropout is active.
    pub fn forward<const D: usize>(&self, x: Tensor<D>, rng: Option<&mut ChaCha8Rng>) -> Tensor<D> {
        self.forward_for(Want::Output, x, rng)
    }

    /// The forward, or as little of it as its backward needs.
    pub(crate) fn forward_for<const D: usize>(
        &self,
        want: Want,
        x: Tensor<D>,
        rng: Option<&mut ChaCha8Rng>,
    ) -> Tensor<D> {
        let weight = self.any_weight();
        let y = match &self.adapter {
            None => ops::linear(x, weight, want),
            Some(adapter) => {
                let dropout = adapter.draw(&x, rng);
                adapter.forward(x, weight, dropout, want)
            }
        };
        match &self.bias {
            Some(bias) => y + bias.val().unsqueeze(),
            None => y,
        }
    }

    /// The weight, if the layer is nothing but `x·Wᵀ`.
    pub(crate) fn plain_weight(&self) -> Option<Tensor<2>> {
        let plain = self.adapter.is_none() && self.bias.is_none();
        self.weight.as_ref().filter(|_| plain).map(Param::val)
    }

    /// Adds the adapter into the weight, in f32, and removes it. A quantised weight becomes dense: what
    /// the adapter was trained beside.
    ///
    /// # Errors
    /// As [`dequantize`](Self::dequantize).
    pub fn merge(&mut self) -> Result<()> {
        let Some(adapter) = self.adapter.take() else {
            return Ok(());
        };
        self.dequantize()?;
        self.weight = self.weight.take().map(|weight| {
            weight.map(|weight| {
                let dtype = weight.dtype();
                adapter.merged(weight.cast(DType::F32)).cast(dtype)
            })
        });
        Ok(())
    }
}

impl LoraAdapter {
    /// The base's `x·Wᵀ` with the adapter's branch.
    fn forward<const D: usize>(
        &self,
        x: Tensor<D>,
        weight: Weight,
        dropout: Option<Dropout>,
        want: Want,
    ) -> Tensor<D> {
        let ab = [self.lora_a.val(), self.lora_b.val()];
        let Some(magnitude) = &self.magnitude else {
            return ops::lora_linear(x, weight, ab, self.scaling, dropout, want);
        };
        // y = x·Wᵀ + (g − 1)·x'·Wᵀ + g·branch, where g = m/‖W + sBA‖ and x' is x under dropout.
        let (outer, inner) = (x.dtype(), self.lora_a.val().dtype());
        let gain: Tensor<D> = (magnitude.val() / self.norm_with(&weight)).unsqueeze();
        let base = ops::linear(x.clone(), weight.clone(), Want::Output);
        let scaled = match &dropout {
            Some(_) => ops::linear(
                ops::drop_out(x.clone(), dropout.clone()),
                weight,
                Want::Output,
            ),
            None => base.clone(),
        };
        let branch = ops::branch(x, ab, self.scaling, dropout);
        let sum = base.cast(inner) + scaled.cast(inner) * (gain.clone() - 1.0) + branch * gain;
        sum.cast(outer)
    }

    /// What of the input is dropped; moves `rng` on.
    fn draw<const D: usize>(&self, x: &Tensor<D>, rng: Option<&mut ChaCha8Rng>) -> Option<Dropout> {
        let rng = rng.filter(|_| self.dropout > 0.0)?;
        let dropout = Dropout {
            p: self.dropout,
            rng: rng.clone(),
        };
        rng.set_word_pos(rng.get_word_pos() + x.shape().num_elements() as u128);
        Some(dropout)
    }

    /// `‖W + sBA‖` of each row of the layer's weight, `[out]`: a constant for the gradient (section 4.3
    /// of the DoRA paper), found without forming `W + sBA`:
    /// `‖w + s·b·A‖² = ‖w‖² + 2s·b·(A·w) + s²·b·(A·Aᵀ)·b`.
    pub fn weight_norm(&self, layer: &Linear) -> Tensor<1> {
        self.norm_with(&layer.any_weight())
    }

    fn norm_with(&self, weight: &Weight) -> Tensor<1> {
        // A detached leaf still requires gradients; the flag must go as well.
        let constant = |t: Tensor<2>| t.detach().set_require_grad(false);
        let (a, b) = (constant(self.lora_a.val()), constant(self.lora_b.val()));
        let rows = |t: Tensor<2>| t.sum_dim(1).squeeze_dim::<1>(1);
        let projected = weight.project(a.clone()); // A·Wᵀ, [r, out]
        let cross = rows(projected.transpose() * b.clone());
        let own = rows(b.clone().matmul(a.clone().matmul(a.transpose())) * b);
        let squares = weight.row_squares(&cross.device());
        let squares = squares + cross * (2.0 * self.scaling) + own * self.scaling.powi(2);
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
