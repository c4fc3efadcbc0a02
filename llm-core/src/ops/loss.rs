//! Cross-entropy, alone and together with the head.

use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::{Want, Weight, carry, linear};

/// Elements of logits that exist at once.
const LOGITS: usize = 1 << 26;

/// The sum over tokens of `−log p(target)`, in f32: `logits` `[tokens, vocab]`, result `[1]`.
pub(crate) fn cross_entropy_sum(logits: Tensor<2>, targets: &[u32]) -> Tensor<1> {
    let targets = indices(targets, &logits.device());
    let log_p = log_softmax(logits.cast(DType::F32), 1);
    log_p.gather(1, targets.unsqueeze_dim(1)).sum().neg()
}

fn indices(ids: &[u32], device: &Device) -> Tensor<1, Int> {
    let ids: Vec<i32> = ids.iter().map(|id| *id as i32).collect();
    let count = ids.len();
    Tensor::from_data(TensorData::new(ids, [count]), device)
}

/// The sum over tokens of `−log p(target)`, in f32, `[1]`, where the logits are `hidden·headᵀ`:
/// `hidden` `[tokens, hidden_size]`, `head` `[vocab, hidden_size]`.
///
/// Logits exist for a few tokens at a time: their gradient is known as soon as they are, so the forward
/// multiplies it into the gradients of `hidden` and, where it is trained, of `head`, and keeps those.
pub(crate) fn linear_cross_entropy(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: &[u32],
) -> Tensor<1> {
    let differentiated = hidden.is_autodiff();
    let head_trained = differentiated && head.is_require_grad();
    let (plain_hidden, plain_head) = match differentiated {
        true => (hidden.clone().inner(), head.clone().inner()),
        false => (hidden.clone(), head.clone()),
    };
    let (loss, grad_hidden, grad_head) =
        with_gradients(plain_hidden, plain_head, targets, head_trained);
    if !differentiated {
        return loss;
    }
    let mut carrier = carry(hidden, grad_hidden);
    if let Some(grad_head) = grad_head {
        carrier = carrier + carry(head, grad_head);
    }
    carrier + Tensor::from_inner(loss)
}

/// The loss, and the gradients of the hidden states and of the head.
fn with_gradients(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: &[u32],
    head_wanted: bool,
) -> (Tensor<1>, Tensor<2>, Option<Tensor<2>>) {
    #[cfg(feature = "cpu")]
    if super::on_cpu(&hidden) {
        return super::cpu::linear_cross_entropy(hidden, head, targets, head_wanted);
    }
    let [vocab, _] = head.dims();
    composed(hidden, head, targets, head_wanted, (LOGITS / vocab).max(1))
}

/// In plain tensors, the logits of `rows` tokens at a time.
pub(super) fn composed(
    hidden: Tensor<2>,
    head: Tensor<2>,
    targets: &[u32],
    head_wanted: bool,
    rows: usize,
) -> (Tensor<1>, Tensor<2>, Option<Tensor<2>>) {
    let device = hidden.device();
    let mut loss = Tensor::zeros([1], (&device, DType::F32));
    let mut grad_head = head_wanted.then(|| Tensor::zeros(head.dims(), (&device, DType::F32)));
    let mut grads = Vec::new();
    for (index, targets) in targets.chunks(rows).enumerate() {
        let ids = indices(targets, &device);
        let hidden = hidden.clone().narrow(0, index * rows, targets.len());
        let logits = linear(hidden.clone(), Weight::Dense(head.clone()), Want::Output); // [targets, vocab]
        loss = loss + cross_entropy_sum(logits.clone(), targets);
        let p = softmax(logits.cast(DType::F32), 1);
        let expected = p.clone().cast(head.dtype()).matmul(head.clone());
        grads.push(expected - head.clone().select(0, ids.clone()));
        if let Some(grad) = &mut grad_head {
            let hidden = hidden.cast(DType::F32);
            grad.inplace(|grad| {
                let grad = grad + p.transpose().matmul(hidden.clone());
                grad.select_assign(0, ids, hidden.neg(), burn::tensor::IndexingUpdateOp::Add)
            });
        }
    }
    (loss, Tensor::cat(grads, 0), grad_head)
}
