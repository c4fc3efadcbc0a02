//! Both passes against a naive implementation in f64.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::ThreadPoolBuilder;

use super::{Shape, backward, forward};

/// Inputs of one case.
struct Case {
    shape: Shape,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    grad_o: Vec<f32>,
    first: Vec<u32>,
}

/// All that both passes return: `o`, `lse` and the gradients of `q`, `k` and `v`.
type Results<T> = [Vec<T>; 5];

impl Case {
    fn new(shape: Shape, first: Vec<u32>, magnitude: f32, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut random = |heads: usize, magnitude: f32| -> Vec<f32> {
            let len = shape.tokens * heads * shape.head_dim;
            (0..len)
                .map(|_| rng.random_range(-magnitude..magnitude))
                .collect()
        };
        let (q, k) = (
            random(shape.heads, magnitude),
            random(shape.kv_heads, magnitude),
        );
        let (v, grad_o) = (random(shape.kv_heads, 1.0), random(shape.heads, 1.0));
        Self {
            shape,
            q,
            k,
            v,
            grad_o,
            first,
        }
    }

    fn run(&self) -> Results<f32> {
        let Self {
            shape,
            q,
            k,
            v,
            grad_o,
            first,
        } = self;
        let (o, lse) = forward(shape, q, k, v, first);
        let [grad_q, grad_k, grad_v] = backward(shape, q, k, v, &o, &lse, grad_o, first);
        [o, lse, grad_q, grad_k, grad_v]
    }

    /// The definition of attention and its derivative, row by row.
    fn naive(&self) -> Results<f64> {
        let Shape {
            tokens,
            heads,
            kv_heads,
            head_dim,
        } = self.shape;
        let zeros = |heads: usize| vec![0.0; tokens * heads * head_dim];
        let mut o = zeros(heads);
        let mut lse = vec![0.0; tokens * heads];
        let (mut grad_q, mut grad_k, mut grad_v) = (zeros(heads), zeros(kv_heads), zeros(kv_heads));
        let scale = (head_dim as f64).sqrt().recip();
        for row in 0..tokens * heads {
            let (token, kv_head) = (row / heads, row % heads / (heads / kv_heads));
            let keys = self.first[token] as usize..token + 1;
            let at = |index: usize| index * head_dim..(index + 1) * head_dim;
            let key = |key: usize| at(key * kv_heads + kv_head);
            let (q, grad_o) = (&self.q[at(row)], &self.grad_o[at(row)]);

            let scores = keys.clone().map(|j| scale * dot(q, &self.k[key(j)]));
            let scores: Vec<f64> = scores.collect();
            let max = scores.iter().copied().fold(f64::MIN, f64::max);
            lse[row] = max
                + scores
                    .iter()
                    .map(|score| (score - max).exp())
                    .sum::<f64>()
                    .ln();
            let weights: Vec<f64> = scores
                .iter()
                .map(|score| (score - lse[row]).exp())
                .collect();
            let grads = keys.clone().map(|j| dot(grad_o, &self.v[key(j)]));
            let grads: Vec<f64> = grads.collect();
            let mean: f64 = weights
                .iter()
                .zip(&grads)
                .map(|(weight, grad)| weight * grad)
                .sum();
            for ((j, weight), grad) in keys.zip(weights).zip(grads) {
                let grad_score = scale * weight * (grad - mean);
                add(&mut o[at(row)], weight, &self.v[key(j)]);
                add(&mut grad_v[key(j)], weight, grad_o);
                add(&mut grad_q[at(row)], grad_score, &self.k[key(j)]);
                add(&mut grad_k[key(j)], grad_score, q);
            }
        }
        [o, lse, grad_q, grad_k, grad_v]
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(&a, &b)| f64::from(a) * f64::from(b))
        .sum()
}

fn add(sum: &mut [f64], factor: f64, values: &[f32]) {
    sum.iter_mut()
        .zip(values)
        .for_each(|(sum, &value)| *sum += factor * f64::from(value));
}

