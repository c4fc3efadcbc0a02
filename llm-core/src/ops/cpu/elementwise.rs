//! Operations that go over their values once: norm, rotation, SwiGLU, softmax.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::simd::{exp, vectorised};

/// Values that a task takes: fewer cost more to hand out than to compute.
const GRAIN: usize = 1 << 14;

/// Partial sums of a reduction; the compiler does not reorder additions by itself.
const LANES: usize = 16;

/// What a kernel fills.
type Out<'a> = &'a mut [MaybeUninit<f32>];

/// A vector of `len` values.
///
/// # Safety
/// `write` writes all of them.
unsafe fn written(len: usize, write: impl FnOnce(Out)) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    write(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the caller's.
    unsafe { values.set_len(len) };
    values
}

/// Values of whole rows for one task.
fn task(width: usize) -> usize {
    GRAIN.div_ceil(width) * width
}

/// `Σ f(i)` over `0..len` in [`LANES`] partial sums.
#[inline(always)]
fn sum(len: usize, f: impl Fn(usize) -> f32) -> f32 {
    let mut sums = [0.0; LANES];
    let whole = len / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += f(start + lane);
        }
    }
    let mut total = sums.iter().sum();
    for i in whole..len {
        total += f(i);
    }
    total
}

#[inline(always)]
fn sigmoid<const FUSED: bool>(x: f32) -> f32 {
    // Above 87 the exponential of −x vanishes; below −87 that of x does.
    1.0 / (1.0 + exp::<FUSED>((-x).min(87.0)))
}

/// `silu(gate) · up`.
pub(super) fn swiglu(gate: &[f32], up: &[f32]) -> Vec<f32> {
    assert_eq!(gate.len(), up.len());
    let write = |out: Out| {
        let chunks = gate.par_chunks(GRAIN).zip(up.par_chunks(GRAIN));
        out.par_chunks_mut(GRAIN)
            .zip(chunks)
            .for_each(|(out, (gate, up))| swiglu_chunk(out, gate, up));
    };
    // SAFETY: the chunks cover all values.
    unsafe { written(gate.len(), write) }
}

vectorised! {
    fn swiglu_chunk(out: Out, gate: &[f32], up: &[f32]) = swiglu_loop
}

#[inline(always)]
fn swiglu_loop<const FUSED: bool>(out: Out, gate: &[f32], up: &[f32]) {
    for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
        out.write(gate * sigmoid::<FUSED>(*gate) * up);
    }
}

/// The gradients of `gate` and `up` from that of the result.
pub(super) fn swiglu_backward(gate: &[f32], up: &[f32], grad: &[f32]) -> [Vec<f32>; 2] {
    assert_eq!((gate.len(), up.len()), (grad.len(), grad.len()));
    let mut grad_gate = Vec::new();
    let write_up = |to_up: Out| {
        let write_gate = |to_gate: Out| {
            let to = to_gate
                .par_chunks_mut(GRAIN)
                .zip(to_up.par_chunks_mut(GRAIN));
            let factors = gate.par_chunks(GRAIN).zip(up.par_chunks(GRAIN));
            to.zip(factors)
                .zip(grad.par_chunks(GRAIN))
                .for_each(|((to, factors), grad)| {
                    swiglu_backward_chunk(to.0, to.1, factors.0, factors.1, grad);
                });
        };
        // SAFETY: the chunks cover all values.
        grad_gate = unsafe { written(grad.len(), write_gate) };
    };
    // SAFETY: the chunks cover all values.
    let grad_up = unsafe { written(grad.len(), write_up) };
    [grad_gate, grad_up]
}

vectorised! {
    fn swiglu_backward_chunk(to_gate: Out, to_up: Out, gate: &[f32], up: &[f32], grad: &[f32])
        = swiglu_backward_loop
}

