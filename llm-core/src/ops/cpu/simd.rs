//! Vector code without intrinsics: plain loops, compiled once for each instruction set.

/// Defines `$name`, which runs `$body::<FUSED>` compiled for the widest vectors of this machine;
/// `FUSED` says whether these have a fused multiply-add.
macro_rules! vectorised {
    ($(#[$doc:meta])* $visibility:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $body:ident) => {
        $(#[$doc])*
        $visibility fn $name($($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                fn avx512($($arg: $type),*) {
                    $body::<true>($($arg),*);
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $type),*) {
                    $body::<true>($($arg),*);
                }
                if is_x86_feature_detected!("avx512f") {
                    // SAFETY: this machine has the feature that `avx512` is compiled for.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: this machine has the features that `avx2` is compiled for.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $body::<{ cfg!(target_arch = "aarch64") }>($($arg),*);
        }
    };
}

pub(super) use vectorised;

/// `e^x` for `x` up to 88, within 2e-7 of it; zero below the normal numbers, NaN for NaN.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`; a polynomial (that of Cephes) gives `e^r`, and `n` goes
/// into the exponent.
#[inline(always)]
pub(super) fn exp<const FUSED: bool>(x: f32) -> f32 {
    /// Adding it leaves a number rounded to an integer in the low bits of the mantissa.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts: multiples of the first, of few bits, are exact.
    const LN_2: [f32; 2] = [355.0 / 512.0, -2.121_944_4e-4];
    const SMALLEST: f32 = -87.336_54;

    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = mul_add::<FUSED>(n, -LN_2[1], mul_add::<FUSED>(n, -LN_2[0], x));
    let mut p = 1.987_569_1e-4;
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        0.166_666_65,
        0.5,
    ] {
        p = mul_add::<FUSED>(p, r, coefficient);
    }
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    let result = mul_add::<FUSED>(p, r * r, r + 1.0) * power;
    if x < SMALLEST { 0.0 } else { result }
}

/// `a * b + c`, fused where the instruction exists: `f32::mul_add` is a slow call elsewhere.
#[inline(always)]
pub(super) fn mul_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate() {
        for step in -8700..=8800 {
            let x = step as f32 / 100.0;
            let expected = f64::from(x).exp();
            for result in [exp::<true>(x), exp::<false>(x)] {
                let error = (f64::from(result) / expected - 1.0).abs();
                assert!(error < 2e-7, "exp({x}) is {result}, not {expected}");
            }
        }
    }

    #[test]
    fn exp_vanishes_far_below_zero_and_keeps_nan() {
        for x in [-87.4, -1e4, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!([exp::<true>(x), exp::<false>(x)], [0.0, 0.0]);
        }
        assert!(exp::<true>(f32::NAN).is_nan() && exp::<false>(f32::NAN).is_nan());
    }
}
