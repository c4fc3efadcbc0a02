//! The normal distribution.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Φ(x): the series of Marsaglia (2004, doi:10.18637/jss.v011.i04), and the continued fraction of
/// Abramowitz & Stegun 26.2.14 in the tails.
pub(crate) fn cdf(x: f64) -> f64 {
    if x > 2.0 {
        return 1.0 - tail(x);
    }
    if x < -2.0 {
        return tail(-x);
    }
    let (mut sum, mut term, mut n) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        n += 2.0;
        term *= x * x / n;
        sum += term;
    }
    0.5 + sum * density(x)
}

fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() * FRAC_1_SQRT_2 / PI.sqrt()
}

/// 1 − Φ(x) for x > 2.
fn tail(x: f64) -> f64 {
    let fraction = (1..200).rev().fold(x, |below, k| x + f64::from(k) / below);
    density(x) / fraction
}

/// Φ⁻¹(p): Abramowitz & Stegun 26.2.23, sharpened by Halley's method. ±∞ at 1 and 0.
pub(crate) fn quantile(p: f64) -> f64 {
    if p <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if p >= 1.0 {
        return f64::INFINITY;
    }
    if p > 0.5 {
        return -quantile(1.0 - p);
    }
    let t = (-2.0 * p.ln()).sqrt();
    let above = 2.515_517 + t * (0.802_853 + t * 0.010_328);
    let below = 1.0 + t * (1.432_788 + t * (0.189_269 + t * 0.001_308));
    let mut x = above / below - t;
    for _ in 0..4 {
        let step = (cdf(x) - p) / density(x);
        x -= step / (1.0 + 0.5 * x * step);
    }
    x
}

/// The z with `level` of the distribution between −z and z.
pub(crate) fn two_sided(level: f64) -> f64 {
    -quantile((1.0 - level) / 2.0)
}

/// The share of the distribution beyond ±z.
pub(crate) fn two_sided_p(z: f64) -> f64 {
    (2.0 * cdf(-z.abs())).min(1.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn it_is_scipys() {
        let text = include_str!("../../tests/goldens/summary.json");
        let golden: serde_json::Value = serde_json::from_str(text).unwrap();
        let rows = |name: &str| -> Vec<[f64; 2]> {
            let rows = golden[name].as_array().unwrap().iter();
            rows.map(|row| [0, 1].map(|place| row[place].as_f64().unwrap()))
                .collect()
        };
        for [x, golden] in rows("cdf") {
            assert!(
                (cdf(x) - golden).abs() <= 1e-12 * golden,
                "{x}: {} {golden}",
                cdf(x)
            );
        }
        for [p, golden] in rows("quantile") {
            let ours = quantile(p);
            assert!(
                (ours - golden).abs() <= 1e-12 * golden.abs() + 1e-15,
                "{p}: {ours} {golden}"
            );
        }
    }
}
