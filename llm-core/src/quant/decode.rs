//! From codes to values.

use std::ops::Range;

use rayon::prelude::*;

use super::{BLOCK, QuantizedWeight};

/// 1 / 127 in f32, the factor of bitsandbytes' `int8_vectorwise_dequant`.
const INT8_UNIT: f32 = 1.0 / 127.0;

impl QuantizedWeight {
    /// Decodes columns `cols` of a row into `out`, to the f32 that bitsandbytes gets.
    ///
    /// Made for tiles of a row: it allocates nothing and expands the scales block by block. Runs
    /// that begin at an even index of the flattened matrix and hold whole blocks are fastest.
    ///
    /// # Panics
    /// When the row or the columns lie outside the matrix, or `out` is not as long as `cols`.
    pub fn read(&self, row: usize, cols: Range<usize>, out: &mut [f32]) {
        let [rows, width] = self.shape;
        assert!(
            row < rows && cols.start <= cols.end && cols.end <= width,
            "row {row}, columns {cols:?} lie outside a {rows} x {width} matrix"
        );
        assert_eq!(out.len(), cols.len(), "one place per column");
        let start = row * width + cols.start;
        match self.format.codebook() {
            Some(codebook) => self.read_4bit(&codebook.values, start, out),
            None => {
                let scale = self.scales.get(row);
                for (out, code) in out.iter_mut().zip(&self.codes[start..]) {
                    *out = f32::from(code.cast_signed()) * scale * INT8_UNIT;
                }
            }
        }
    }

    /// The whole matrix, row-major.
    pub fn dequantize(&self) -> Vec<f32> {
        let [rows, width] = self.shape;
        let mut values = vec![0.0; rows * width];
        values
            .par_chunks_mut(width)
            .enumerate()
            .for_each(|(row, out)| self.read(row, 0..width, out));
        values
    }

    fn read_4bit(&self, points: &[f32; 16], mut start: usize, mut out: &mut [f32]) {
        if start % 2 == 1
            && let Some(first) = out.split_off_first_mut()
        {
            let code = self.codes[start / 2] & 15;
            *first = points[usize::from(code)] * self.scales.get(start / BLOCK);
            start += 1;
        }
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the CPU has AVX-512F, which is all that the function asks for.
            return unsafe { avx512::read(self.segments(start, out), points) };
        }
        for segment in self.segments(start, out) {
            segment.look_up(points);
        }
    }

    /// Splits a run that starts at an even index at the ends of the blocks.
    #[inline]
    fn segments<'a>(
        &'a self,
        mut start: usize,
        mut out: &'a mut [f32],
    ) -> impl Iterator<Item = Segment<'a>> {
        std::iter::from_fn(move || {
            if out.is_empty() {
                return None;
            }
            let end = start + out.len().min(BLOCK - start % BLOCK);
            let segment = Segment {
                packed: &self.codes[start / 2..end.div_ceil(2)],
                scale: self.scales.get(start / BLOCK),
                out: out.split_off_mut(..end - start)?,
            };
            start = end;
            Some(segment)
        })
    }
}

/// Up to a block of codes with one scale, and where their values go.
struct Segment<'a> {
    /// Two codes per byte, the first one high; of the last byte maybe only the high half counts.
    packed: &'a [u8],
    scale: f32,
    out: &'a mut [f32],
}

impl Segment<'_> {
    /// Scaling the 16 points instead of the 64 values gives the same products.
    fn look_up(self, points: &[f32; 16]) {
        let scaled = points.map(|point| point * self.scale);
        let (pairs, odd) = self.out.as_chunks_mut();
        for (pair, byte) in pairs.iter_mut().zip(self.packed) {
            *pair = [byte >> 4, byte & 15].map(|code| scaled[usize::from(code)]);
        }
        if let ([last], Some(byte)) = (odd, self.packed.last()) {
            *last = scaled[usize::from(byte >> 4)];
        }
    }
}

/// The 16 scaled points fill one 512-bit register, so one permutation looks up 16 values.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::Segment;

    #[target_feature(enable = "avx512f")]
    pub(super) fn read<'a>(segments: impl Iterator<Item = Segment<'a>>, points: &[f32; 16]) {
        // SAFETY: the pointer is that of 16 f32; the load asks for no alignment.
        let points = unsafe { _mm512_loadu_ps(points.as_ptr()) };
        for Segment { packed, scale, out } in segments {
            let scaled = _mm512_mul_ps(points, _mm512_set1_ps(scale));
            let (whole, rest) = out.as_chunks_mut::<16>();
            let (bytes, rest_bytes) = packed.split_at(whole.len() * 8);
            for (out, bytes) in whole.iter_mut().zip(bytes.as_chunks().0) {
                // SAFETY: the pointer is that of 16 f32; the store asks for no alignment.
                unsafe { _mm512_storeu_ps(out.as_mut_ptr(), look_up(*bytes, scaled)) };
            }
            if !rest.is_empty() {
                let mut bytes = [0; 8];
                bytes[..rest_bytes.len()].copy_from_slice(rest_bytes);
                let mask = (1 << rest.len()) - 1;
                // SAFETY: the mask keeps the store within the `rest.len()` < 16 f32.
                unsafe {
                    _mm512_mask_storeu_ps(rest.as_mut_ptr(), mask, look_up(bytes, scaled));
                }
            }
        }
    }

    /// Eight bytes become 64-bit lanes, each of two 32-bit indices: high half first. The
    /// permutation looks at the low four bits of an index only.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn look_up(bytes: [u8; 8], points: __m512) -> __m512 {
        let bytes = _mm512_cvtepu8_epi64(_mm_cvtsi64_si128(i64::from_le_bytes(bytes)));
        let low_half = _mm512_slli_epi64::<32>(bytes);
        let index = _mm512_or_si512(_mm512_srli_epi64::<4>(bytes), low_half);
        _mm512_permutexvar_ps(index, points)
    }
}

#[cfg(test)]
mod tests {
    use crate::quant::{QuantFormat, QuantizedWeight};

    /// On a CPU with AVX-512 nothing else runs the portable look-up.
    #[test]
    fn portable_and_vector_look_ups_agree() {
        let values: Vec<_> = (0..331).map(|i| (i as f32 * 0.7).sin()).collect();
        for format in [QuantFormat::Nf4, QuantFormat::Fp4] {
            let weight = QuantizedWeight::quantize(&values, [1, 331], format, true).unwrap();
            let points = &format.codebook().unwrap().values;
            let mut portable = vec![f32::NAN; values.len()];
            for segment in weight.segments(0, &mut portable) {
                segment.look_up(points);
            }
            assert_eq!(portable, weight.dequantize());
        }
    }
}
