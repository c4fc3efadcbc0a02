//! The innermost loops for processors with AVX-512: a tile of a product, and the packing of what
//! it multiplies by. Everything is in units of 32 bits: an f32, or two bf16 of neighbouring `k`.

use std::arch::x86_64::*;

/// Values in a vector.
pub(super) const LANES: usize = 16;

/// The rows of a tile.
pub(super) const TILE_ROWS: usize = 8;

/// The vectors of a tile's row: 8 × 3 sums leave registers for three factors and one broadcast.
pub(super) const TILE_VECTORS: usize = 3;

/// One tile's operands.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    /// Units to sum over.
    pub(super) k: usize,
    /// The first row of the left factor, and its strides from row to row and from unit to unit.
    pub(super) a: *const f32,
    pub(super) a_strides: [usize; 2],
    /// The right factor, `[k, columns]`, and its stride from unit to unit.
    pub(super) b: *const f32,
    pub(super) b_stride: usize,
    /// The result, and its stride from row to row.
    pub(super) c: *mut f32,
    pub(super) c_stride: usize,
    /// Columns of the result: the last vector may be cut.
    pub(super) columns: usize,
    /// Whether the sums are added to the result.
    pub(super) accumulate: bool,
}

/// Computes a tile of `rows` ≤ [`TILE_ROWS`] rows and at most [`TILE_VECTORS`] vectors in f32.
///
/// # Safety
/// The processor has AVX-512F; all pointers are valid for what the tile describes, the right factor
/// for whole vectors.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn tile_f32(rows: usize, tile: Tile) {
    let multiply = |sum, a, b| _mm512_fmadd_ps(a, b, sum);
    // SAFETY: the caller's.
    unsafe { by_size(rows, tile, multiply) }
}

/// As [`tile_f32`], of pairs of bf16.
///
/// # Safety
/// As [`tile_f32`]; the processor has AVX-512 BF16 too.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn tile_bf16(rows: usize, tile: Tile) {
    let multiply = |sum, a, b| {
        // SAFETY: both are 512 bits of plain data.
        let (a, b) = unsafe {
            (
                std::mem::transmute::<__m512, __m512bh>(a),
                std::mem::transmute::<__m512, __m512bh>(b),
            )
        };
        _mm512_dpbf16_ps(sum, a, b)
    };
    // SAFETY: the caller's.
    unsafe { by_size(rows, tile, multiply) }
}

/// Picks the loop that is unrolled for the tile's size.
#[inline(always)]
unsafe fn by_size(
    rows: usize,
    tile: Tile,
    multiply: impl Fn(__m512, __m512, __m512) -> __m512 + Copy,
) {
    macro_rules! sizes {
        ($($rows:literal)*) => {
            match (rows, tile.columns.div_ceil(LANES)) {
                $(($rows, 1) => unsafe { sums::<$rows, 1>(tile, multiply) },
                  ($rows, 2) => unsafe { sums::<$rows, 2>(tile, multiply) },
                  ($rows, 3) => unsafe { sums::<$rows, 3>(tile, multiply) },)*
                _ => unreachable!("a tile has 1 to 8 rows and 1 to 3 vectors"),
            }
        };
    }
    sizes!(1 2 3 4 5 6 7 8)
}

#[inline(always)]
unsafe fn sums<const ROWS: usize, const VECTORS: usize>(
    tile: Tile,
    multiply: impl Fn(__m512, __m512, __m512) -> __m512,
) {
    let Tile {
        k,
        a,
        a_strides: [row, step],
        b,
        b_stride,
        ..
    } = tile;
    // SAFETY: the tile's pointers are valid for its sizes; the last vector of a row is masked.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); VECTORS]; ROWS];
        for k in 0..k {
            let b = b.add(k * b_stride);
            let mut factors = [_mm512_setzero_ps(); VECTORS];
            for (vector, factor) in factors.iter_mut().enumerate() {
                *factor = _mm512_loadu_ps(b.add(vector * LANES));
            }
            let a = a.add(k * step);
            for (index, sums) in sums.iter_mut().enumerate() {
                let a = _mm512_set1_ps(*a.add(index * row));
                for (sum, factor) in sums.iter_mut().zip(factors) {
                    *sum = multiply(*sum, a, factor);
                }
            }
        }
        let last = mask(tile.columns - (VECTORS - 1) * LANES);
        for (index, sums) in sums.iter().enumerate() {
            for (vector, sum) in sums.iter().enumerate() {
                let mask = if vector + 1 == VECTORS { last } else { !0 };
                let c = tile.c.add(index * tile.c_stride + vector * LANES);
                let sum = match tile.accumulate {
                    true => _mm512_add_ps(*sum, _mm512_maskz_loadu_ps(mask, c)),
                    false => *sum,
                };
                _mm512_mask_storeu_ps(c, mask, sum);
            }
        }
    }
}

