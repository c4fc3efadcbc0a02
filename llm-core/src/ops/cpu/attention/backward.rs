//! The backward pass: probabilities are recomputed from the log-sum-exp of the forward pass.

use std::ops::Range;

use rayon::prelude::*;

use super::Shape;
use super::inputs::{Inputs, Rows, TILE_KEYS, resized};
use super::matmul::{View, matmul};
use super::plan::{Block, cut, outputs, slices, with_heads};
use super::run_longest_first;
use super::softmax::{LANES, Saved, softmax_gradient};

/// Tasks at least, if there are blocks for them: enough to keep some threads equally busy, and few
/// because tasks that share keys each hold their own sums for these.
const TASKS: usize = 12;

/// What the gradients of the rows are computed from, beside the inputs.
struct Outer<'a> {
    o: &'a [f32],
    lse: &'a [f32],
    grad_o: &'a [f32],
}

/// Blocks of query tokens with the heads of one key head.
struct Task<'a> {
    blocks: &'a [Block],
    kv_head: usize,
    /// Gradient of the queries, complete after the task: `[tokens][group, head_dim]`.
    grad_q: Vec<&'a mut [f32]>,
    /// The task's contribution to the gradients of keys and values.
    grad_kv: &'a mut KeyGrads,
}

/// Gradients of keys and values of one head, both `[keys, head_dim]`.
#[derive(Clone, Default)]
struct KeyGrads {
    k: Vec<f32>,
    v: Vec<f32>,
}

/// Memory of a thread.
#[derive(Default)]
struct Scratch {
    q: Rows,
    grad_o: Rows,
    /// `[rows, head_dim]`.
    grad_q: Vec<f32>,
    /// Scores, then probabilities: `[keys, rows]`.
    scores: Vec<f32>,
    /// Gradients of the probabilities, then of the scores: `[keys, rows]`.
    grads: Vec<f32>,
    saved: Vec<Saved>,
}

/// Gradients of `q`, `k` and `v`.
pub(super) fn backward(inputs: &Inputs, o: &[f32], lse: &[f32], grad_o: &[f32]) -> [Vec<f32>; 3] {
    let (kv_heads, group) = (inputs.shape.kv_heads, inputs.shape.group());
    let outer = Outer { o, lse, grad_o };
    let mut grad_q = vec![0.0; inputs.q.len()];

    let blocks = inputs.blocks();
    let slices = slices(&blocks, TASKS.div_ceil(kv_heads));
    let ranges = slices.iter().map(|blocks| tokens(blocks));
    let outputs = outputs(&mut grad_q, kv_heads, group * inputs.shape.head_dim, ranges);
    let mut grads_kv = vec![KeyGrads::default(); outputs.len()];
    let tasks = with_heads(slices.iter().copied(), kv_heads)
        .zip(outputs.into_iter().zip(&mut grads_kv))
        .map(|((blocks, kv_head), (grad_q, grad_kv))| Task {
            blocks,
            kv_head,
            grad_q,
            grad_kv,
        })
        .collect();
    run_longest_first(
        tasks,
        |task| task.blocks.iter().map(Block::work).sum(),
        |scratch, task| run(inputs, &outer, scratch, task),
    );

    let grad_k = add_up(inputs, &slices, &grads_kv, |grads| &grads.k);
    let grad_v = add_up(inputs, &slices, &grads_kv, |grads| &grads.v);
    [grad_q, grad_k, grad_v]
}

/// The query tokens of consecutive blocks.
fn tokens(blocks: &[Block]) -> Range<usize> {
    blocks[0].tokens.start..blocks[blocks.len() - 1].tokens.end
}

/// The keys that consecutive blocks see.
fn keys(blocks: &[Block]) -> Range<usize> {
    blocks[0].keys.start..blocks[blocks.len() - 1].keys.end
}

fn run(inputs: &Inputs, outer: &Outer, scratch: &mut Scratch, task: Task) {
    let Task {
        blocks,
        kv_head,
        grad_q,
        grad_kv,
    } = task;
    let head_dim = inputs.shape.head_dim;
    let keys = keys(blocks);
    let zeros = vec![0.0; keys.len() * head_dim];
    *grad_kv = KeyGrads {
        k: zeros.clone(),
        v: zeros,
    };
    let mut grad_q = grad_q.into_iter();
    for block in blocks {
        load(inputs, outer, block, kv_head, scratch);
        differentiate(inputs, block, kv_head, scratch, grad_kv, keys.start);
        let rows = scratch.grad_q.chunks_exact(inputs.shape.group() * head_dim);
        for (rows, grad_q) in rows.zip(grad_q.by_ref().take(block.tokens.len())) {
            grad_q.copy_from_slice(rows);
        }
    }
}

