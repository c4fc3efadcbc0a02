//! Block quantisation of weights on the host, byte-compatible with bitsandbytes 0.50.
//!
//! Three formats: NF4 and FP4, two values per byte and one scale per block of 64 values (QLoRA,
//! [arXiv:2305.14314](https://arxiv.org/abs/2305.14314)), the scales optionally quantised
//! themselves; and int8 with one scale per row (LLM.int8(),
//! [arXiv:2208.07339](https://arxiv.org/abs/2208.07339)). A weight stays in its codes: [`read`]
//! decodes the part of a row that a matrix product needs next.
//!
//! [`read`]: QuantizedWeight::read
//!
//! ```
//! # use llm_core::quant::{QuantFormat, QuantizedWeight};
//! let weight = QuantizedWeight::quantize(&[0.5; 128], [2, 64], QuantFormat::Nf4, false)?;
//! let mut tile = [0.0; 8];
//! weight.read(1, 16..24, &mut tile);
//! assert_eq!(tile, [0.5; 8]);
//! assert_eq!(weight.bytes(), 64 + 2 * size_of::<f32>());
//! # Ok::<(), llm_core::quant::QuantError>(())
//! ```

mod decode;
mod encode;
mod error;
mod hub;
mod mean;
mod tables;
mod tensor;

pub use error::QuantError;
pub use hub::{HubDtype, HubTensor, WeightDtype};
pub use tensor::QuantizedTensor;

use rayon::prelude::*;

use tables::{Codebook, DYNAMIC, FP4, NF4};

/// Values per scale in the 4-bit formats, counted over the flattened matrix.
pub const BLOCK: usize = 64;
/// Scales per scale of scales, under double quantisation.
pub const SCALE_BLOCK: usize = 256;

/// How the values of a weight are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuantFormat {
    /// 4-bit NormalFloat: the code points are quantiles of a normal distribution.
    Nf4,
    /// 4-bit float: sign, two bits of exponent, one of mantissa, with bitsandbytes' code points.
    Fp4,
    /// LLM.int8(): w = code · scale / 127, one scale per row.
    Int8,
}

/// How to quantise a model as it is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantization {
    /// How the weights of the linear layers, but for the head, are coded.
    pub format: QuantFormat,
    /// Whether the scales are quantised too; 4-bit formats only.
    pub double: bool,
}

impl Quantization {
    /// QLoRA's: NF4 with double quantisation.
    pub const QLORA: Self = Self {
        format: QuantFormat::Nf4,
        double: true,
    };
}

impl QuantFormat {
    /// The code points of a 4-bit format, by code; int8 has none.
    pub fn points(self) -> Option<&'static [f32; 16]> {
        self.codebook().map(|codebook| &codebook.values)
    }

    fn codebook(self) -> Option<&'static Codebook> {
        match self {
            Self::Nf4 => Some(&NF4),
            Self::Fp4 => Some(&FP4),
            Self::Int8 => None,
        }
    }
}

/// The scales of a weight: one per block of [`BLOCK`] values, or one per row for int8.
///
/// A scale is the largest magnitude of its block.
#[derive(Debug, Clone, PartialEq)]
pub enum Scales {
    /// As they are.
    Plain(Vec<f32>),
    /// Quantised themselves: scale = point(code) · absmax + offset, where the points are
    /// bitsandbytes' signed dynamic map (`create_dynamic_map`).
    Double {
        /// One code per scale.
        codes: Vec<u8>,
        /// One value per [`SCALE_BLOCK`] codes.
        absmax: Vec<f32>,
        /// The mean of the scales.
        offset: f32,
    },
}

impl Scales {
    /// The points that double quantisation codes scales as.
    pub(crate) fn double_points() -> &'static [f32; 256] {
        &DYNAMIC
    }

    #[inline]
    fn get(&self, index: usize) -> f32 {
        match self {
            Self::Plain(scales) => scales[index],
            Self::Double {
                codes,
                absmax,
                offset,
            } => DYNAMIC[usize::from(codes[index])] * absmax[index / SCALE_BLOCK] + offset,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Plain(scales) => size_of_val(scales.as_slice()),
            Self::Double {
                codes,
                absmax,
                offset,
            } => codes.len() + size_of_val(absmax.as_slice()) + size_of_val(offset),
        }
    }
}

/// A quantised matrix on the host, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedWeight {
    format: QuantFormat,
    shape: [usize; 2],
    codes: Vec<u8>,
    scales: Scales,
}

impl QuantizedWeight {
    /// From what another weight consists of.
    pub(crate) fn from_parts(
        format: QuantFormat,
        shape: [usize; 2],
        codes: Vec<u8>,
        scales: Scales,
    ) -> Self {
        Self {
            format,
            shape,
            codes,
            scales,
        }
    }

    /// How the values are coded.
    pub fn format(&self) -> QuantFormat {
        self.format
    }

    /// [rows, columns]; for a linear layer [out, in].
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// The codes of the flattened matrix. 4-bit: two per byte, the value of even index in the
    /// high half. Int8: one byte per value, two's complement.
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }

    /// The scales.
    pub fn scales(&self) -> &Scales {
        &self.scales
    }

    /// Bytes that the codes and the scales take in memory.
    pub fn bytes(&self) -> usize {
        self.codes.len() + self.scales.bytes()
    }

    /// `Σ w²` of each row.
    pub(crate) fn row_squares(&self) -> Vec<f32> {
        let [rows, width] = self.shape;
        let square = |row| {
            let mut values = vec![0.0; width];
            self.read(row, 0..width, &mut values);
            values.iter().map(|value| value * value).sum()
        };
        (0..rows).into_par_iter().map(square).collect()
    }
}
