//! Causal attention for the CPU, fused in the manner of FlashAttention-2: neither pass stores the
//! matrix of scores.
//!
//! All tensors are token-major and flattened over the batch. One array describes the structure:
//! token `i` sees the keys `first[i] ..= i`, which covers rows of a batch, packed sequences and
//! sliding windows alike.
//!
//! A task takes a block of query tokens with all heads that share a key head. Their rows form one
//! matrix, which meets the keys tile by tile: two small matrix products per tile and the
//! element-wise loops of [`softmax`] forward, five products backward. Tasks depend on the shape
//! only, and what several of them add to is summed in a fixed order: results do not depend on the
//! number of threads.

mod backward;
mod forward;
mod inputs;
mod matmul;
mod plan;
mod softmax;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;

use rayon::iter::{ParallelBridge, ParallelIterator};

use inputs::Inputs;

/// Sizes of one attention.
pub(crate) struct Shape {
    /// Query tokens, over the whole batch.
    pub tokens: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; query head `h` uses `h / (heads / kv_heads)`.
    pub kv_heads: usize,
    /// Elements of a head; scores are scaled by `head_dim^-0.5`.
    pub head_dim: usize,
}

impl Shape {
    /// Query heads that share one key head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }
}

/// Attention of `q` `[tokens, heads, head_dim]` over `k` and `v` `[tokens, kv_heads, head_dim]`,
/// token `i` seeing the keys `first[i] ..= i`; `first` never decreases.
///
/// Returns the output `[tokens, heads, head_dim]` and, for [`backward`], the logarithm of the sum
/// of the exponentials of each row's scaled scores `[tokens, heads]`.
pub(crate) fn forward(
    shape: &Shape,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    first: &[u32],
) -> (Vec<f32>, Vec<f32>) {
    forward::forward(&Inputs::new(shape, q, k, v, first))
}

/// Gradients of `q`, `k` and `v` from that of the output, `grad_o`; `o` and `lse` are what
/// [`forward`] returned for the same inputs.
#[expect(clippy::too_many_arguments, reason = "all of them are plain tensors")]
pub(crate) fn backward(
    shape: &Shape,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    o: &[f32],
    lse: &[f32],
    grad_o: &[f32],
    first: &[u32],
) -> [Vec<f32>; 3] {
    let inputs = Inputs::new(shape, q, k, v, first);
    assert_eq!(o.len(), q.len(), "o has another size than q");
    assert_eq!(grad_o.len(), q.len(), "grad_o has another size than q");
    assert_eq!(
        lse.len(),
        shape.tokens * shape.heads,
        "lse is not [tokens, heads]"
    );
    backward::backward(&inputs, o, lse, grad_o)
}

/// Runs tasks on all threads, the longest first, so that the short ones fill the gaps at the end.
/// Each thread hands its scratch memory `S` from task to task.
fn run_longest_first<T: Send, S: Default>(
    mut tasks: Vec<T>,
    work: impl Fn(&T) -> usize,
    run: impl Fn(&mut S, T) + Send + Sync,
) {
    tasks.sort_by_key(|task| Reverse(work(task)));
    // A bridge hands the tasks out one by one in their order; a parallel iterator over the vector
    // would cut it in halves first.
    tasks
        .into_iter()
        .par_bridge()
        .for_each_init(S::default, run);
}
