//! Products of activations and weights on the CPU: `Σ A·B` over one or more terms, where B is dense,
//! in bf16, or coded in four bits.
//!
//! The right factor is read in panels of 48 columns that stay in the second-level cache, decoded and
//! transposed while they are packed; the rows of the left factor stream past them. So a coded or
//! half-precision weight costs its decoding once for a whole batch, and never exists as a dense matrix.

#[cfg(target_arch = "x86_64")]
mod panels;
#[cfg(test)]
mod tests;

use rayon::prelude::*;

use super::matrix::Matrix;

/// A summand `A·B` of a product, or `A·Bᵀ`.
#[derive(Clone, Copy)]
pub(super) struct Term<'a> {
    /// The left factor `[m, k]`.
    pub(super) a: Rows<'a>,
    /// The right factor: `[k, n]`, or `[n, k]` where it is transposed.
    pub(super) b: Matrix<'a>,
    pub(super) transposed: bool,
    /// Whether the factors are rounded to bf16 (sums stay in f32), where the processor multiplies those.
    pub(super) bf16: bool,
}

/// A matrix of f32 with strides from row to row and from column to column.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    values: &'a [f32],
    strides: [usize; 2],
}

impl<'a> Rows<'a> {
    fn len(&self) -> usize {
        self.values.len()
    }

    /// `[rows, columns]`, row after row.
    pub(super) fn new(values: &'a [f32], columns: usize) -> Self {
        Self {
            values,
            strides: [columns, 1],
        }
    }

    /// The transpose of `[columns, rows]`.
    pub(super) fn transposed(values: &'a [f32], rows: usize) -> Self {
        Self {
            values,
            strides: [1, rows],
        }
    }
}

impl<'a> Term<'a> {
    pub(super) fn new(a: Rows<'a>, b: Matrix<'a>) -> Self {
        Self {
            a,
            b,
            transposed: false,
            bf16: false,
        }
    }

    pub(super) fn transposed(a: Rows<'a>, b: Matrix<'a>) -> Self {
        Self {
            transposed: true,
            ..Self::new(a, b)
        }
    }

    pub(super) fn in_bf16(self, bf16: bool) -> Self {
        Self { bf16, ..self }
    }

    /// The length of its sums.
    fn k(&self) -> usize {
        self.b.shape[usize::from(self.transposed)]
    }
}

/// `Σ terms`, `[m, n]`.
pub(super) fn product(sizes: [usize; 2], terms: &[Term<'_>]) -> Vec<f32> {
    let mut out = Vec::new();
    product_into(&mut out, sizes, terms);
    out
}

/// As [`product`], in the memory of `out`, whose values go.
pub(super) fn product_into(out: &mut Vec<f32>, [m, n]: [usize; 2], terms: &[Term<'_>]) {
    assert!(!terms.is_empty(), "a product of nothing");
    out.clear();
    out.reserve_exact(m * n);
    // SAFETY: there is room for m · n values; the first of the terms overwrites all of them.
    unsafe {
        write(out.as_mut_ptr(), [m, n], terms, false);
        out.set_len(m * n);
    }
}

/// Adds `Σ terms` to `out` `[m, n]`.
pub(super) fn add_product(out: &mut [f32], [m, n]: [usize; 2], terms: &[Term<'_>]) {
    assert_eq!(out.len(), m * n);
    // SAFETY: `out` has m · n values.
    unsafe { write(out.as_mut_ptr(), [m, n], terms, true) };
}

/// # Safety
/// `out` is valid for m · n values, which have been written before if they are added to.
unsafe fn write(out: *mut f32, [m, n]: [usize; 2], terms: &[Term<'_>], accumulate: bool) {
    for term in terms {
        let columns = term.b.shape[usize::from(!term.transposed)];
        assert_eq!(
            (term.a.len(), columns),
            (m * term.k(), n),
            "factors of a product"
        );
        assert!(term.k() > 0, "an empty sum");
    }
    if m * n == 0 {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
        // SAFETY: the caller's, and AVX-512 was detected.
        return unsafe { panels::write(out, [m, n], terms, accumulate) };
    }
    // SAFETY: the caller's.
    unsafe { portable(out, [m, n], terms, accumulate) };
}

/// Any processor: panels decoded to f32, multiplied by the crate `gemm`.
unsafe fn portable(out: *mut f32, [m, n]: [usize; 2], terms: &[Term<'_>], accumulate: bool) {
    const COLUMNS: usize = 192;
    let out = Shared(out);
    (0..n.div_ceil(COLUMNS)).into_par_iter().for_each(|panel| {
        let columns = panel * COLUMNS..n.min((panel + 1) * COLUMNS);
        for (index, term) in terms.iter().enumerate() {
            let (rows, cols) = if term.transposed {
                (columns.clone(), 0..term.k())
            } else {
                (0..term.k(), columns.clone())
            };
            let width = cols.len();
            let mut dense = vec![0.0; rows.len() * width];
            let mut scratch = vec![0.0; width];
            for (row, to) in rows.zip(dense.chunks_exact_mut(width)) {
                to.copy_from_slice(term.b.run(row, cols.clone(), &mut scratch));
            }
            let b_strides = if term.transposed {
                [1, width]
            } else {
                [width, 1]
            };
            let [row, step] = term.a.strides.map(|stride| stride as isize);
            // SAFETY: panels are disjoint columns of `out`; the strides describe `dense` and the left factor.
            unsafe {
                gemm::gemm(
                    m,
                    columns.len(),
                    term.k(),
                    out.at(columns.start),
                    1,
                    n as isize,
                    accumulate || index > 0,
                    term.a.values.as_ptr(),
                    step,
                    row,
                    dense.as_ptr(),
                    b_strides[1] as isize,
                    b_strides[0] as isize,
                    1.0,
                    1.0,
                    false,
                    false,
                    false,
                    gemm::Parallelism::None,
                );
            }
        }
    });
}

/// The result, which tasks write to in disjoint parts.
#[derive(Clone, Copy)]
struct Shared(*mut f32);
impl Shared {
    /// The element at `index`, of whose memory the caller says whether it is valid.
    fn at(self, index: usize) -> *mut f32 {
        self.0.wrapping_add(index)
    }
}

// SAFETY: every task writes to elements of its own.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}