/// Collects the rows of a block in `scratch`.
fn load(inputs: &Inputs, outer: &Outer, block: &Block, kv_head: usize, scratch: &mut Scratch) {
    let &Shape {
        heads, head_dim, ..
    } = inputs.shape;
    let Scratch {
        q, grad_o, saved, ..
    } = scratch;
    q.load(inputs, inputs.q, block, kv_head);
    grad_o.load(inputs, outer.grad_o, block, kv_head);
    saved.clear();
    saved.resize(q.len() / LANES, Saved::EMPTY);
    for (row, (token, head)) in inputs.token_heads(block, kv_head).enumerate() {
        let index = token * heads + head;
        let elements = index * head_dim..(index + 1) * head_dim;
        let delta = dot(&outer.o[elements.clone()], &outer.grad_o[elements]);
        let keys = inputs.visible(token);
        saved[row / LANES].set(row % LANES, keys, outer.lse[index], delta);
    }
}

/// Computes `grad_q` of the loaded block and adds the block's contribution to `grad_kv`, whose
/// first key is `start`.
fn differentiate(
    inputs: &Inputs,
    block: &Block,
    kv_head: usize,
    scratch: &mut Scratch,
    grad_kv: &mut KeyGrads,
    start: usize,
) {
    let (head_dim, scale) = (inputs.shape.head_dim, inputs.scale);
    let Scratch {
        q,
        grad_o,
        grad_q,
        scores,
        grads,
        saved,
    } = scratch;
    let rows = q.len();
    let grad_q = resized(grad_q, rows * head_dim);
    for keys in cut(block.keys.clone(), TILE_KEYS) {
        let is_first = keys.start == block.keys.start;
        let k = inputs.tile(inputs.k, &keys, kv_head);
        let v = inputs.tile(inputs.v, &keys, kv_head);
        let scores = resized(scores, rows * keys.len());
        let grads = resized(grads, rows * keys.len());
        matmul(scores, k, q.transposed(), scale, false);
        matmul(grads, v, grad_o.transposed(), 1.0, false);
        softmax_gradient(scores, grads, keys.start, saved);

        let scores = View::new(scores, keys.len(), rows, rows);
        let grads = View::new(grads, keys.len(), rows, rows);
        let tile = (keys.start - start) * head_dim..(keys.end - start) * head_dim;
        matmul(
            &mut grad_kv.v[tile.clone()],
            scores,
            grad_o.matrix(),
            1.0,
            true,
        );
        matmul(&mut grad_kv.k[tile], grads, q.matrix(), scale, true);
        matmul(grad_q, grads.transposed(), k, scale, !is_first);
    }
}

/// Dot product, over partial sums that fit vectors.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Adds up the contributions of all slices, in their order, to `[tokens, kv_heads, head_dim]`.
fn add_up<'a>(
    inputs: &Inputs,
    slices: &[&[Block]],
    grads: &'a [KeyGrads],
    part: impl Fn(&'a KeyGrads) -> &'a [f32] + Sync,
) -> Vec<f32> {
    let (kv_heads, head_dim) = (inputs.shape.kv_heads, inputs.shape.head_dim);
    let mut total = vec![0.0; inputs.k.len()];
    let ranges = slices.iter().map(|blocks| tokens(blocks));
    let mut outputs = outputs(&mut total, kv_heads, head_dim, ranges);
    outputs
        .par_iter_mut()
        .enumerate()
        .for_each(|(index, rows)| {
            let (slice, kv_head) = (index / kv_heads, index % kv_heads);
            let own = tokens(slices[slice]);
            // Keys are seen by their own slice and perhaps later ones, never by earlier ones.
            let of_head = grads.iter().skip(kv_head).step_by(kv_heads).map(&part);
            let later = slices
                .iter()
                .map(|blocks| keys(blocks))
                .zip(of_head)
                .skip(slice);
            for (keys, grads) in later.take_while(|(keys, _)| keys.start < own.end) {
                let begin = keys.start.max(own.start);
                let grads = grads[(begin - keys.start) * head_dim..].chunks_exact(head_dim);
                for (sums, grads) in rows[begin - own.start..].iter_mut().zip(grads) {
                    add(sums, grads);
                }
            }
        });
    total
}

fn add(sums: &mut [f32], values: &[f32]) {
    sums.iter_mut()
        .zip(values)
        .for_each(|(sum, value)| *sum += value);
}
