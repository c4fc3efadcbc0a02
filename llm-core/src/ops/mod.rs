//! Operations of the forward. Each is written in plain tensors, which run and differentiate on every
//! backend; on the CPU, in f32, a fused kernel with a backward of its own takes its place.

mod attention;
#[cfg(feature = "cpu")]
mod cpu;
mod dropout;
mod elementwise;
mod linear;
mod loss;
mod packed;
#[cfg(test)]
#[cfg(feature = "cpu")]
mod tests;

use burn::tensor::{DType, Tensor};

pub(crate) use attention::{Visible, attention};
pub(crate) use dropout::Dropout;
pub(crate) use elementwise::{rms_norm, rotate, swiglu};
pub(crate) use linear::{Weight, branch, drop_out, linear, lora_linear};
pub(crate) use loss::{cross_entropy_sum, linear_cross_entropy};
pub(crate) use packed::{PackedCodes, packed_linear};

/// What an operation is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Its result.
    Output,
    /// The gradients of its inputs from one that is known already.
    Gradients,
}

/// A zero `[1]` in f32 whose gradient with respect to `x` is `gradient`, a tensor without a graph.
pub(crate) fn carry<const D: usize>(x: Tensor<D>, gradient: Tensor<D>) -> Tensor<1> {
    #[cfg(feature = "cpu")]
    if on_cpu(&x) {
        return cpu::carry(x, gradient);
    }
    let gradient = Tensor::from_inner(gradient).cast(DType::F32);
    let product = (x.cast(DType::F32) * gradient).sum();
    product.clone() - product.detach()
}

/// Whether the kernels of the CPU take this tensor.
#[cfg(feature = "cpu")]
fn on_cpu<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && crate::device::is_cpu(&x.device())
}
