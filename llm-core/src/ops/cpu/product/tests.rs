//! Products against their definition in f64.

use std::ops::Range;

use half::bf16;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::matrix::{Decode, Values};
use super::*;

/// Rounding of a sum in f32, relative to the sum of the terms' sizes. A term that is missing or one too
/// many is at least a hundred times as much.
const TOLERANCE: f64 = 2e-6;

/// How a right factor is stored.
#[derive(Debug, Clone, Copy)]
enum Stored {
    F32,
    Bf16,
    Coded,
}

/// A term to be made.
#[derive(Debug, Clone)]
struct Spec {
    k: usize,
    left_transposed: bool,
    stored: Stored,
    transposed: bool,
    bf16: bool,
}

/// A code that is the values themselves.
struct Plain {
    columns: usize,
    values: Vec<f32>,
}

impl Decode for Plain {
    fn decode(&self, row: usize, cols: Range<usize>, out: &mut [f32]) {
        out.copy_from_slice(&self.values[row * self.columns..][cols]);
    }
}

/// The values of a term.
struct Factors {
    spec: Spec,
    left: Vec<f32>,
    right: Plain,
    right_bf16: Vec<bf16>,
}

impl Factors {
    fn new(spec: &Spec, [m, n]: [usize; 2], rng: &mut ChaCha8Rng) -> Self {
        let mut random = |len: usize| -> Vec<f32> {
            let value = |_| rng.random_range(-1.0f32..1.0);
            (0..len).map(value).collect()
        };
        let left = random(m * spec.k);
        let mut values = random(spec.k * n);
        let right_bf16: Vec<bf16> = values.iter().copied().map(bf16::from_f32).collect();
        if matches!(spec.stored, Stored::Bf16) {
            values = right_bf16.iter().map(|value| value.to_f32()).collect();
        }
        let columns = if spec.transposed { spec.k } else { n };
        Self {
            spec: spec.clone(),
            left,
            right: Plain { columns, values },
            right_bf16,
        }
    }

    fn term(&self, [m, n]: [usize; 2]) -> Term<'_> {
        let k = self.spec.k;
        let a = match self.spec.left_transposed {
            true => Rows::transposed(&self.left, m),
            false => Rows::new(&self.left, k),
        };
        let shape = if self.spec.transposed { [n, k] } else { [k, n] };
        let values = match self.spec.stored {
            Stored::F32 => Values::F32(&self.right.values),
            Stored::Bf16 => Values::Bf16(&self.right_bf16),
            Stored::Coded => Values::Coded(&self.right),
        };
        let b = Matrix { shape, values };
        let term = match self.spec.transposed {
            true => Term::transposed(a, b),
            false => Term::new(a, b),
        };
        term.in_bf16(self.spec.bf16)
    }

    /// Adds `A·B` to `sums`, and the sizes of what is added to `sizes`.
    fn add(&self, sums: &mut [f64], sizes: &mut [f64], [m, n]: [usize; 2], rounds: bool) {
        let k = self.spec.k;
        let value = |value: f32| match rounds {
            true => bf16::from_f32(value).to_f64(),
            false => f64::from(value),
        };
        for row in 0..m {
            for column in 0..n {
                for inner in 0..k {
                    let a = match self.spec.left_transposed {
                        true => self.left[inner * m + row],
                        false => self.left[row * k + inner],
                    };
                    let b = match self.spec.transposed {
                        true => self.right.values[column * k + inner],
                        false => self.right.values[inner * n + column],
                    };
                    let product = value(a) * value(b);
                    sums[row * n + column] += product;
                    sizes[row * n + column] += product.abs();
                }
            }
        }
    }
}

