//! `x·Wᵀ`, and the low-rank branch beside it.

use burn::tensor::module;
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::{Dropout, Want, packed_linear};
use crate::quant::QuantizedTensor;

/// A layer's weight, `[out, in]`.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one exists at a time")]
pub(crate) enum Weight {
    /// As it is.
    Dense(Tensor<2>),
    /// In a few bits, frozen.
    Quantized(QuantizedTensor),
}

impl Weight {
    /// `a·Wᵀ` of `a` `[r, in]`, as a constant, in `a`'s type.
    pub(crate) fn project(&self, a: Tensor<2>) -> Tensor<2> {
        let constant = match self {
            Self::Dense(weight) => {
                let weight = weight.clone().detach().set_require_grad(false);
                Self::Dense(weight.cast(a.dtype()))
            }
            quantized => quantized.clone(),
        };
        linear(a, constant, Want::Output)
    }

    /// `Σ w²` of each row, `[out]`, f32.
    pub(crate) fn row_squares(&self, device: &Device) -> Tensor<1> {
        match self {
            Self::Dense(weight) => {
                let weight = weight.clone().detach().set_require_grad(false);
                weight.cast(DType::F32).square().sum_dim(1).squeeze_dim(1)
            }
            Self::Quantized(weight) => {
                let squares = weight.row_squares();
                match device.is_autodiff() {
                    true => Tensor::from_inner(squares),
                    false => squares,
                }
            }
        }
    }

    #[cfg(feature = "cpu")]
    fn is_trained(&self) -> bool {
        matches!(self, Self::Dense(weight) if weight.is_require_grad())
    }
}

/// `x·Wᵀ` of `x` `[.., in]` and `weight` `[out, in]`, of `x`'s type. On the CPU an f32 `x` may meet a
/// weight in bf16: then both factors are rounded to bf16 and summed in f32 where the processor has the
/// instructions (AVX-512 BF16), and `x` is not rounded where it has not.
///
/// With [`Want::Gradients`] the result's values are not to be read: where a kernel can, it leaves them out.
#[cfg_attr(
    not(feature = "cpu"),
    expect(unused_variables, reason = "only a kernel can leave a result out")
)]
pub(crate) fn linear<const D: usize>(x: Tensor<D>, weight: Weight, want: Want) -> Tensor<D> {
    #[cfg(feature = "cpu")]
    if super::on_cpu(&x) {
        return super::cpu::linear(x, weight, want);
    }
    match weight {
        Weight::Dense(weight) => module::linear(x, weight.transpose(), None),
        Weight::Quantized(weight) => packed_linear(x, &weight),
    }
}

/// `x·Wᵀ + s·(x'·Aᵀ)·Bᵀ` of `x` `[.., in]`, `weight` `[out, in]`, `a` `[r, in]` and `b` `[out, r]`, where
/// `x'` is `x` under dropout. The branch is computed and added in the adapter's type, so that a base in
/// half precision rounds the sum only.
pub(crate) fn lora_linear<const D: usize>(
    x: Tensor<D>,
    weight: Weight,
    [a, b]: [Tensor<2>; 2],
    scaling: f64,
    dropout: Option<Dropout>,
    want: Want,
) -> Tensor<D> {
    #[cfg(feature = "cpu")]
    if super::on_cpu(&x) && a.dtype() == DType::F32 && !weight.is_trained() {
        return super::cpu::lora_linear(x, weight, [a, b], scaling, dropout, want);
    }
    let (outer, inner) = (x.dtype(), a.dtype());
    let base = linear(x.clone(), weight, want).cast(inner);
    (base + branch(x, [a, b], scaling, dropout)).cast(outer)
}

/// `s·(x'·Aᵀ)·Bᵀ`, of the adapter's type.
pub(crate) fn branch<const D: usize>(
    x: Tensor<D>,
    [a, b]: [Tensor<2>; 2],
    scaling: f64,
    dropout: Option<Dropout>,
) -> Tensor<D> {
    let x = drop_out(x.cast(a.dtype()), dropout);
    let low = linear(x, Weight::Dense(a), Want::Output) * scaling; // [.., r]
    linear(low, Weight::Dense(b), Want::Output)
}

/// `x` under dropout.
pub(crate) fn drop_out<const D: usize>(x: Tensor<D>, dropout: Option<Dropout>) -> Tensor<D> {
    let Some(dropout) = dropout else {
        return x;
    };
    let factors = dropout.factors(x.shape().num_elements());
    let factors = TensorData::new(factors, x.shape()).convert_dtype(x.dtype());
    let options = (&x.device(), x.dtype());
    x * Tensor::from_data(factors, options)
}
