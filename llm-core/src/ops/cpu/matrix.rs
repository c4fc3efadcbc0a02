//! `Matrix`: a row-major matrix in the type in which it is stored, read in runs.

use std::ops::Range;

use half::bf16;

/// A matrix `[rows, cols]`, row after row.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) shape: [usize; 2],
    pub(super) values: Values<'a>,
}

/// The values of a matrix.
#[derive(Clone, Copy)]
pub(super) enum Values<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
    /// Coded in fewer bits.
    Coded(&'a dyn Decode),
}

/// Decodes runs of a matrix that is never dense in memory.
pub(crate) trait Decode: Sync {
    /// The values `cols` of a row.
    fn decode(&self, row: usize, cols: Range<usize>, out: &mut [f32]);
}

impl<'a> Matrix<'a> {
    pub(super) fn f32(shape: [usize; 2], values: &'a [f32]) -> Self {
        debug_assert_eq!(values.len(), shape[0] * shape[1]);
        let values = Values::F32(values);
        Self { shape, values }
    }

    /// The values `cols` of a row; they are in `scratch` unless they are stored as f32.
    pub(super) fn run<'s>(
        &self,
        row: usize,
        cols: Range<usize>,
        scratch: &'s mut [f32],
    ) -> &'s [f32]
    where
        'a: 's,
    {
        let start = row * self.shape[1];
        let scratch = &mut scratch[..cols.len()];
        match self.values {
            Values::F32(values) => return &values[start + cols.start..start + cols.end],
            Values::Bf16(values) => {
                let values = &values[start + cols.start..start + cols.end];
                for (out, value) in scratch.iter_mut().zip(values) {
                    *out = f32::from_bits(u32::from(value.to_bits()) << 16);
                }
            }
            Values::Coded(values) => values.decode(row, cols, scratch),
        }
        scratch
    }

    /// As [`run`](Self::run), in bf16, and with a zero behind an odd number of values: a pointer to
    /// where they are stored, or to `rounded`.
    ///
    /// # Safety
    /// The processor has AVX-512 BF16.
    #[cfg(target_arch = "x86_64")]
    pub(super) unsafe fn run_bf16(
        &self,
        row: usize,
        cols: Range<usize>,
        decoded: &mut [f32],
        rounded: &mut [bf16],
    ) -> *const bf16 {
        if let Values::Bf16(values) = self.values
            && cols.len().is_multiple_of(2)
        {
            return values[row * self.shape[1]..][cols].as_ptr();
        }
        let len = cols.len();
        // SAFETY: the caller's.
        unsafe { self.copy_bf16(row, cols, decoded, &mut rounded[..len]) };
        if let Some(behind) = rounded.get_mut(len) {
            *behind = bf16::ZERO;
        }
        rounded.as_ptr()
    }

    /// The values `cols` of a row, in bf16.
    ///
    /// # Safety
    /// The processor has AVX-512 BF16.
    #[cfg(target_arch = "x86_64")]
    pub(super) unsafe fn copy_bf16(
        &self,
        row: usize,
        cols: Range<usize>,
        decoded: &mut [f32],
        out: &mut [bf16],
    ) {
        match self.values {
            Values::Bf16(values) => out.copy_from_slice(&values[row * self.shape[1]..][cols]),
            // SAFETY: the caller's.
            _ => unsafe { super::avx512::round(self.run(row, cols, decoded), out) },
        }
    }
}
