//! The KL divergence of one model from another, as llama.cpp's `--kl-divergence` reports it.

use serde::Serialize;

use super::metric::Estimate;
use super::model::TokenModel;
use super::perplexity::llama_cpp_chunks;
use crate::{Error, Result};

/// Positions of which the base model's distributions are held at once. For the next ones both models read
/// the chunk's beginning again; with llama.cpp's 512 tokens there are none.
const BLOCK: usize = 256;

/// The percentiles of reports, in percent.
pub const PERCENTILES: [f64; 9] = [0.1, 1.0, 5.0, 10.0, 50.0, 90.0, 95.0, 99.0, 99.9];

/// A distribution in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// The mean and its standard error.
    pub mean: Estimate,
    /// The smallest.
    pub minimum: f64,
    /// The largest.
    pub maximum: f64,
    /// Percent and value, for each of [`PERCENTILES`], linear between two values.
    pub percentiles: Vec<(f64, f64)>,
}

/// How a model (Q) differs from a base model (P).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Divergence {
    /// Positions compared.
    pub tokens: usize,
    /// Perplexity of the base model.
    pub base_perplexity: f64,
    /// Perplexity of the other.
    pub perplexity: f64,
    /// ln(PPL(Q)/PPL(P)), the mean of the differences of −ln p.
    pub ln_perplexity_ratio: Estimate,
    /// KL(P‖Q) in nats.
    pub kl: Spread,
    /// p of the token that stands in the text, Q's less P's.
    pub delta_p: Spread,
    /// The root of the mean square of it.
    pub rms_delta_p: f64,
    /// How often both models' likeliest token is the same.
    pub same_top: Estimate,
}

/// Gathers positions one by one.
#[derive(Debug, Clone, Default)]
pub struct Comparison {
    kl: Vec<f64>,
    delta_p: Vec<f64>,
    base_nll: Vec<f64>,
    nll: Vec<f64>,
    same_top: Vec<f64>,
}

impl Comparison {
    /// Adds a position: ln p of all tokens by the base model and by the other, and the token of the text.
    ///
    /// # Errors
    /// When the vocabularies differ in size, or the token is in none.
    pub fn push(&mut self, base: &[f32], other: &[f32], token: u32) -> Result<()> {
        let at = token as usize;
        if base.len() != other.len() || at >= base.len() {
            return Err(Error::Input(format!(
                "vocabularies of {} and {} tokens cannot be compared at token {token}",
                base.len(),
                other.len()
            )));
        }
        let pairs = base
            .iter()
            .zip(other)
            .map(|(p, q)| (f64::from(*p), f64::from(*q)));
        // A token that the base model rules out adds nothing.
        let terms = pairs
            .filter(|(p, _)| p.is_finite())
            .map(|(p, q)| p.exp() * (p - q));
        self.kl.push(terms.sum());
        let (p, q) = (f64::from(base[at]), f64::from(other[at]));
        self.delta_p.push(q.exp() - p.exp());
        self.base_nll.push(-p);
        self.nll.push(-q);
        self.same_top
            .push(f64::from(u8::from(top(base) == top(other))));
        Ok(())
    }

    /// The figures of what was added; `None` where nothing was.
    pub fn finish(self) -> Option<Divergence> {
        if self.kl.is_empty() {
            return None;
        }
        let ratios: Vec<_> = self
            .nll
            .iter()
            .zip(&self.base_nll)
            .map(|(q, p)| q - p)
            .collect();
        let squares: Vec<_> = self.delta_p.iter().map(|delta| delta * delta).collect();
        let mean = |values: &[f64]| Estimate::of(values).value;
        Some(Divergence {
            tokens: self.kl.len(),
            base_perplexity: mean(&self.base_nll).exp(),
            perplexity: mean(&self.nll).exp(),
            ln_perplexity_ratio: Estimate::of(&ratios),
            rms_delta_p: mean(&squares).sqrt(),
            same_top: Estimate::of(&self.same_top),
            kl: spread(self.kl),
            delta_p: spread(self.delta_p),
        })
    }
}

/// The first of the largest.
fn top(row: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best
}

fn spread(mut values: Vec<f64>) -> Spread {
    let mean = Estimate::of(&values);
    values.sort_by(f64::total_cmp);
    let last = values.len() - 1;
    let percentile = |percent: f64| {
        let place = percent / 100.0 * last as f64;
        let below = (place as usize).min(last);
        let part = place - below as f64;
        (1.0 - part) * values[below] + part * values[(below + 1).min(last)]
    };
    Spread {
        mean,
        minimum: values[0],
        maximum: values[last],
        percentiles: PERCENTILES
            .map(|percent| (percent, percentile(percent)))
            .to_vec(),
    }
}

/// Compares two models on a text: the second half of each chunk of `n_ctx` tokens, as
/// [`llama_cpp`](super::perplexity::llama_cpp) scores it. Standard errors are those of independent positions.
/// llama.cpp stores the base model's log-probabilities in 16 bits and leaves out tokens below e⁻¹⁶; here
/// nothing is rounded, so its divergences are larger in the third digit or the fourth (0.2538 for 0.2534).
///
/// # Errors
/// When the text is too short or the models' vocabularies differ in size, or a model fails.
pub fn compare(
    base: &dyn TokenModel,
    other: &dyn TokenModel,
    ids: &[u32],
    n_ctx: usize,
) -> Result<Divergence> {
    let mut comparison = Comparison::default();
    for chunk in llama_cpp_chunks(base, ids, n_ctx)? {
        for first in (n_ctx / 2 + 1..n_ctx).step_by(BLOCK) {
            let chunk = &chunk[..n_ctx.min(first + BLOCK)];
            let mut rows = Vec::with_capacity(chunk.len() - first);
            base.distributions(chunk, first, &mut |_, row| {
                rows.push(row.to_vec());
                Ok(())
            })?;
            other.distributions(chunk, first, &mut |position, row| {
                comparison.push(&rows[position - first], row, chunk[position])
            })?;
        }
    }
    comparison
        .finish()
        .ok_or_else(|| Error::Input("no position was compared".to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn logs(p: [f64; 3]) -> Vec<f32> {
        p.iter().map(|p| p.ln() as f32).collect()
    }

    #[test]
    fn figures_of_two_positions() {
        let mut comparison = Comparison::default();
        let (p, q) = (logs([0.5, 0.25, 0.25]), logs([0.25, 0.5, 0.25]));
        comparison.push(&p, &q, 0).unwrap();
        comparison.push(&p, &p, 1).unwrap();
        let got = comparison.finish().unwrap();
        // 0.5 ln 2 + 0.25 ln ½.
        let kl = 0.25 * std::f64::consts::LN_2;
        assert!((got.kl.maximum - kl).abs() < 1e-6);
        assert!((got.kl.mean.value - kl / 2.0).abs() < 1e-6);
        assert!((got.kl.percentiles[4].1 - kl / 2.0).abs() < 1e-6);
        assert!((got.delta_p.minimum + 0.25).abs() < 1e-6);
        assert!((got.same_top.value - 0.5).abs() < 1e-12);
        assert!((got.perplexity - 4.0).abs() < 1e-5);
        assert!(Comparison::default().push(&p, &q[..2], 0).is_err());
    }
}
