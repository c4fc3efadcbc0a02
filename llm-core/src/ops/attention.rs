//! Scaled dot-product attention with grouped queries.

use std::sync::Arc;

use burn::tensor::activation::softmax;
use burn::tensor::{Bool, DType, Device, Tensor, TensorData};

use crate::{KvCache, TokenBatch};

/// What masked scores become: its exponential is 0 in every type, and a row is never wholly masked.
const MASKED: f32 = -1e30;

/// Which keys a token sees.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one or two exist at a time")]
pub(crate) enum Visible {
    /// Token i of the flat batch sees `first[i] ..= i`: what a mask comes down to without a cache.
    First(Arc<[u32]>),
    /// `[batch or 1, 1, seq, len]`, true where a key is hidden; `None` where nothing is.
    Mask(Option<Tensor<4, Bool>>),
}

impl Visible {
    /// What the tokens of `batch` see of it and of what is cached: earlier tokens of the same sequence,
    /// fewer than `window` tokens away.
    pub(crate) fn new(
        batch: &TokenBatch,
        cache: Option<&KvCache>,
        window: Option<usize>,
        device: &Device,
    ) -> Self {
        match cache {
            None if crate::device::is_cpu(device) => Self::First(first(batch, window).into()),
            _ => Self::Mask(attention_mask(batch, cache, window, device)),
        }
    }
}

/// The first token that each token sees.
fn first(batch: &TokenBatch, window: Option<usize>) -> Vec<u32> {
    let [rows, seq] = batch.dims();
    let mut first = Vec::with_capacity(rows * seq);
    let mut start = 0;
    for (row, segments) in batch.segments().chunks(seq).enumerate() {
        for (index, segment) in segments.iter().enumerate() {
            let token = row * seq + index;
            if index == 0 || (batch.is_segmented() && *segment != segments[index - 1]) {
                start = token;
            }
            let nearest = window.map_or(0, |window| (token + 1).saturating_sub(window));
            first.push(start.max(nearest) as u32);
        }
    }
    first
}

/// Attention of `q` `[batch, seq, num_heads, head_dim]` to `k` and `v` `[batch, len,
/// num_key_value_heads, head_dim]`. Returns `[batch, seq, num_heads, head_dim]`.
pub(crate) fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, visible: &Visible) -> Tensor<4> {
    let mask = match visible {
        #[cfg(feature = "cpu")]
        Visible::First(first) if super::on_cpu(&q) => {
            return super::cpu::attention(q, k, v, first.clone());
        }
        Visible::First(first) => Some(mask_of(first, q.dims(), &q.device())),
        Visible::Mask(mask) => mask.clone(),
    };
    let [q, k, v] = [q, k, v].map(|x| x.swap_dims(1, 2)); // [batch, heads, seq, head_dim]
    composed(q, k, v, mask).swap_dims(1, 2)
}

/// The mask `[batch, 1, seq, seq]` of tokens that see `first[i] ..= i`.
fn mask_of(first: &[u32], [batch, seq, ..]: [usize; 4], device: &Device) -> Tensor<4, Bool> {
    let mut mask = Vec::with_capacity(batch * seq * seq);
    for (token, first) in first.iter().enumerate() {
        let row = token / seq * seq;
        mask.extend((row..row + seq).map(|key| key > token || key < *first as usize));
    }
    Tensor::from_data(TensorData::new(mask, [batch, 1, seq, seq]), device)
}

/// In plain tensors, heads before tokens. Query heads that share a key head become rows of one product,
/// so keys are never repeated.
fn composed(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, mask: Option<Tensor<4, Bool>>) -> Tensor<4> {
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
fn attention_mask(
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
