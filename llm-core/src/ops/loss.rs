//! Cross-entropy.

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Int, Tensor};

/// The sum over tokens of `−log p(target)`, in f32: `logits` `[tokens, vocab]`, `targets`
/// `[tokens]`, result `[1]`.
pub fn cross_entropy_sum(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let log_p = log_softmax(logits.cast(DType::F32), 1);
    log_p.gather(1, targets.unsqueeze_dim(1)).sum().neg()
}
