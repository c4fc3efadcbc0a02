//! Random numbers, the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A seed's stream for one purpose: uses of the same seed for different purposes are independent.
pub(crate) fn stream(seed: u64, purpose: &[u8; 8]) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::from_be_bytes(*purpose));
    rng
}

/// A number from 0 to `n - 1`; its bias is below `n / 2^64`.
pub(crate) fn below(rng: &mut ChaCha8Rng, n: usize) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}
