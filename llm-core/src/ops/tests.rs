//! The kernels of the CPU against the compositions in plain tensors. The kernels take f32, so that in f64
//! the same operations run and differentiate as compositions do on any backend.

use std::ops::Range;

use burn::tensor::{DType, Tensor, TensorData};
use half::bf16;
use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{KvCache, TokenBatch};

/// Of the largest of each result and gradient: parts of the compositions are in f32 as well.
const TOLERANCE: f64 = 1e-5;

/// A result with the gradients of all inputs; none of an input that is frozen.
type Outcome = (Vec<f64>, Vec<Option<Vec<f64>>>);

/// An operation whose result is flat.
type Op<'a, const N: usize> = &'a dyn Fn([Tensor<2>; N]) -> Tensor<1>;

/// What an operation is tried on.
struct Case<const N: usize> {
    shapes: [[usize; 2]; N],
    seed: u64,
    /// Which input is in bf16 where a kernel takes it. All values then are bf16's, so that a product that
    /// rounds its factors is exact.
    half: Option<usize>,
}

impl<const N: usize> Case<N> {
    fn new(shapes: [[usize; 2]; N], seed: u64) -> Self {
        let half = None;
        Self { shapes, seed, half }
    }

    fn values(&self, len: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut values = random(len, rng);
        if self.half.is_some() {
            let round = |value: &mut f32| *value = bf16::from_f32(*value).to_f32();
            values.iter_mut().for_each(round);
        }
        values
    }

    fn run(&self, dtype: DType, op: Op<N>) -> Outcome {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut index = 0;
        let leaves = self.shapes.map(|shape| {
            let values = self.values(shape[0] * shape[1], &mut rng);
            let half = self.half == Some(index) && dtype == DType::F32;
            index += 1;
            constant(&values, shape, if half { DType::BF16 } else { dtype }).require_grad()
        });
        let y = op(leaves.clone());
        let [len] = y.dims();
        let cotangent = constant(&self.values(len, &mut rng), [len], y.dtype());
        let grads = (y.clone() * cotangent).sum().backward();
        let grads = leaves.map(|leaf| leaf.grad(&grads).map(doubles));
        (doubles(y.inner()), grads.to_vec())
    }

    /// Asserts that the operation and its gradients are in f32, where a kernel computes them, what they
    /// are in f64.
    fn agrees(&self, op: Op<N>) {
        let ((y, grads), (expected, expected_grads)) =
            (self.run(DType::F32, op), self.run(DType::F64, op));
        assert_close("the result", &y, &expected);
        for (index, (grad, expected)) in grads.iter().zip(&expected_grads).enumerate() {
            let what = format!("the gradient of input {index}");
            match (grad, expected) {
                (Some(grad), Some(expected)) => assert_close(&what, grad, expected),
                (None, None) => {}
                _ => panic!("{what}: {grad:?}, not {expected:?}"),
            }
        }
    }
}

fn random(len: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-2.0..2.0)).collect()
}

fn constant<const D: usize>(values: &[f32], shape: [usize; D], dtype: DType) -> Tensor<D> {
    let device = crate::open_device("cpu").unwrap();
    let data = TensorData::new(values.to_vec(), shape).convert_dtype(dtype);
    Tensor::from_inner(Tensor::from_data(data, (&device, dtype)))
}

fn doubles<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_into_vec_as::<f64>().unwrap()
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    tensor.reshape([-1])
}

