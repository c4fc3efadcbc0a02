//! The mean in f32, rounded as torch rounds it.

/// torch adds in vectors of eight lanes, also where the CPU has wider ones.
const LANES: usize = 8;
/// Four independent vectors, which hide the latency of an addition.
const STRIDE: usize = 4 * LANES;
const LEVELS: usize = 4;

/// The mean, bit for bit what `torch.mean` returns on an x86 CPU with one thread.
///
/// With several threads torch splits sums of 32768 values and more among them, and its result
/// depends on their number. Source: `aten/src/ATen/native/cpu/SumKernel.cpp`.
pub(super) fn torch_mean(values: &[f32]) -> f32 {
    let sum = if values.len() < LANES {
        short_sum(values)
    } else {
        long_sum(values)
    };
    sum / values.len() as f32
}

/// Less than a vector: the same scheme with four scalars.
fn short_sum(values: &[f32]) -> f32 {
    let (quads, rest) = values.as_chunks::<4>();
    let quad = quads.first().copied().unwrap_or_default();
    rest.iter()
        .chain(&quad[1..])
        .fold(quad[0], |sum, value| sum + value)
}

fn long_sum(values: &[f32]) -> f32 {
    let (strides, rest) = values.as_chunks();
    let (vectors, tail) = rest.as_chunks();
    let sums = cascade(strides);
    let (sums, _) = sums.as_chunks::<LANES>();
    let mut lanes = sums[0];
    for vector in vectors.iter().chain(&sums[1..]) {
        add(&mut lanes, vector);
    }
    tail.iter()
        .chain(&lanes)
        .fold(0.0, |sum, value| sum + value)
}

/// Adds in runs, the runs in runs and so on, so that the rounding error grows with the logarithm
/// of the length.
fn cascade(strides: &[[f32; STRIDE]]) -> [f32; STRIDE] {
    let log2 = strides.len().next_power_of_two().trailing_zeros() as usize;
    let power = (log2 / LEVELS).max(4);
    let mut levels = [[0.0; STRIDE]; LEVELS];
    let runs = strides.chunks_exact(1 << power);
    let rest = runs.remainder();
    for (run, done) in runs.zip(1_usize..) {
        for stride in run {
            add(&mut levels[0], stride);
        }
        for level in 1..LEVELS {
            let lower = std::mem::replace(&mut levels[level - 1], [0.0; STRIDE]);
            add(&mut levels[level], &lower);
            let full = (done >> ((level - 1) * power)).is_multiple_of(1 << power);
            if !full {
                break;
            }
        }
    }
    for stride in rest {
        add(&mut levels[0], stride);
    }
    let [mut sum, higher @ ..] = levels;
    for level in &higher {
        add(&mut sum, level);
    }
    sum
}

fn add<const N: usize>(sum: &mut [f32; N], values: &[f32; N]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += value;
    }
}

#[cfg(test)]
mod tests {
    use super::torch_mean;

    /// (length, bits of `torch.mean`), printed by `tests/goldens/gen_int8_goldens.py`.
    const GOLDENS: [(usize, u32); 11] = [
        (1, 0x3c95f3ac),
        (7, 0x3ca73b9b),
        (8, 0x3c9282a8),
        (15, 0x3cb58a04),
        (33, 0x3cdab0cd),
        (127, 0x3d0a0651),
        (1000, 0x3d039156),
        (4096, 0x3d0125f4),
        (9999, 0x3cffd967),
        (32768, 0x3d01335e),
        (300001, 0x3d0049a6),
    ];

    #[test]
    fn equals_torch_bit_for_bit() {
        let values: Vec<_> = std::iter::successors(Some(1_u32), |x| {
            Some(x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223))
        })
        .skip(1)
        .map(|x| (x >> 8) as f32 / (1 << 24) as f32 - 0.5)
        .map(|u| (u * u * u).abs())
        .take(300_001)
        .collect();
        for (len, bits) in GOLDENS {
            assert_eq!(torch_mean(&values[..len]).to_bits(), bits, "{len} values");
        }
    }
}
