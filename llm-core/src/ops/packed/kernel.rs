//! Decoding of 4-bit codes in one pass, on every backend of CubeCL.

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;
use cubecl::std::tensor::layout::linear::{LinearView, LinearViewMut};

use crate::quant::BLOCK;

/// Codes in a word of 32 bits.
const CODES: usize = 8;

/// The values of whole blocks, flat: words of eight codes, code points, a scale for each block.
pub(super) fn decode_blocks(
    words: CubeTensor,
    points: CubeTensor,
    scales: CubeTensor,
) -> CubeTensor {
    let [words, points, scales] = [words, points, scales].map(into_contiguous);
    let count = words.meta.shape().num_elements();
    let output = empty_device_contiguous_dtype(
        words.client.clone(),
        words.device.clone(),
        [count * CODES].into(),
        scales.dtype,
    );
    let dim = CubeDim::new(&output.client, count);
    let cubes = calculate_cube_count_elemwise(&output.client, count, dim);
    // SAFETY: the kernel checks its word; there is a scale for each block, and room for every value.
    unsafe {
        decode_word::launch_unchecked(
            &output.client,
            cubes,
            dim,
            words.into_linear_view(),
            points.into_linear_view(),
            scales.into_linear_view(),
            output.clone().into_linear_view(),
            BLOCK / CODES,
        );
    }
    output
}

/// One word for each unit.
#[cube(launch_unchecked)]
fn decode_word(
    words: LinearView<'_, i32>,
    points: LinearView<'_, f32>,
    scales: LinearView<'_, f32>,
    mut output: LinearViewMut<'_, f32>,
    #[comptime] words_per_block: usize,
) {
    let word = ABSOLUTE_POS;
    if !words.is_in_bounds(word) {
        terminate!();
    }
    let codes = words.read(word);
    let scale = scales.read(word / words_per_block);
    #[unroll]
    for index in 0..8usize {
        let code = (codes >> (4 * index) as i32) & 15;
        output.write(word * 8 + index, points.read(code as usize) * scale);
    }
}
