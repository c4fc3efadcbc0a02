//! From values to codes.

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::mean::torch_mean;
use super::tables::{Codebook, nearest_dynamic};
use super::{BLOCK, QuantError, QuantFormat, QuantizedWeight, SCALE_BLOCK, Scales};

/// Below this a block counts as zero; bitsandbytes' constant.
const TINY: f32 = 1e-38;
/// Blocks that are worth a task of their own.
const TASK: usize = 256;
/// 1.5 · 2^23: a small number added to it is rounded to an integer, half-way to even, which the
/// lowest bits of the sum hold in two's complement.
const ROUND: f32 = 12_582_912.0;

impl QuantizedWeight {
    /// Quantises a row-major matrix of shape [rows, columns]; `double` also quantises the scales.
    ///
    /// Byte-identical to what bitsandbytes makes of the same values on an x86 CPU. One exception:
    /// from 2^21 values on, torch's rounding of the mean that double quantisation subtracts
    /// depends on its number of threads, and the result here is that of one thread.
    ///
    /// Weights in bf16 or f16 are converted to f32 before, which loses nothing. Int8 rounds to
    /// f16 first, as `Linear8bitLt` does.
    ///
    /// # Errors
    /// When the shape is empty or does not hold `values`, a value is not finite (for int8: in
    /// f16), or `double` is asked of int8.
    pub fn quantize(
        values: &[f32],
        shape: [usize; 2],
        format: QuantFormat,
        double: bool,
    ) -> Result<Self, QuantError> {
        if values.is_empty() || shape[0].checked_mul(shape[1]) != Some(values.len()) {
            let got = values.len();
            return Err(QuantError::Values { shape, got });
        }
        let (codes, absmax) = match format.codebook() {
            Some(codebook) => encode_4bit(values, codebook),
            None if double => return Err(QuantError::DoubleInt8),
            None => encode_int8(values, shape[1]),
        };
        check_finite(values, &absmax, format)?;
        let scales = if double {
            encode_scales(&absmax)
        } else {
            Scales::Plain(absmax)
        };
        Ok(Self {
            format,
            shape,
            codes,
            scales,
        })
    }
}

/// A block with a value that is not finite has a scale that is not finite.
fn check_finite(values: &[f32], absmax: &[f32], format: QuantFormat) -> Result<(), QuantError> {
    if absmax.iter().all(|scale| scale.is_finite()) {
        return Ok(());
    }
    let (dtype, is_finite): (_, fn(f32) -> bool) = match format {
        QuantFormat::Nf4 | QuantFormat::Fp4 => ("f32", f32::is_finite),
        QuantFormat::Int8 => ("f16", |value| f16::from_f32(value).is_finite()),
    };
    match values.iter().position(|value| !is_finite(*value)) {
        None => Ok(()),
        Some(index) => Err(QuantError::NotFinite {
            index,
            value: values[index],
            dtype,
        }),
    }
}

/// The codes of the flattened matrix, and the largest magnitude of each block.
fn encode_4bit(values: &[f32], codebook: &Codebook) -> (Vec<u8>, Vec<f32>) {
    let mut codes = vec![0; values.len().div_ceil(2)];
    let mut absmax = vec![0.0; values.len().div_ceil(BLOCK)];
    (
        values.par_chunks(BLOCK),
        codes.par_chunks_mut(BLOCK / 2),
        &mut absmax,
    )
        .into_par_iter()
        .with_min_len(TASK)
        .for_each(|(values, codes, absmax)| *absmax = encode_block(values, codebook, codes));
    (codes, absmax)
}

/// A short last block is scaled by division and its scale is never zero; a whole one is scaled by
/// a reciprocal. The difference is bitsandbytes'; it clamps to [-1, 1] as well, which cannot
/// change the nearest code.
fn encode_block(values: &[f32], codebook: &Codebook, codes: &mut [u8]) -> f32 {
    let mut absmax = largest_magnitude(values);
    let mut scaled = [0.0; BLOCK];
    if values.len() == BLOCK {
        let inverse = 1.0 / absmax.max(TINY);
        for (scaled, value) in scaled.iter_mut().zip(values) {
            *scaled = value * inverse;
        }
    } else {
        // Unlike `max`, this keeps NaN, which `check_finite` looks for.
        absmax = absmax.clamp(TINY, f32::INFINITY);
        for (scaled, value) in scaled.iter_mut().zip(values) {
            *scaled = value / absmax;
        }
    }
    let nearest = codebook.nearest(&scaled);
    for (byte, [high, low]) in codes.iter_mut().zip(nearest.as_chunks().0) {
        *byte = high << 4 | low;
    }
    absmax
}

/// Double quantisation: deviations from the mean, in blocks of [`SCALE_BLOCK`].
fn encode_scales(scales: &[f32]) -> Scales {
    let offset = torch_mean(scales);
    let mut codes = vec![0; scales.len()];
    let absmax = (
        scales.par_chunks(SCALE_BLOCK),
        codes.par_chunks_mut(SCALE_BLOCK),
    )
        .into_par_iter()
        .map(|(scales, codes)| {
            let deviations: Vec<_> = scales.iter().map(|scale| scale - offset).collect();
            let absmax = largest_magnitude(&deviations);
            if absmax > 0.0 {
                let inverse = 1.0 / absmax;
                for (code, deviation) in codes.iter_mut().zip(deviations) {
                    *code = nearest_dynamic(deviation * inverse);
                }
            }
            absmax
        })
        .collect();
    Scales::Double {
        codes,
        absmax,
        offset,
    }
}

/// The codes, and the largest magnitude of each row, of the values in f16.
fn encode_int8(values: &[f32], width: usize) -> (Vec<u8>, Vec<f32>) {
    let mut codes = vec![0; values.len()];
    let absmax = (values.par_chunks(width), codes.par_chunks_mut(width))
        .into_par_iter()
        .map(|(values, codes)| {
            let mut halves = vec![f16::ZERO; width];
            halves.convert_from_f32_slice(values);
            let values = halves.to_f32_vec();
            let absmax = largest_magnitude(&values);
            if absmax > 0.0 {
                let inverse = 1.0 / absmax * 127.0;
                for (code, value) in codes.iter_mut().zip(values) {
                    *code = (value * inverse + ROUND).to_bits() as u8;
                }
            }
            absmax
        })
        .collect();
    (codes, absmax)
}

/// Magnitudes are in the order of their bits, infinity and then NaN on top; and the largest of
/// integers, unlike that of floats, is found in vectors.
fn largest_magnitude(values: &[f32]) -> f32 {
    let magnitudes = values.iter().map(|value| value.abs().to_bits());
    f32::from_bits(magnitudes.fold(0, u32::max))
}
