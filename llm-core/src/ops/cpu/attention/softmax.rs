//! The element-wise part of attention: vector loops over tiles of scores.
//!
//! A tile is stored key-major, `[keys, rows]`, so that a vector holds one key's scores for `LANES`
//! query rows: maxima and sums are then plain vector operations, and need no reduction inside a
//! vector. The loops are ordinary Rust, which the compiler vectorises once per instruction set.

#![expect(
    clippy::needless_range_loop,
    reason = "lanes index several vectors alike"
)]

use std::ops::Range;

use super::super::simd::{exp, vectorised};

/// Query rows handled by one vector: the width of AVX-512, two AVX2 registers, four of SSE or NEON.
pub(super) const LANES: usize = 16;

type Vector = [f32; LANES];

/// The keys that `LANES` query rows see.
#[derive(Clone)]
struct Visible {
    first: [i32; LANES],
    last: [i32; LANES],
}

impl Visible {
    const NONE: Self = Self {
        first: [0; LANES],
        last: [-1; LANES],
    };

    fn set(&mut self, lane: usize, keys: Range<usize>) {
        self.first[lane] = keys.start as i32;
        self.last[lane] = keys.end as i32 - 1;
    }

    #[inline(always)]
    fn sees(&self, lane: usize, key: i32) -> bool {
        // `&` rather than `&&`: a branch would keep the loop from being vectorised.
        (self.first[lane] <= key) & (key <= self.last[lane])
    }
}

/// The running softmax of `LANES` query rows.
#[derive(Clone)]
pub(super) struct Running {
    visible: Visible,
    /// Largest score so far; finite from the start, so that no difference of two is NaN.
    max: Vector,
    /// Sum of `exp(score - max)` so far.
    sum: Vector,
    /// What the last tile made of the earlier sum: `exp(earlier max - max)`.
    rescale: Vector,
}

impl Running {
    /// Rows that see no key.
    pub(super) const EMPTY: Self = Self {
        visible: Visible::NONE,
        max: [f32::MIN; LANES],
        sum: [0.0; LANES],
        rescale: [0.0; LANES],
    };

    /// Begins the softmax of a row that sees `keys`.
    pub(super) fn set(&mut self, lane: usize, keys: Range<usize>) {
        self.visible.set(lane, keys);
    }

    /// Factor of `lane`'s output accumulated before the last tile.
    pub(super) fn rescale(&self, lane: usize) -> f32 {
        self.rescale[lane]
    }

    /// Sum of `exp(score - max)` over all keys, and the logarithm of that of `exp(score)`.
    pub(super) fn finish(&self, lane: usize) -> (f32, f32) {
        (self.sum[lane], self.max[lane] + self.sum[lane].ln())
    }
}

/// What the gradient of `LANES` query rows needs beside their scores.
#[derive(Clone)]
pub(super) struct Saved {
    visible: Visible,
    /// Logarithm of the sum of `exp(score)`.
    lse: Vector,
    /// Dot product of the output and its gradient.
    delta: Vector,
}

impl Saved {
    /// Rows that see no key.
    pub(super) const EMPTY: Self = Self {
        visible: Visible::NONE,
        lse: [0.0; LANES],
        delta: [0.0; LANES],
    };

    /// Sets the row of a lane.
    pub(super) fn set(&mut self, lane: usize, keys: Range<usize>, lse: f32, delta: f32) {
        self.visible.set(lane, keys);
        self.lse[lane] = lse;
        self.delta[lane] = delta;
    }
}

vectorised! {
    /// Turns the scores of a tile, whose first key is `start`, into `exp(score - max)`, zero where
    /// masked, and takes the tile into the running softmax.
    pub(super) fn online_softmax(scores: &mut [f32], start: usize, rows: &mut [Running]) = online_softmax_loop
}