fn assert_close(what: &str, ours: &[f64], expected: &[f64]) {
    assert_eq!(ours.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    for (index, (ours, expected)) in ours.iter().zip(expected).enumerate() {
        // Not `off > ...`: NaN must fail.
        let off = (ours - expected).abs();
        assert!(
            off <= TOLERANCE * largest.max(1.0),
            "{what}: [{index}] is {ours}, not {expected} (largest {largest})"
        );
    }
}

/// The tensor as one that is not trained.
fn frozen<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.detach().set_require_grad(false)
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Sizes at and about those of vectors.
fn width() -> Range<usize> {
    1..70
}

#[test]
fn rms_norm_is_its_composition() {
    proptest!(cases(32), |(rows in 1usize..40, width in width(), seed: u64)| {
        Case::new([[rows, width], [1, width]], seed).agrees(&|[x, weight]| {
            flat(rms_norm(x.reshape([1, rows, width]), flat(weight), 0.1))
        });
    });
}

#[test]
fn rms_norm_of_zeros_is_zero() {
    Case::new([[2, 20], [1, 20]], 1).agrees(&|[x, weight]| {
        let y = flat(rms_norm(x * 0.0, flat(weight), 0.1));
        assert_eq!(doubles(y.clone().inner()), [0.0; 40]);
        y
    });
}

#[test]
fn rotation_is_its_composition() {
    let sizes = (1usize..3, 1usize..20, 1usize..5, 1usize..36);
    proptest!(cases(32), |((batch, seq, heads, half) in sizes, seed: u64)| {
        let angles = random(batch * seq * half, &mut ChaCha8Rng::seed_from_u64(!seed));
        Case::new([[batch * seq, heads * 2 * half]], seed).agrees(&|[x]| {
            let angles = constant(&angles, [batch, seq, 1, half], x.dtype());
            let x = x.reshape([batch, seq, heads, 2 * half]);
            flat(rotate(x, &[angles.clone().cos(), angles.sin()]))
        });
    });
}

#[test]
fn swiglu_is_its_composition() {
    proptest!(cases(32), |(rows in 1usize..40, width in width(), seed: u64)| {
        // Far from zero as well, where the sigmoid is 0 or 1.
        Case::new([[rows, width]; 2], seed).agrees(&|[gate, up]| flat(swiglu(gate * 60.0, up)));
        Case::new([[rows, width]; 2], seed).agrees(&|[gate, up]| flat(swiglu(gate, up)));
    });
}

#[test]
fn attention_is_its_composition() {
    let heads = (1usize..4, 1usize..4, 1usize..40);
    let lengths = proptest::collection::vec(proptest::collection::vec(1usize..24, 1..4), 1..4);
    let window = proptest::option::of(1usize..20);
    let sizes = (heads, lengths, window);
    proptest!(cases(32), |(((kv_heads, group, head_dim), lengths, window) in sizes, seed: u64)| {
        let row = |row: &Vec<usize>| row.iter().map(|length| vec![0; *length]).collect();
        let rows: Vec<Vec<Vec<u32>>> = lengths.iter().map(row).collect();
        let batch = TokenBatch::packed(&rows, 0).unwrap();
        let [rows, seq] = batch.dims();
        let heads = [kv_heads * group, kv_heads, kv_heads];
        let case = Case::new(heads.map(|heads| [rows * seq, heads * head_dim]), seed);
        case.agrees(&|[q, k, v]| {
            let q = q.reshape([rows, seq, kv_heads * group, head_dim]);
            let [k, v] = [k, v].map(|x| x.reshape([rows, seq, kv_heads, head_dim]));
            // With a cache, what is seen becomes a mask; the kernel is told each token's first key.
            let empty = KvCache::default();
            let cache = (q.dtype() == DType::F64).then_some(&empty);
            let visible = Visible::new(&batch, cache, window, &q.device());
            assert_eq!(matches!(visible, Visible::First(_)), cache.is_none());
            flat(attention(q, k, v, &visible))
        });
    });
}

#[test]
fn first_keys_and_masks_say_the_same() {
    let rows = [vec![vec![0; 5], vec![0; 3]], vec![vec![0; 4]]];
    let batch = TokenBatch::packed(&rows, 0).unwrap();
    for window in [None, Some(2)] {
        let see = |cache: Option<&KvCache>| {
            Case::new([[16, 6]; 3], 4).run(DType::F64, &|inputs| {
                let [q, k, v] = inputs.map(|x| x.reshape([2, 8, 2, 3]));
                let visible = Visible::new(&batch, cache, window, &q.device());
                flat(attention(q, k, v, &visible))
            })
        };
        assert_eq!(see(None), see(Some(&KvCache::default())));
    }
}

#[test]
fn linear_is_its_composition() {
    let sizes = (1usize..40, 1usize..70, 1usize..70);
    let options = any::<[bool; 2]>();
    proptest!(cases(64), |((tokens, d_in, d_out) in sizes, [half, trained] in options, seed: u64)| {
        let mut case = Case::new([[tokens, d_in], [d_out, d_in]], seed);
        case.half = half.then_some(1);
        case.agrees(&|[x, weight]| {
            let weight = if trained { weight } else { frozen(weight) };
            flat(linear(x.reshape([1, tokens, d_in]), Weight::Dense(weight), Want::Output))
        });
    });
}

#[test]
fn a_layer_with_an_adapter_is_its_composition() {
    let sizes = (1usize..30, 1usize..50, 1usize..50, 1usize..20);
    let options = (proptest::option::of(0.1f64..0.9), any::<[bool; 2]>());
    proptest!(cases(64), |((tokens, d_in, d_out, r) in sizes, (p, [half, trained]) in options, seed: u64)| {
        let dropout = p.map(|p| Dropout { p, rng: ChaCha8Rng::seed_from_u64(seed) });
        let mut case = Case::new([[tokens, d_in], [d_out, d_in], [r, d_in], [d_out, r]], seed);
        case.half = half.then_some(1);
        case.agrees(&|[x, weight, a, b]| {
            let weight = if trained { weight } else { frozen(weight) };
            let x = x.reshape([1, tokens, d_in]);
            flat(lora_linear(x, Weight::Dense(weight), [a, b], 0.7, dropout.clone(), Want::Output))
        });
    });
}

#[test]
fn gradients_do_not_need_the_result() {
    let sizes = (1usize..20, 1usize..40, 1usize..40, 1usize..9);
    proptest!(cases(24), |((tokens, d_in, d_out, r) in sizes, adapted: bool, seed: u64)| {
        let case = Case::new([[tokens, d_in], [d_out, d_in], [r, d_in], [d_out, r]], seed);
        let grads = |want| {
            case.run(DType::F32, &|[x, weight, a, b]| match adapted {
                true => flat(lora_linear(x, Weight::Dense(frozen(weight)), [a, b], 2.0, None, want)),
                false => flat(linear(x, Weight::Dense(weight), want)),
            })
            .1
        };
        assert_eq!(grads(Want::Gradients), grads(Want::Output));
    });
}

#[test]
fn dropped_elements_are_one_stream_of_draws() {
    let (p, len) = (0.3, 40_000);
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    rng.set_word_pos(7);
    let factors = Dropout {
        p,
        rng: rng.clone(),
    }
    .factors(len);
    let draws: Vec<f32> = (0..len)
        .map(|_| match f64::from(rng.next_u32()) / 2f64.powi(32) < p {
            true => 0.0,
            false => (1.0 / (1.0 - p)) as f32,
        })
        .collect();
    assert_eq!(factors, draws);
    let dropped = factors.iter().filter(|factor| **factor == 0.0).count();
    assert!((dropped as f64 / len as f64 - p).abs() < 0.01, "{dropped}");
}

/// Together in f32, apart in f64.
fn head_and_loss(hidden: Tensor<2>, head: Tensor<2>, targets: &[u32], trained: bool) -> Tensor<1> {
    let head = if trained { head } else { frozen(head) };
    match hidden.dtype() {
        DType::F32 => linear_cross_entropy(hidden, head, targets),
        _ => cross_entropy_sum(linear(hidden, Weight::Dense(head), Want::Output), targets),
    }
}

#[test]
fn head_and_loss_together_are_what_they_are_apart() {
    let sizes = (1usize..30, 2usize..90, 1usize..40);
    let options = any::<[bool; 2]>();
    proptest!(cases(48), |((tokens, vocab, width) in sizes, [half, trained] in options, seed: u64)| {
        let mut rng = ChaCha8Rng::seed_from_u64(!seed);
        let targets: Vec<u32> = (0..tokens).map(|_| rng.random_range(0..vocab as u32)).collect();
        let mut case = Case::new([[tokens, width], [vocab, width]], seed);
        case.agrees(&|[hidden, head]| head_and_loss(hidden, head, &targets, trained));
        if half {
            // The logits' gradient is rounded as well.
            case.half = Some(1);
            let (loss, _) = case.run(DType::F32, &|[hidden, head]| head_and_loss(hidden, head, &targets, trained));
            let (expected, _) = case.run(DType::F64, &|[hidden, head]| head_and_loss(hidden, head, &targets, trained));
            assert_close("the loss", &loss, &expected);
        }
    });
}

#[test]
fn logits_of_many_tokens_exist_in_parts() {
    // The logits of 32 tokens are as many as exist at once.
    let (tokens, vocab, width) = (33, 300_000, 2);
    let targets: Vec<u32> = (0..tokens as u32).map(|token| token * 9000).collect();
    Case::new([[tokens, width], [vocab, width]], 1)
        .agrees(&|[hidden, head]| head_and_loss(hidden, head, &targets, true));
}

#[test]
fn a_carried_gradient_arrives_times_what_comes_from_above() {
    proptest!(cases(24), |(rows in 1usize..20, width in width(), seed: u64)| {
        let gradient = random(rows * width, &mut ChaCha8Rng::seed_from_u64(!seed));
        Case::new([[rows, width]], seed).agrees(&|[x]| {
            let gradient = constant(&gradient, [rows, width], x.dtype()).inner();
            carry(x, gradient)
        });
    });
}

#[test]
fn composed_in_parts_the_loss_is_what_it_is_at_once() {
    let (tokens, vocab, width) = (10, 30, 6);
    let targets: Vec<u32> = (0..tokens as u32).map(|token| token * 7 % 30).collect();
    let case = Case::new([[tokens, width], [vocab, width]], 3);
    let (expected, grads) = case.run(DType::F64, &|[hidden, head]| {
        head_and_loss(hidden, head, &targets, true)
    });
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let hidden = constant(
        &random(tokens * width, &mut rng),
        [tokens, width],
        DType::F32,
    )
    .inner();
    let head = constant(&random(vocab * width, &mut rng), [vocab, width], DType::F32).inner();
    let cotangent = f64::from(random(1, &mut rng)[0]);
    for rows in [3, 5, 10, 11] {
        let (loss, grad_hidden, grad_head) =
            loss::composed(hidden.clone(), head.clone(), &targets, true, rows);
        assert_close("the loss", &doubles(loss), &expected);
        let ours = [grad_hidden, grad_head.unwrap()].map(|grad| doubles(grad * cotangent));
        for (ours, expected) in ours.iter().zip(&grads) {
            assert_close("the gradient", ours, expected.as_ref().unwrap());
        }
    }
}

#[test]
fn half_precision_composes_the_loss_and_its_gradients() {
    let (tokens, vocab, width) = (10, 30, 6);
    let targets: Vec<u32> = (0..tokens as u32).map(|token| token * 7 % 30).collect();
    let case = Case::new([[tokens, width], [vocab, width]], 3);
    for trained in [false, true] {
        let run = |dtype| {
            case.run(dtype, &|[hidden, head]| {
                let head = if trained { head } else { frozen(head) };
                linear_cross_entropy(hidden, head, &targets)
            })
        };
        let ((loss, grads), (expected, expected_grads)) = (run(DType::BF16), run(DType::F32));
        assert!(
            (loss[0] - expected[0]).abs() < 0.02 * expected[0],
            "{loss:?} {expected:?}"
        );
        for (ours, expected) in grads.iter().zip(&expected_grads) {
            assert_eq!(ours.is_some(), expected.is_some());
            let pairs = ours.iter().flatten().zip(expected.iter().flatten());
            let off = pairs.fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()));
            assert!(off < 0.1, "{off}");
        }
    }
}