#[inline(always)]
fn swiglu_backward_loop<const FUSED: bool>(
    to_gate: Out,
    to_up: Out,
    gate: &[f32],
    up: &[f32],
    grad: &[f32],
) {
    let to = to_gate.iter_mut().zip(to_up);
    for ((to, (gate, up)), grad) in to.zip(gate.iter().zip(up)).zip(grad) {
        let sigmoid = sigmoid::<FUSED>(*gate);
        to.0.write(grad * up * sigmoid * (1.0 + gate * (1.0 - sigmoid)));
        to.1.write(grad * gate * sigmoid);
    }
}

/// `x / √(mean(x²) + ε) · weight` of every row of `weight.len()` values.
pub(super) fn rms_norm(x: &[f32], weight: &[f32], eps: f64) -> Vec<f32> {
    let width = weight.len();
    assert_eq!(x.len() % width, 0);
    let task = task(width);
    let write = |out: Out| {
        out.par_chunks_mut(task)
            .zip(x.par_chunks(task))
            .for_each(|(out, x)| rms_norm_rows(out, x, weight, eps as f32));
    };
    // SAFETY: rows are whole, so that all values are written.
    unsafe { written(x.len(), write) }
}

vectorised! {
    fn rms_norm_rows(out: Out, x: &[f32], weight: &[f32], eps: f32) = rms_norm_loop
}

#[inline(always)]
fn rms_norm_loop<const FUSED: bool>(out: Out, x: &[f32], weight: &[f32], eps: f32) {
    let width = weight.len();
    for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
        let scale = inverse_rms(x, eps);
        for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
            out.write(x * scale * weight);
        }
    }
}

#[inline(always)]
fn inverse_rms(x: &[f32], eps: f32) -> f32 {
    let mean = sum(x.len(), |i| x[i] * x[i]) / x.len() as f32;
    1.0 / (mean + eps).sqrt()
}

/// The gradient of `x` from that of the result: `s·(w·g) − x·s³·mean(x·w·g)`, where `s` is the inverse
/// of the root mean square.
pub(super) fn rms_norm_backward(x: &[f32], weight: &[f32], eps: f64, grad: &[f32]) -> Vec<f32> {
    let width = weight.len();
    assert_eq!((x.len() % width, x.len()), (0, grad.len()));
    let task = task(width);
    let write = |out: Out| {
        let from = x.par_chunks(task).zip(grad.par_chunks(task));
        out.par_chunks_mut(task)
            .zip(from)
            .for_each(|(out, (x, grad))| rms_norm_backward_rows(out, x, weight, eps as f32, grad));
    };
    // SAFETY: rows are whole, so that all values are written.
    unsafe { written(x.len(), write) }
}

vectorised! {
    fn rms_norm_backward_rows(out: Out, x: &[f32], weight: &[f32], eps: f32, grad: &[f32])
        = rms_norm_backward_loop
}

#[inline(always)]
fn rms_norm_backward_loop<const FUSED: bool>(
    out: Out,
    x: &[f32],
    weight: &[f32],
    eps: f32,
    grad: &[f32],
) {
    let width = weight.len();
    let rows = x.chunks_exact(width).zip(grad.chunks_exact(width));
    for (out, (x, grad)) in out.chunks_exact_mut(width).zip(rows) {
        let scale = inverse_rms(x, eps);
        let dot = sum(width, |i| x[i] * weight[i] * grad[i]);
        let along = dot / width as f32 * scale * scale * scale;
        for (((out, x), weight), grad) in out.iter_mut().zip(x).zip(weight).zip(grad) {
            out.write(scale * weight * grad - along * x);
        }
    }
}

/// The gradient of the norm's weight: `Σ grad · x / √(mean(x²) + ε)` over the rows, in their order.
pub(super) fn rms_norm_weight_grad(x: &[f32], width: usize, eps: f64, grad: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    for (x, grad) in x.chunks_exact(width).zip(grad.chunks_exact(width)) {
        let scale = inverse_rms(x, eps as f32);
        for ((sum, x), grad) in sums.iter_mut().zip(x).zip(grad) {
            *sum += grad * x * scale;
        }
    }
    sums
}