vectorised! {
    /// Turns the scores of a tile, whose first key is `start`, into probabilities, and the
    /// gradients of these into those of the scores.
    pub(super) fn softmax_gradient(scores: &mut [f32], grads: &mut [f32], start: usize, rows: &[Saved])
        = softmax_gradient_loop
}

#[inline(always)]
fn online_softmax_loop<const FUSED: bool>(scores: &mut [f32], start: usize, rows: &mut [Running]) {
    let scores = scores.as_chunks_mut::<LANES>().0;
    let width = rows.len();
    for row in &mut *rows {
        row.rescale = row.max;
    }
    for (key, scores) in (start as i32..).zip(scores.chunks_exact(width)) {
        for (score, row) in scores.iter().zip(&mut *rows) {
            for lane in 0..LANES {
                let larger = row.visible.sees(lane, key) & (score[lane] > row.max[lane]);
                row.max[lane] = if larger { score[lane] } else { row.max[lane] };
            }
        }
    }
    for row in &mut *rows {
        for lane in 0..LANES {
            row.rescale[lane] = exp::<FUSED>(row.rescale[lane] - row.max[lane]);
            row.sum[lane] *= row.rescale[lane];
        }
    }
    for (key, scores) in (start as i32..).zip(scores.chunks_exact_mut(width)) {
        for (score, row) in scores.iter_mut().zip(&mut *rows) {
            for lane in 0..LANES {
                let weight = exp::<FUSED>(score[lane] - row.max[lane]);
                score[lane] = if row.visible.sees(lane, key) {
                    weight
                } else {
                    0.0
                };
                row.sum[lane] += score[lane];
            }
        }
    }
}

#[inline(always)]
fn softmax_gradient_loop<const FUSED: bool>(
    scores: &mut [f32],
    grads: &mut [f32],
    start: usize,
    rows: &[Saved],
) {
    let scores = scores
        .as_chunks_mut::<LANES>()
        .0
        .chunks_exact_mut(rows.len());
    let grads = grads
        .as_chunks_mut::<LANES>()
        .0
        .chunks_exact_mut(rows.len());
    for ((key, scores), grads) in (start as i32..).zip(scores).zip(grads) {
        for ((score, grad), row) in scores.iter_mut().zip(grads).zip(rows) {
            for lane in 0..LANES {
                let probability = exp::<FUSED>(score[lane] - row.lse[lane]);
                score[lane] = if row.visible.sees(lane, key) {
                    probability
                } else {
                    0.0
                };
                grad[lane] = score[lane] * (grad[lane] - row.delta[lane]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The other tests run what this machine selects; this one compares that with the fallback.
    #[test]
    fn instruction_sets_agree() {
        let start = 5;
        let tile: Vec<f32> = (0..9 * 2 * LANES)
            .map(|i| (i as f32 * 0.7).sin() * 4.0)
            .collect();
        let keys = |lane| start - lane % 3..start + 1 + lane / 2;

        let mut running = vec![Running::EMPTY; 2];
        let mut saved = vec![Saved::EMPTY; 2];
        for lane in 0..LANES {
            running[1].set(lane, keys(lane));
            saved[1].set(lane, keys(lane), 5.0, 0.5);
        }
        let (mut fast, mut plain) = (tile.clone(), tile.clone());
        online_softmax(&mut fast, start, &mut running.clone());
        online_softmax_loop::<false>(&mut plain, start, &mut running);
        assert_close(&fast, &plain);

        let (mut fast_grads, mut plain_grads) = (tile.clone(), tile.clone());
        let (mut fast, mut plain) = (tile.clone(), tile);
        softmax_gradient(&mut fast, &mut fast_grads, start, &saved);
        softmax_gradient_loop::<false>(&mut plain, &mut plain_grads, start, &saved);
        assert_close(&fast, &plain);
        assert_close(&fast_grads, &plain_grads);
    }

    fn assert_close(a: &[f32], b: &[f32]) {
        assert!(a.iter().any(|a| *a != 0.0));
        assert!(
            a.iter()
                .zip(b)
                .all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs())
        );
    }
}
