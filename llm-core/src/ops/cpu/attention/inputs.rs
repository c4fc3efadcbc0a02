//! The inputs of an attention, seen block by block and tile by tile.

use std::ops::Range;

use super::Shape;
use super::matmul::View;
use super::plan::{self, Block};
use super::softmax::LANES;

/// Query rows of a block at most, unless one token has more: enough to use every key often, and few
/// enough to waste little on the diagonal. At 128 rows, the keys of a tile would be a power of two
/// apart and compete for the same cache sets, which costs the forward pass a third of its speed.
const BLOCK_ROWS: usize = 96;

/// Query tokens of a block at most: the waste on the diagonal grows with them.
const BLOCK_TOKENS: usize = 64;

/// Keys of a tile at most: the tiles of a thread stay in its second-level cache.
pub(super) const TILE_KEYS: usize = 256;

/// What both passes read, and the sizes that follow.
pub(super) struct Inputs<'a> {
    pub(super) shape: &'a Shape,
    pub(super) q: &'a [f32],
    pub(super) k: &'a [f32],
    pub(super) v: &'a [f32],
    pub(super) first: &'a [u32],
    /// Factor of the scores.
    pub(super) scale: f32,
}

impl<'a> Inputs<'a> {
    pub(super) fn new(
        shape: &'a Shape,
        q: &'a [f32],
        k: &'a [f32],
        v: &'a [f32],
        first: &'a [u32],
    ) -> Self {
        let &Shape {
            tokens,
            heads,
            kv_heads,
            head_dim,
        } = shape;
        assert!(
            heads.is_multiple_of(kv_heads),
            "heads is not a multiple of kv_heads"
        );
        assert_eq!(
            q.len(),
            tokens * heads * head_dim,
            "q is not [tokens, heads, head_dim]"
        );
        assert_eq!(
            k.len(),
            tokens * kv_heads * head_dim,
            "k is not [tokens, kv_heads, head_dim]"
        );
        assert_eq!(v.len(), k.len(), "v has another size than k");
        assert_eq!(first.len(), tokens, "first is not [tokens]");
        assert!(first.is_sorted(), "first decreases");
        assert!(
            first.iter().zip(0..).all(|(&key, token)| key <= token),
            "a token sees no key"
        );
        Self {
            shape,
            q,
            k,
            v,
            first,
            scale: (head_dim as f32).sqrt().recip(),
        }
    }

    /// All query tokens, cut into blocks.
    pub(super) fn blocks(&self) -> Vec<Block> {
        let most = (BLOCK_ROWS / self.shape.group()).clamp(1, BLOCK_TOKENS);
        plan::blocks(self.first, most)
    }

    /// A tile of a tensor `[tokens, kv_heads, head_dim]`: the matrix `[keys, head_dim]` of one head.
    pub(super) fn tile<'t>(&self, tensor: &'t [f32], keys: &Range<usize>, head: usize) -> View<'t> {
        let &Shape {
            kv_heads, head_dim, ..
        } = self.shape;
        let begin = (keys.start * kv_heads + head) * head_dim;
        View::new(&tensor[begin..], keys.len(), head_dim, kv_heads * head_dim)
    }

    /// The token and the query head of every row of a block, as [`Rows`] orders them.
    pub(super) fn token_heads(
        &self,
        block: &Block,
        kv_head: usize,
    ) -> impl Iterator<Item = (usize, usize)> {
        let group = self.shape.group();
        let heads = kv_head * group..(kv_head + 1) * group;
        block
            .tokens
            .clone()
            .flat_map(move |token| heads.clone().map(move |head| (token, head)))
    }

    /// The keys that a token sees.
    pub(super) fn visible(&self, token: usize) -> Range<usize> {
        self.first[token] as usize..token + 1
    }
}

/// A block of a tensor `[tokens, heads, head_dim]`, for the heads that share a key head: one row for
/// each token and, within it, each of the heads, then zeros up to whole vectors.
///
/// It is kept in both orders, since [`super::matmul::matmul`] wants the rows of its right operand
/// contiguous.
#[derive(Default)]
pub(super) struct Rows {
    head_dim: usize,
    /// `[rows, head_dim]`.
    matrix: Vec<f32>,
    /// `[head_dim, rows]`.
    transposed: Vec<f32>,
}

impl Rows {
    /// Takes in a block of `tensor`, for the heads that share `kv_head`.
    pub(super) fn load(&mut self, inputs: &Inputs, tensor: &[f32], block: &Block, kv_head: usize) {
        let &Shape {
            kv_heads, head_dim, ..
        } = inputs.shape;
        let width = inputs.shape.group() * head_dim;
        self.head_dim = head_dim;
        self.matrix.clear();
        for token in block.tokens.clone() {
            let begin = (token * kv_heads + kv_head) * width;
            self.matrix.extend_from_slice(&tensor[begin..begin + width]);
        }
        let len = self.matrix.len().next_multiple_of(LANES * head_dim);
        self.matrix.resize(len, 0.0);
        transpose(&self.matrix, head_dim, resized(&mut self.transposed, len));
    }

    pub(super) fn len(&self) -> usize {
        self.matrix.len() / self.head_dim
    }

    /// The matrix `[rows, head_dim]`, contiguous along rows.
    pub(super) fn matrix(&self) -> View<'_> {
        View::new(&self.matrix, self.len(), self.head_dim, self.head_dim)
    }

    /// The matrix `[head_dim, rows]`, contiguous along its own rows too.
    pub(super) fn transposed(&self) -> View<'_> {
        View::new(&self.transposed, self.head_dim, self.len(), self.len())
    }
}

/// Writes the transpose `[cols, rows]` of a matrix `[rows, cols]`; `rows` is a multiple of `LANES`.
fn transpose(matrix: &[f32], cols: usize, transposed: &mut [f32]) {
    let rows = matrix.len() / cols;
    // One vector of a column at a time: every write fills a cache line.
    for (column, lanes) in matrix.chunks_exact(LANES * cols).enumerate() {
        for (element, row) in transposed.chunks_exact_mut(rows).enumerate() {
            for (lane, value) in row[column * LANES..][..LANES].iter_mut().enumerate() {
                *value = lanes[lane * cols + element];
            }
        }
    }
}

/// A scratch buffer at the length that a block needs; what it holds is arbitrary.
pub(super) fn resized(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    buffer.resize(len, 0.0);
    buffer
}
