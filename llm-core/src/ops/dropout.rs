//! Dropout without a mask in memory.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Which elements of the adapter's input are dropped: drawn anew in forward and backward from the same
/// place of a random stream, so that no mask is kept.
#[derive(Debug, Clone)]
pub(crate) struct Dropout {
    /// The probability of an element.
    pub(crate) p: f64,
    /// Where the draws begin.
    pub(crate) rng: ChaCha8Rng,
}

impl Dropout {
    /// The factor of each of `len` elements: 0, or `1/(1 − p)`.
    pub(crate) fn factors(&self, len: usize) -> Vec<f32> {
        /// Elements for one task; the stream is entered anew for each.
        const CHUNK: usize = 1 << 14;
        let threshold = (self.p * 2f64.powi(32)) as u32;
        let keep = (1.0 / (1.0 - self.p)) as f32;
        let start = self.rng.get_word_pos();
        let mut factors = vec![0.0; len];
        factors
            .par_chunks_mut(CHUNK)
            .enumerate()
            .for_each(|(chunk, factors)| {
                let mut rng = self.rng.clone();
                rng.set_word_pos(start + (chunk * CHUNK) as u128);
                factors.iter_mut().for_each(|factor| {
                    *factor = if rng.next_u32() < threshold {
                        0.0
                    } else {
                        keep
                    };
                });
            });
        factors
    }

    /// The elements of `x`, dropped or scaled.
    #[cfg(feature = "cpu")]
    pub(super) fn apply(&self, x: &[f32]) -> Vec<f32> {
        let mut out = self.factors(x.len());
        out.par_iter_mut()
            .zip(x)
            .with_min_len(1 << 14)
            .for_each(|(out, x)| *out *= x);
        out
    }
}
