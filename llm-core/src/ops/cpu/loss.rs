//! Head and cross-entropy together, a few rows of logits at a time.

use super::elementwise::cross_entropy_rows;
use super::linear::Layer;
use super::matrix::Matrix;
use super::product::{Rows, Term, add_product};

/// Bytes of logits that exist at once.
const LOGITS: usize = 64 << 20;

/// The loss summed over the tokens, with the gradients of the hidden states and, if it is `wanted`, of
/// the head's weight.
pub(super) fn linear_cross_entropy(
    hidden: &[f32],
    head: Layer<'_>,
    targets: &[u32],
    weight_wanted: bool,
) -> (f64, Vec<f32>, Option<Vec<f32>>) {
    let [vocab, width] = head.weight.shape;
    let rows = (LOGITS / size_of::<f32>() / vocab).next_multiple_of(8);
    let mut logits = Vec::new();
    let mut loss = 0.0;
    let mut grad_hidden = Vec::with_capacity(hidden.len());
    let mut grad_weight = weight_wanted.then(|| vec![0.0; vocab * width]);
    for (hidden, targets) in hidden.chunks(rows * width).zip(targets.chunks(rows)) {
        head.forward_into(&mut logits, hidden);
        let losses = cross_entropy_rows(&mut logits, vocab, targets);
        loss += losses.into_iter().map(f64::from).sum::<f64>();
        grad_hidden.extend(head.backward(&logits));
        if let Some(grad_weight) = &mut grad_weight {
            let hidden = Matrix::f32([targets.len(), width], hidden);
            let term = Term::new(Rows::transposed(&logits, vocab), hidden);
            add_product(grad_weight, [vocab, width], &[term]);
        }
    }
    (loss, grad_hidden, grad_weight)
}