/// Whether this machine rounds the factors of a term that may be rounded.
fn rounds() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// The kernels of this machine, and those of any, against the definition, fresh and added to what is
/// there.
fn check(dims: [usize; 2], specs: &[Spec], seed: u64) {
    let [m, n] = dims;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let factors: Vec<Factors> = specs
        .iter()
        .map(|spec| Factors::new(spec, dims, &mut rng))
        .collect();
    let terms: Vec<Term> = factors.iter().map(|factors| factors.term(dims)).collect();
    let before: Vec<f32> = (0..m * n).map(|_| rng.random_range(-1.0..1.0)).collect();
    let expected = |start: &[f32], rounds: bool| {
        let mut sums: Vec<f64> = start.iter().copied().map(f64::from).collect();
        let mut sizes: Vec<f64> = sums.iter().map(|value| value.abs()).collect();
        for factors in &factors {
            // A left factor that is transposed in memory stays as it is.
            let rounded = rounds && factors.spec.bf16 && (!factors.spec.left_transposed || m == 1);
            factors.add(&mut sums, &mut sizes, dims, rounded);
        }
        (sums, sizes)
    };
    let zeros = vec![0.0; m * n];
    let close = |what: &str, ours: &[f32], (sums, sizes): (Vec<f64>, Vec<f64>)| {
        for (index, ((ours, sum), size)) in ours.iter().zip(sums).zip(sizes).enumerate() {
            // Not `off > ...`: NaN must fail.
            let off = (f64::from(*ours) - sum).abs();
            assert!(
                off <= TOLERANCE * size,
                "{what}: [{}, {}] is {ours}, not {sum}: [{m}, {n}] of {specs:?}",
                index / n,
                index % n,
            );
        }
    };
    close(
        "product",
        &product(dims, &terms),
        expected(&zeros, rounds()),
    );
    let mut sum = before.clone();
    add_product(&mut sum, dims, &terms);
    close("add_product", &sum, expected(&before, rounds()));

    let (mut fresh, mut sum) = (vec![f32::NAN; m * n], before.clone());
    // SAFETY: both have m · n values.
    unsafe {
        portable(fresh.as_mut_ptr(), dims, &terms, false);
        portable(sum.as_mut_ptr(), dims, &terms, true);
    }
    close("portable", &fresh, expected(&zeros, false));
    close("portable, added", &sum, expected(&before, false));
}

fn spec(k: impl Strategy<Value = usize>) -> impl Strategy<Value = Spec> {
    let stored = prop_oneof![Just(Stored::F32), Just(Stored::Bf16), Just(Stored::Coded)];
    (k, any::<[bool; 3]>(), stored).prop_map(|(k, [left_transposed, transposed, bf16], stored)| {
        Spec {
            k,
            left_transposed,
            stored,
            transposed,
            bf16,
        }
    })
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

#[test]
fn products_of_any_size_are_sums_of_products() {
    let specs = proptest::collection::vec(spec(1usize..70), 1..4);
    // Tiles have 8 rows and 16, 32 or 48 columns, panels 48; those of any machine 192.
    let rows = prop_oneof![1usize..9, 9usize..40];
    let columns = prop_oneof![1usize..50, 50usize..120, 185usize..200];
    proptest!(cases(96), |(m in rows, n in columns, specs in specs, seed: u64)| {
        check([m, n], &specs, seed);
    });
}

#[test]
fn long_sums_go_block_by_block() {
    // A block is 1024 units: numbers, or pairs of them in bf16.
    let k = prop_oneof![1020usize..1030, 2040usize..2060];
    let specs = proptest::collection::vec(spec(k), 1..3);
    proptest!(cases(48), |(m in 1usize..12, n in 1usize..60, specs in specs, seed: u64)| {
        check([m, n], &specs, seed);
    });
}

#[test]
fn every_kind_of_term_at_the_edges_of_tiles_and_blocks() {
    for (m, n, k) in [
        (1, 1, 1),
        (1, 17, 3),
        (8, 48, 2),
        (9, 49, 1025),
        (7, 16, 2049),
    ] {
        for kind in 0..24 {
            let bit = |bit: usize| kind >> bit & 1 == 1;
            let spec = Spec {
                k,
                left_transposed: bit(0),
                transposed: bit(1),
                bf16: bit(2),
                stored: [Stored::F32, Stored::Bf16, Stored::Coded][kind / 8],
            };
            check([m, n], &[spec], kind as u64);
        }
    }
}

#[test]
fn nothing_comes_of_no_rows() {
    let weight = [1.0; 6];
    let term = Term::transposed(Rows::new(&[], 3), Matrix::f32([2, 3], &weight));
    assert!(product([0, 2], &[term]).is_empty());
}

#[test]
#[should_panic(expected = "factors of a product")]
fn factors_of_other_sizes_are_refused() {
    let (left, weight) = ([1.0; 6], [1.0; 6]);
    let term = Term::transposed(Rows::new(&left, 3), Matrix::f32([2, 3], &weight));
    product([3, 2], &[term]);
}
