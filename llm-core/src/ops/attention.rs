//! Scaled dot-product attention with grouped queries.

use burn::tensor::activation::softmax;
use burn::tensor::{Bool, DType, Device, Tensor, TensorData};

use crate::{KvCache, TokenBatch};

/// What masked scores become: its exponential is 0 in every type, and a row is never wholly masked.
const MASKED: f32 = -1e30;

/// Attention of `q` `[batch, num_heads, seq, head_dim]` to `k` and `v` `[batch, num_key_value_heads,
/// len, head_dim]`; `mask` `[batch or 1, 1, seq, len]` is true where a key is hidden. Returns
/// `[batch, num_heads, seq, head_dim]`.
///
/// Query heads that share a key head become rows of one product, so keys are never repeated.
pub(crate) fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    mask: Option<Tensor<4, Bool>>,
) -> Tensor<4> {
    let [batch, heads, seq, head_dim] = q.dims();
    let [_, kv_heads, len, _] = k.dims();
    let group = heads / kv_heads;
    let dtype = q.dtype();

    let q = q * (head_dim as f64).powf(-0.5);
    let q = q.reshape([batch, kv_heads, group * seq, head_dim]);
    let scores = q.matmul(k.transpose()); // [batch, kv_heads, group * seq, len]
    let scores = scores.cast(DType::F32);
    let scores = match mask {
        Some(mask) => {
            let [rows, ..] = mask.dims();
            let mask = mask
                .unsqueeze_dim::<5>(2)
                .expand([rows, 1, group, seq, len]);
            let scores = scores.reshape([batch, kv_heads, group, seq, len]);
            let mask = mask.expand([batch, kv_heads, group, seq, len]);
            let scores = scores.mask_fill(mask, MASKED);
            scores.reshape([batch, kv_heads, group * seq, len])
        }
        None => scores,
    };
    let weights = softmax(scores, 3).cast(dtype);
    weights.matmul(v).reshape([batch, heads, seq, head_dim])
}

/// The mask `[batch or 1, 1, seq, len]` of a batch behind what is cached: true where the key comes
/// later than the query, belongs to another sequence, or is `window` or more tokens away.
/// `None` where everything is seen.
pub(crate) fn attention_mask(
    batch: &TokenBatch,
    cache: Option<&KvCache>,
    window: Option<usize>,
    device: &Device,
) -> Option<Tensor<4, Bool>> {
    let [rows, seq] = batch.dims();
    let past = cache.map_or(0, KvCache::len);
    let len = past + seq;
    let segmented = batch.is_segmented() || cache.is_some_and(KvCache::is_segmented);
    if !segmented && seq == 1 && window.is_none_or(|window| window >= len) {
        return None;
    }
    let rows = if segmented { rows } else { 1 };
    let mut mask = Vec::with_capacity(rows * seq * len);
    for row in 0..rows {
        let cached = cache.and_then(|cache| cache.row(row));
        let mut segments = cached.map_or(vec![], |row| row.segments.clone());
        segments.extend_from_slice(&batch.segments()[row * seq..(row + 1) * seq]);
        for query in past..len {
            let foreign = |key: usize| segmented && segments[key] != segments[query];
            let far = |key: usize| window.is_some_and(|window| query - key >= window);
            mask.extend((0..len).map(|key| key > query || foreign(key) || far(key)));
        }
    }
    Some(Tensor::from_data(
        TensorData::new(mask, [rows, 1, seq, len]),
        device,
    ))
}
