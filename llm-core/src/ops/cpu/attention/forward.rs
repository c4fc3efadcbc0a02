//! The forward pass.

use super::inputs::{Inputs, Rows, TILE_KEYS, resized};
use super::matmul::{View, matmul};
use super::plan::{Block, cut, outputs, with_heads};
use super::run_longest_first;
use super::softmax::{LANES, Running, online_softmax};

/// A block of query tokens with the heads of one key head, and where its results go.
struct Task<'a> {
    block: &'a Block,
    kv_head: usize,
    /// `[tokens][group, head_dim]`.
    o: Vec<&'a mut [f32]>,
    /// `[tokens][group]`.
    lse: Vec<&'a mut [f32]>,
}

/// Memory of a thread.
#[derive(Default)]
struct Scratch {
    q: Rows,
    /// Scores, then weights `exp(score - max)`: `[keys, rows]`.
    scores: Vec<f32>,
    /// Sums of weighted values: `[rows, head_dim]`.
    sums: Vec<f32>,
    running: Vec<Running>,
}

/// Output `[tokens, heads, head_dim]` and log-sum-exp `[tokens, heads]`.
pub(super) fn forward(inputs: &Inputs) -> (Vec<f32>, Vec<f32>) {
    let (kv_heads, group) = (inputs.shape.kv_heads, inputs.shape.group());
    let mut o = vec![0.0; inputs.q.len()];
    let mut lse = vec![0.0; inputs.shape.tokens * inputs.shape.heads];

    let blocks = inputs.blocks();
    let ranges = || blocks.iter().map(|block| block.tokens.clone());
    let outputs_o = outputs(&mut o, kv_heads, group * inputs.shape.head_dim, ranges());
    let outputs_lse = outputs(&mut lse, kv_heads, group, ranges());
    let tasks = with_heads(blocks.iter(), kv_heads)
        .zip(outputs_o.into_iter().zip(outputs_lse))
        .map(|((block, kv_head), (o, lse))| Task {
            block,
            kv_head,
            o,
            lse,
        })
        .collect();
    run_longest_first(
        tasks,
        |task| task.block.work(),
        |scratch: &mut Scratch, task| {
            attend(inputs, task.block, task.kv_head, scratch);
            write(inputs, scratch, task);
        },
    );
    (o, lse)
}

/// Computes `sums` and `running` of a block.
fn attend(inputs: &Inputs, block: &Block, kv_head: usize, scratch: &mut Scratch) {
    let head_dim = inputs.shape.head_dim;
    let Scratch {
        q,
        scores,
        sums,
        running,
    } = scratch;
    q.load(inputs, inputs.q, block, kv_head);
    let rows = q.len();
    running.clear();
    running.resize(rows / LANES, Running::EMPTY);
    for (row, (token, _)) in inputs.token_heads(block, kv_head).enumerate() {
        running[row / LANES].set(row % LANES, inputs.visible(token));
    }

    let sums = resized(sums, rows * head_dim);
    for keys in cut(block.keys.clone(), TILE_KEYS) {
        let is_first = keys.start == block.keys.start;
        let k = inputs.tile(inputs.k, &keys, kv_head);
        let v = inputs.tile(inputs.v, &keys, kv_head);
        let scores = resized(scores, rows * keys.len());
        matmul(scores, k, q.transposed(), inputs.scale, false);
        online_softmax(scores, keys.start, running);
        if !is_first {
            for (row, sums) in sums.chunks_exact_mut(head_dim).enumerate() {
                let rescale = running[row / LANES].rescale(row % LANES);
                sums.iter_mut().for_each(|sum| *sum *= rescale);
            }
        }
        let weights = View::new(scores, keys.len(), rows, rows).transposed();
        matmul(sums, weights, v, 1.0, !is_first);
    }
}

/// Writes the results of a block.
fn write(inputs: &Inputs, scratch: &Scratch, task: Task) {
    let head_dim = inputs.shape.head_dim;
    let o = task
        .o
        .into_iter()
        .flat_map(|token| token.chunks_exact_mut(head_dim));
    let lse = task.lse.into_iter().flatten();
    let sums = scratch.sums.chunks_exact(head_dim);
    for (row, ((o, lse), sums)) in o.zip(lse).zip(sums).enumerate() {
        let (total, log) = scratch.running[row / LANES].finish(row % LANES);
        *lse = log;
        for (o, sum) in o.iter_mut().zip(sums) {
            *o = sum / total;
        }
    }
}
