//! The operations on the CPU: fused, in parallel, with backward passes of their own. What they take
//! and return is said at their namesakes in plain tensors.

mod attention;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod backend;
mod elementwise;
mod gradients;
mod linear;
mod loss;
mod matrix;
mod product;
mod simd;

use std::sync::Arc;

use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};

use super::{Dropout, Want, Weight};
use crate::quant::QuantizedWeight;
use backend::{BranchOptions, Coded, CpuOps};

pub(super) fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, eps: f64) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::cpu_rms_norm(
        x.into_dispatch(),
        weight.into_dispatch(),
        eps,
    ))
}

pub(super) fn rotate(x: Tensor<4>, cos: Tensor<4>, sin: Tensor<4>) -> Tensor<4> {
    let [x, cos, sin] = [x, cos, sin].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::cpu_rotate(x, cos, sin))
}

/// Token i of the flat batch sees the keys `first[i] ..= i`.
pub(super) fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, first: Arc<[u32]>) -> Tensor<4> {
    let [q, k, v] = [q, k, v].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::cpu_attention(q, k, v, first))
}

pub(super) fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::cpu_swiglu(
        gate.into_dispatch(),
        up.into_dispatch(),
    ))
}

pub(super) fn linear<const D: usize>(x: Tensor<D>, weight: Weight, want: Want) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::cpu_linear(x.into_dispatch(), lower(weight), want))
}

pub(super) fn lora_linear<const D: usize>(
    x: Tensor<D>,
    weight: Weight,
    [a, b]: [Tensor<2>; 2],
    scaling: f64,
    dropout: Option<Dropout>,
    want: Want,
) -> Tensor<D> {
    let weight = lower(weight);
    let [x, a, b] = [x.into_dispatch(), a.into_dispatch(), b.into_dispatch()];
    let branch = BranchOptions { scaling, dropout };
    Tensor::from_dispatch(Dispatch::cpu_lora_linear(x, weight, a, b, branch, want))
}

/// The weight as the backend takes it.
fn lower(weight: Weight) -> backend::Weight<Dispatch> {
    match weight {
        Weight::Dense(weight) => {
            let weight = match weight.dtype() {
                DType::F32 | DType::BF16 => weight,
                _ => weight.cast(DType::F32),
            };
            backend::Weight::Dense(weight.into_dispatch())
        }
        Weight::Quantized(weight) => {
            let (codes, bf16) = weight
                .on_host()
                .expect("a weight of the CPU is on the host");
            backend::Weight::Coded(Coded {
                shape: codes.shape(),
                values: codes.clone(),
                bf16,
            })
        }
    }
}

impl matrix::Decode for QuantizedWeight {
    fn decode(&self, row: usize, cols: std::ops::Range<usize>, out: &mut [f32]) {
        self.read(row, cols, out);
    }
}

/// `gradient` is of the backend that `x` differentiates on.
pub(super) fn carry<const D: usize>(x: Tensor<D>, gradient: Tensor<D>) -> Tensor<1> {
    let gradient = Tensor::from_inner(gradient).into_dispatch();
    Tensor::from_dispatch(Dispatch::cpu_carry(x.into_dispatch(), gradient))
}

/// The loss, and the gradients of the hidden states and of the head.
pub(super) fn linear_cross_entropy(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: &[u32],
    head_wanted: bool,
) -> (Tensor<1>, Tensor<2>, Option<Tensor<2>>) {
    let head = lower(Weight::Dense(head));
    let (loss, hidden, head) = Dispatch::cpu_linear_cross_entropy(
        hidden.into_dispatch(),
        head,
        targets.into(),
        head_wanted,
    );
    let head = head_wanted.then(|| Tensor::from_dispatch(head));
    (
        Tensor::from_dispatch(loss),
        Tensor::from_dispatch(hidden),
        head,
    )
}