/// The mask of the first `count` lanes.
fn mask(count: usize) -> __mmask16 {
    match count {
        LANES.. => !0,
        _ => (1 << count) - 1,
    }
}

/// Writes the transpose of up to 16 rows of `units` units to `out`, a row of `stride` for each unit,
/// 16 columns wide: absent rows become zeros.
///
/// # Safety
/// The processor has AVX-512F; every row is valid for `units` units, `out` for `units` rows.
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn transpose(rows: &[*const f32], units: usize, out: *mut f32, stride: usize) {
    for start in (0..units).step_by(LANES) {
        let count = (units - start).min(LANES);
        let mut block = [_mm512_setzero_ps(); LANES];
        for (vector, row) in block.iter_mut().zip(rows) {
            // SAFETY: lanes beyond the row's end are masked.
            *vector = unsafe { _mm512_maskz_loadu_ps(mask(count), row.add(start)) };
        }
        for (index, vector) in transpose_16(block).into_iter().take(count).enumerate() {
            // SAFETY: `out` has a row of 16 for each unit.
            unsafe { _mm512_storeu_ps(out.add((start + index) * stride), vector) };
        }
    }
}

/// The transpose of 16 × 16 values.
#[target_feature(enable = "avx512f")]
fn transpose_16(rows: [__m512; 16]) -> [__m512; 16] {
    let zero = _mm512_setzero_ps();
    // Pairs of rows, then fours: `fours[4 g + j]` has column 4 l + j of rows 4 g .. 4 g + 4 in lane group l.
    let mut pairs = [zero; 16];
    for i in 0..8 {
        pairs[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
        pairs[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    }
    let mut fours = [zero; 16];
    for g in 0..4 {
        for half in 0..2 {
            let low = _mm512_castps_pd(pairs[4 * g + half]);
            let high = _mm512_castps_pd(pairs[4 * g + 2 + half]);
            fours[4 * g + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            fours[4 * g + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    }
    let mut columns = [zero; 16];
    for j in 0..4 {
        // Lane groups 0 and 2, then 1 and 3, of the upper and of the lower eight rows.
        let even = [0, 8].map(|g| _mm512_shuffle_f32x4::<0x88>(fours[g + j], fours[g + 4 + j]));
        let odd = [0, 8].map(|g| _mm512_shuffle_f32x4::<0xdd>(fours[g + j], fours[g + 4 + j]));
        columns[j] = _mm512_shuffle_f32x4::<0x88>(even[0], even[1]);
        columns[4 + j] = _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1]);
        columns[8 + j] = _mm512_shuffle_f32x4::<0xdd>(even[0], even[1]);
        columns[12 + j] = _mm512_shuffle_f32x4::<0xdd>(odd[0], odd[1]);
    }
    columns
}

/// Rounds to bf16.
///
/// # Safety
/// The processor has AVX-512 BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx512vl")]
pub(super) unsafe fn round(values: &[f32], out: &mut [half::bf16]) {
    let whole = values.len() / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        // SAFETY: both slices have 16 values from `start`.
        unsafe {
            let rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(values[start..].as_ptr()));
            out[start..start + LANES]
                .as_mut_ptr()
                .cast::<__m256bh>()
                .write_unaligned(rounded);
        }
    }
    for (out, value) in out[whole..].iter_mut().zip(&values[whole..]) {
        *out = half::bf16::from_f32(*value);
    }
}