/// Asserts that results differ from those expected by at most `tolerance` of the largest, beside
/// the rounding of terms that cancel.
fn assert_close(case: &Case, tolerance: f64) {
    let Shape {
        tokens,
        heads,
        kv_heads,
        head_dim,
    } = case.shape;
    let names = ["o", "lse", "grad_q", "grad_k", "grad_v"];
    for ((name, results), expected) in names.iter().zip(case.run()).zip(case.naive()) {
        let largest = expected
            .iter()
            .fold(0.0, |max: f64, value| max.max(value.abs()));
        for (index, (result, expected)) in results.iter().zip(&expected).enumerate() {
            let error = (f64::from(*result) - expected).abs();
            // Not `error > ...`: NaN must fail.
            assert!(
                error <= tolerance * largest + 5e-7,
                "{name}[{index}] is {result}, not {expected} (largest {largest}), \
                 with {tokens} tokens, {heads} / {kv_heads} heads of {head_dim}",
            );
        }
    }
}

/// Runs of random lengths up to `longest`, which see at most `window` keys.
fn packed(tokens: usize, longest: usize, window: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut first = Vec::new();
    while first.len() < tokens {
        let start = first.len();
        let end = tokens.min(start + rng.random_range(1..=longest));
        first
            .extend((start..end).map(|token| start.max((token + 1).saturating_sub(window)) as u32));
    }
    first
}

#[test]
fn agrees_with_the_definition() {
    for seed in 0..60 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut pick = |choices: &[usize]| choices[rng.random_range(0..choices.len())];
        let kv_heads = pick(&[1, 2, 3]);
        let shape = Shape {
            tokens: pick(&[1, 2, 17, 64, 65, 100, 129, 200, 300]),
            heads: kv_heads * pick(&[1, 2, 3, 7]),
            kv_heads,
            head_dim: pick(&[1, 5, 16, 64, 80]),
        };
        let (longest, window) = (pick(&[3, 40, 150, 300]), pick(&[1, 7, 50, 300, 300]));
        let first = packed(shape.tokens, longest, window, &mut rng);
        assert_close(&Case::new(shape, first, 1.0, seed), 2e-6);
    }
}

#[test]
fn agrees_over_several_tiles() {
    for (tokens, window) in [(1100, 1100), (1400, 700)] {
        let shape = Shape {
            tokens,
            heads: 2,
            kv_heads: 1,
            head_dim: 16,
        };
        let first = packed(tokens, tokens, window, &mut ChaCha8Rng::seed_from_u64(3));
        assert_close(&Case::new(shape, first, 2.0, 1), 2e-6);
    }
}

#[test]
fn more_heads_in_a_group_than_rows_in_a_block() {
    let shape = Shape {
        tokens: 20,
        heads: 100,
        kv_heads: 1,
        head_dim: 8,
    };
    assert_close(&Case::new(shape, vec![0; 20], 1.0, 1), 2e-6);
}

/// Scores of thousands: `exp` would overflow without the maximum, and far smaller scores vanish.
#[test]
fn large_scores_stay_finite() {
    let shape = Shape {
        tokens: 150,
        heads: 2,
        kv_heads: 1,
        head_dim: 64,
    };
    let case = Case::new(shape, vec![0; 150], 100.0, 5);
    let ([o, lse, grads @ ..], [expected_o, expected_lse, ..]) = (case.run(), case.naive());
    for (results, expected) in [(o, expected_o), (lse, expected_lse)] {
        for (result, expected) in results.iter().zip(&expected) {
            assert!((f64::from(*result) - expected).abs() <= 2e-3 * expected.abs().max(1.0));
        }
    }
    assert!(grads.iter().flatten().all(|grad| grad.is_finite()));
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for (tokens, longest) in [(300, 300), (300, 40)] {
        let shape = Shape {
            tokens,
            heads: 6,
            kv_heads: 3,
            head_dim: 16,
        };
        let first = packed(tokens, longest, 300, &mut ChaCha8Rng::seed_from_u64(9));
        let case = Case::new(shape, first, 1.0, 2);
        let run = |threads| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("the threads start").install(|| case.run())
        };
        let bits = |results: Results<f32>| {
            results.map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        let expected = bits(run(1));
        for threads in [1, 2, 3] {
            assert_eq!(bits(run(threads)), expected, "{threads} threads");
        }
    }
}
