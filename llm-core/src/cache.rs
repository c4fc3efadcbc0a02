//! `KvCache`: keys and values of the tokens seen so far.

use burn::tensor::{Device, Tensor, s};

use crate::TokenBatch;
use crate::input::PADDING;

/// How many tokens a buffer holds at first; it doubles when it is full.
const FIRST_CAPACITY: usize = 64;

/// Keys and values of every layer, for decoding token by token. Starts empty and takes its batch
/// size from the first forward; every later batch goes on where its rows ended.
///
/// ```no_run
/// # fn example(model: llm_core::LlamaForCausalLM) -> Result<(), llm_core::Error> {
/// use llm_core::{KvCache, TokenBatch};
///
/// let mut cache = KvCache::default();
/// let prefill = model.forward(&TokenBatch::new(&[vec![1, 2, 3]])?, Some(&mut cache))?;
/// assert_eq!(cache.len(), 3);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    rows: Vec<RowCache>,
    len: usize,
    /// Whether a cached token may be hidden from a later one.
    segmented: bool,
}

/// The segments of a row's tokens, and the position of what comes next in the last of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct RowCache {
    pub(crate) segments: Vec<i32>,
    next_position: i32,
}

/// Buffers `[batch, num_key_value_heads, capacity, head_dim]`.
#[derive(Debug, Clone)]
struct LayerCache {
    keys: Tensor<4>,
    values: Tensor<4>,
}

impl KvCache {
    /// Tokens cached for each row.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is cached.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Rows, or `None` before the first forward.
    pub(crate) fn batch_size(&self) -> Option<usize> {
        (!self.rows.is_empty()).then_some(self.rows.len())
    }

    /// Layers, key heads and width of a head, or `None` before the first forward.
    pub(crate) fn shape(&self) -> Option<[usize; 3]> {
        let [_, heads, _, head_dim] = self.layers.first()?.keys.dims();
        Some([self.layers.len(), heads, head_dim])
    }

    pub(crate) fn row(&self, index: usize) -> Option<&RowCache> {
        self.rows.get(index)
    }

    pub(crate) fn is_segmented(&self) -> bool {
        self.segmented
    }

    /// Whether `batch` goes on with what is cached: no padding behind a token.
    pub(crate) fn takes(&self, batch: &TokenBatch) -> bool {
        let [_, seq] = batch.dims();
        let mut rows = self.rows.iter().zip(batch.segments().chunks(seq));
        rows.all(|(row, new)| row.segments.last() <= new.first())
    }

    /// The positions of `batch`, whose leading tokens go on with the sequence that is cached last.
    pub(crate) fn positions(&self, batch: &TokenBatch) -> Vec<i32> {
        let [_, seq] = batch.dims();
        let mut positions = batch.positions().to_vec();
        for (index, row) in self.rows.iter().enumerate() {
            let span = index * seq..(index + 1) * seq;
            let last = row.segments.last().filter(|segment| **segment != PADDING);
            let goes_on = batch.segments()[span.clone()]
                .iter()
                .take_while(|segment| Some(*segment) == last);
            positions[span]
                .iter_mut()
                .zip(goes_on)
                .for_each(|(position, _)| *position += row.next_position);
        }
        positions
    }

    /// Appends the keys and values `[batch, seq, kv_heads, head_dim]` of a layer and returns all
    /// of that layer, `[batch, len + seq, kv_heads, head_dim]`.
    pub(crate) fn append(
        &mut self,
        layer: usize,
        keys: Tensor<4>,
        values: Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>) {
        let [keys, values] = [keys, values].map(|new| new.swap_dims(1, 2));
        let (start, end) = (self.len, self.len + keys.dims()[2]);
        if layer == self.layers.len() {
            self.layers.push(LayerCache {
                keys: buffer(&keys, end.max(FIRST_CAPACITY)),
                values: buffer(&values, end.max(FIRST_CAPACITY)),
            });
        }
        let cached = &mut self.layers[layer];
        let keys = write(&mut cached.keys, keys, start, end);
        let values = write(&mut cached.values, values, start, end);
        (keys.swap_dims(1, 2), values.swap_dims(1, 2))
    }

    /// Counts the tokens of `batch`, at `positions`, in, after every layer has appended them.
    pub(crate) fn advance(&mut self, batch: &TokenBatch, positions: &[i32]) {
        let [rows, seq] = batch.dims();
        self.rows.resize_with(rows, RowCache::default);
        let new = batch.segments().chunks(seq).zip(positions.chunks(seq));
        for (row, (segments, positions)) in self.rows.iter_mut().zip(new) {
            row.segments.extend_from_slice(segments);
            row.next_position = positions[seq - 1] + 1;
        }
        self.segmented |= batch.is_segmented();
        self.len += seq;
    }
}

fn buffer(like: &Tensor<4>, capacity: usize) -> Tensor<4> {
    let [batch, heads, _, head_dim] = like.dims();
    let device: Device = like.device();
    Tensor::zeros([batch, heads, capacity, head_dim], (&device, like.dtype()))
}

/// Writes `new` at `start..end` of the buffer, in place where nothing else holds it.
fn write(cached: &mut Tensor<4>, new: Tensor<4>, start: usize, end: usize) -> Tensor<4> {
    let capacity = cached.dims()[2];
    if end > capacity {
        let more = buffer(&new, end.max(2 * capacity) - capacity);
        cached.inplace(|cached| Tensor::cat(vec![cached, more], 2));
    }
    cached.inplace(|cached| cached.slice_assign(s![.., .., start..end, ..], new));
    cached.clone().narrow(2, 0, end)
}