/// Rotates the halves of every head of `x` `[tokens, heads, head_dim]` by its token's angles, whose
/// `cos` and `sin` are `[tokens, head_dim / 2]`; backwards if `inverse`.
pub(super) fn rotate(
    x: &[f32],
    [cos, sin]: [&[f32]; 2],
    head_dim: usize,
    inverse: bool,
) -> Vec<f32> {
    let half = head_dim / 2;
    let tokens = cos.len() / half;
    let width = x.len() / tokens;
    assert_eq!(
        (width % head_dim, width * tokens, sin.len()),
        (0, x.len(), cos.len())
    );
    let task = GRAIN.div_ceil(width);
    let sign = if inverse { -1.0 } else { 1.0 };
    let write = |out: Out| {
        let angles = cos.par_chunks(task * half).zip(sin.par_chunks(task * half));
        out.par_chunks_mut(task * width)
            .zip(x.par_chunks(task * width))
            .zip(angles)
            .for_each(|((out, x), (cos, sin))| rotate_tokens(out, x, cos, sin, head_dim, sign));
    };
    // SAFETY: tokens and heads are whole, so that all values are written.
    unsafe { written(x.len(), write) }
}

vectorised! {
    fn rotate_tokens(out: Out, x: &[f32], cos: &[f32], sin: &[f32], head_dim: usize, sign: f32)
        = rotate_loop
}

#[inline(always)]
fn rotate_loop<const FUSED: bool>(
    out: Out,
    x: &[f32],
    cos: &[f32],
    sin: &[f32],
    head_dim: usize,
    sign: f32,
) {
    let half = head_dim / 2;
    let width = x.len() / (cos.len() / half);
    let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
    let tokens = out.chunks_exact_mut(width).zip(x.chunks_exact(width));
    for ((out, x), (cos, sin)) in tokens.zip(angles) {
        for (out, x) in out.chunks_exact_mut(head_dim).zip(x.chunks_exact(head_dim)) {
            let (out_first, out_second) = out.split_at_mut(half);
            let (first, second) = x.split_at(half);
            let out = out_first.iter_mut().zip(out_second);
            let x = first.iter().zip(second);
            for ((out, x), (cos, sin)) in out.zip(x).zip(cos.iter().zip(sin)) {
                let sin = sign * sin;
                out.0.write(x.0 * cos - x.1 * sin);
                out.1.write(x.1 * cos + x.0 * sin);
            }
        }
    }
}

/// Turns every row of logits into the gradient of its loss `−log p(target)`, `softmax − one-hot`, and
/// returns the losses.
pub(super) fn cross_entropy_rows(logits: &mut [f32], vocab: usize, targets: &[u32]) -> Vec<f32> {
    let rows = logits.par_chunks_mut(vocab).zip(targets);
    rows.map(|(row, target)| {
        let logit = row[*target as usize];
        let mut log_sum = 0.0;
        softmax_row(row, &mut log_sum);
        row[*target as usize] -= 1.0;
        log_sum - logit
    })
    .collect()
}

vectorised! {
    /// Turns scores into probabilities; `log_sum` becomes the logarithm of their exponentials' sum.
    fn softmax_row(row: &mut [f32], log_sum: &mut f32) = softmax_loop
}

#[inline(always)]
fn softmax_loop<const FUSED: bool>(row: &mut [f32], log_sum: &mut f32) {
    let mut most = [f32::MIN; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (most, x) in most.iter_mut().zip(chunk) {
            *most = if *x > *most { *x } else { *most };
        }
    }
    let most = most.iter().chain(rest).fold(f32::MIN, |a, b| a.max(*b));
    for x in row.iter_mut() {
        *x = exp::<FUSED>(*x - most);
    }
    let total = sum(row.len(), |i| row[i]);
    let scale = 1.0 / total;
    for x in row.iter_mut() {
        *x *= scale;
    }
    *log_sum = most + total.ln();
}
