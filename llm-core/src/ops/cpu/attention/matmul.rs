//! The small matrix product the attention is made of: a checked door to `gemm`.

use gemm::{Parallelism, gemm};

/// A strided matrix `[rows, cols]` over the beginning of `data`.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> View<'a> {
    /// Rows of `cols` contiguous elements, `stride` elements apart.
    pub(super) fn new(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        let extent = if rows == 0 {
            0
        } else {
            (rows - 1) * stride + cols
        };
        assert!(
            cols <= stride && extent <= data.len(),
            "the view exceeds its data"
        );
        Self {
            data,
            rows,
            cols,
            row_stride: stride,
            col_stride: 1,
        }
    }

    /// The same elements as a matrix `[cols, rows]`.
    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// `out = scale * lhs * rhs`, or `out += scale * lhs * rhs` when `accumulate`; `out` is row-major
/// and contiguous.
///
/// `gemm` is fastest where the rows of `rhs` are contiguous: others it copies first, element by
/// element, whereas it reads `lhs` in place in either order.
pub(super) fn matmul(out: &mut [f32], lhs: View, rhs: View, scale: f32, accumulate: bool) {
    assert_eq!(lhs.cols, rhs.rows, "the inner sizes differ");
    assert_eq!(
        out.len(),
        lhs.rows * rhs.cols,
        "the output has another size"
    );
    // SAFETY: `View::new` checked that every element of `lhs` and `rhs` lies in its slice, the
    // assertion above that `out` holds all of the product; as `&mut`, `out` overlaps neither.
    unsafe {
        gemm(
            lhs.rows,
            rhs.cols,
            lhs.cols,
            out.as_mut_ptr(),
            1,
            rhs.cols as isize,
            accumulate,
            lhs.data.as_ptr(),
            lhs.col_stride as isize,
            lhs.row_stride as isize,
            rhs.data.as_ptr(),
            rhs.col_stride as isize,
            rhs.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
