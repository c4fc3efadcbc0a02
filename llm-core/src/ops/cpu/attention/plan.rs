//! How the work is cut: blocks of query tokens, tiles of keys, and slices of work for the threads.

use std::ops::Range;

/// Consecutive query tokens and the keys that at least one of them sees.
pub(super) struct Block {
    pub(super) tokens: Range<usize>,
    pub(super) keys: Range<usize>,
}

impl Block {
    fn new(tokens: Range<usize>, first: &[u32]) -> Self {
        let keys = first[tokens.start] as usize..tokens.end;
        Self { tokens, keys }
    }

    /// Pairs of a query and a key that are computed, for one query head.
    pub(super) fn work(&self) -> usize {
        self.tokens.len() * self.keys.len()
    }
}

/// Cuts all tokens into blocks of at most `most`.
///
/// Runs, the stretches of tokens that see no key of one another, share a block only if they fit in
/// it whole: their rows have no key in common.
pub(super) fn blocks(first: &[u32], most: usize) -> Vec<Block> {
    let tokens = first.len();
    let is_run_start = |&token: &usize| first[token] as usize == token;
    let mut blocks = Vec::new();
    let (mut start, mut end) = (0, 0);
    for run_end in (1..tokens).filter(is_run_start).chain([tokens]) {
        if run_end - start > most && start < end {
            blocks.extend(cut(start..end, most).map(|tokens| Block::new(tokens, first)));
            start = end;
        }
        end = run_end;
    }
    blocks.extend(cut(start..end, most).map(|tokens| Block::new(tokens, first)));
    blocks
}

/// Cuts a range into the fewest parts of at most `most`, of about equal lengths.
pub(super) fn cut(range: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let parts = range.len().div_ceil(most);
    let bound = move |part| range.start + range.len() * part / parts;
    (0..parts).map(move |part| bound(part)..bound(part + 1))
}

/// Groups consecutive blocks into at most `count` slices of about equal work.
pub(super) fn slices(blocks: &[Block], count: usize) -> Vec<&[Block]> {
    let mut total = 0;
    let mut middles = Vec::with_capacity(blocks.len());
    for block in blocks {
        middles.push(total + block.work() / 2);
        total += block.work();
    }
    // A block belongs to the slice in which the middle of its work lies.
    let bound = |slice| middles.partition_point(|middle| middle * count < total * slice);
    let slices = (0..count).map(|slice| &blocks[bound(slice)..bound(slice + 1)]);
    slices.filter(|slice| !slice.is_empty()).collect()
}

/// Every part with every key head, in the order of [`outputs`].
pub(super) fn with_heads<T: Copy>(
    parts: impl Iterator<Item = T>,
    kv_heads: usize,
) -> impl Iterator<Item = (T, usize)> {
    parts.flat_map(move |part| (0..kv_heads).map(move |kv_head| (part, kv_head)))
}

/// Cuts a tensor `[tokens, kv_heads, width]` into what tasks own: for each of the consecutive
/// ranges of tokens and, within it, for each key head, the slices `[width]` of the tokens.
pub(super) fn outputs(
    tensor: &mut [f32],
    kv_heads: usize,
    width: usize,
    ranges: impl Iterator<Item = Range<usize>>,
) -> Vec<Vec<&mut [f32]>> {
    let mut slices = tensor.chunks_exact_mut(width);
    let mut outputs = Vec::new();
    for range in ranges {
        let begin = outputs.len();
        outputs.resize_with(begin + kv_heads, || Vec::with_capacity(range.len()));
        for _ in range {
            for output in &mut outputs[begin..] {
                output.extend(slices.next());
            }
        }
    }
    outputs
}
