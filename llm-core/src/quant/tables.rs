//! Code points, as bitsandbytes defines them; all computed at compile time.

/// The code points of a 4-bit format.
pub(super) struct Codebook {
    /// bitsandbytes' name of the format.
    pub(super) name: &'static str,
    /// The value of each code, in [-1, 1].
    pub(super) values: [f32; 16],
    /// The codes in ascending order of their values.
    by_value: [u8; 16],
    /// Half-way between neighbours of `by_value`.
    bounds: [f32; 15],
}

impl Codebook {
    const fn new(name: &'static str, values: [f32; 16], by_value: [u8; 16]) -> Self {
        let mut bounds = [0.0; 15];
        let mut i = 0;
        while i < 15 {
            bounds[i] = (values[by_value[i] as usize] + values[by_value[i + 1] as usize]) / 2.0;
            i += 1;
        }
        Self {
            name,
            values,
            by_value,
            bounds,
        }
    }

    /// The nearest code of each value, the lower one half-way.
    ///
    /// Bounds outside, values inside: the compiler vectorises over the values.
    pub(super) fn nearest<const N: usize>(&self, values: &[f32; N]) -> [u8; N] {
        let mut ranks = [0_i32; N];
        for bound in self.bounds {
            for (rank, value) in ranks.iter_mut().zip(values) {
                *rank += i32::from(*value > bound);
            }
        }
        ranks.map(|rank| self.by_value[rank as usize])
    }
}

/// `get_4bit_type("nf4")`.
pub(super) static NF4: Codebook = Codebook::new(
    "nf4",
    [
        -1.0,
        -0.696_192_8,
        -0.525_073_05,
        -0.394_917_5,
        -0.284_441_38,
        -0.184_773_43,
        -0.091_050_036,
        0.0,
        0.079_580_3,
        0.160_930_2,
        0.246_112_3,
        0.337_915_24,
        0.440_709_83,
        0.562_617,
        0.722_956_84,
        1.0,
    ],
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
);

/// `get_4bit_type("fp4")`. Codes 0 and 8 are both zero: their order decides which one a zero
/// and which one a tiny positive value gets.
pub(super) static FP4: Codebook = {
    let mut values = [
        0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0, 0.0, -0.0625, -8.0, -12.0, -4.0, -6.0, -2.0,
        -3.0,
    ];
    let mut i = 0;
    while i < 16 {
        values[i] /= 12.0;
        i += 1;
    }
    Codebook::new(
        "fp4",
        values,
        [11, 10, 13, 12, 15, 14, 9, 0, 8, 1, 6, 7, 4, 5, 2, 3],
    )
};

/// `create_dynamic_map(signed=True)`, ascending: seven decades up to 1, the decade that ends at
/// 10^-k split into 2^(6-k) equal parts whose centres are the points; their negatives; 0 and 1.
pub(super) static DYNAMIC: [f32; 256] = {
    const DECADES: [f32; 7] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];
    let mut map = [0.0; 256];
    map[255] = 1.0;
    let mut decade = 0;
    while decade < DECADES.len() {
        let parts = 1 << decade;
        let mut part = 0;
        while part < parts {
            let centre = (linspace(part, parts) + linspace(part + 1, parts)) / 2.0;
            let point = DECADES[decade] * centre;
            let rank = parts + part;
            map[127 + rank] = point;
            map[127 - rank] = -point;
            part += 1;
        }
        decade += 1;
    }
    map
};

/// Half-way between neighbours.
static DYNAMIC_BOUNDS: [f32; 255] = {
    let mut bounds = [0.0; 255];
    let mut i = 0;
    while i < 255 {
        bounds[i] = 0.5 * (DYNAMIC[i] + DYNAMIC[i + 1]);
        i += 1;
    }
    bounds
};

/// Point `i` of `torch.linspace(0.1, 1, parts + 1)`, which fills each half from its own end with
/// a fused multiply-add; f64 holds the product exactly.
const fn linspace(i: usize, parts: usize) -> f32 {
    const START: f32 = 0.1;
    let step = ((1.0 - START) / parts as f32) as f64;
    if i < parts.div_ceil(2) {
        (START as f64 + step * i as f64) as f32
    } else {
        (1.0 - step * (parts - i) as f64) as f32
    }
}

/// The code of a scale's deviation from the mean, in units of the largest deviation.
///
/// bitsandbytes looks it up in a table of 65536 steps over [-1, 1], so it is the point nearest to
/// the step, which is not always the one nearest to the value.
pub(super) fn nearest_dynamic(value: f32) -> u8 {
    const STEPS: f32 = 65535.0;
    let step = ((value.clamp(-1.0, 1.0) + 1.0) * 0.5 * STEPS + 0.5).floor();
    let value = -1.0 + 2.0 * step / STEPS;
    DYNAMIC_BOUNDS.partition_point(|bound| *bound < value) as u8
}
