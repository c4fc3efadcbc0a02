//! Norm, rotation and SwiGLU.

use burn::tensor::activation::silu;
use burn::tensor::{DType, Tensor};

/// `x / √(mean(x²) + ε) · weight` over the last dimension; the mean is taken in f32.
pub(crate) fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    #[cfg(feature = "cpu")]
    if super::on_cpu(&x) {
        return super::cpu::rms_norm(x, weight.cast(DType::F32), eps);
    }
    let dtype = x.dtype();
    let x = x.cast(DType::F32);
    let rms = (x.clone().square().mean_dim(D - 1) + eps).sqrt();
    (x / rms).cast(dtype) * weight.cast(dtype).unsqueeze()
}

/// Rotates the halves of each head of `x` `[batch, seq, heads, head_dim]` by its token's angles, whose
/// cos and sin are `[batch, seq, 1, head_dim / 2]`.
pub(crate) fn rotate(x: Tensor<4>, [cos, sin]: &[Tensor<4>; 2]) -> Tensor<4> {
    #[cfg(feature = "cpu")]
    if super::on_cpu(&x) {
        return super::cpu::rotate(x, cos.clone(), sin.clone());
    }
    let half = x.dims()[3] / 2;
    let first = x.clone().narrow(3, 0, half);
    let second = x.narrow(3, half, half);
    Tensor::cat(
        vec![
            first.clone() * cos.clone() - second.clone() * sin.clone(),
            second * cos.clone() + first * sin.clone(),
        ],
        3,
    )
}

/// `silu(gate) · up` (Shazeer 2020, <https://arxiv.org/abs/2002.05202>).
pub(crate) fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    #[cfg(feature = "cpu")]
    if super::on_cpu(&gate) {
        return super::cpu::swiglu(gate, up);
    }
    silu(gate) * up
}
