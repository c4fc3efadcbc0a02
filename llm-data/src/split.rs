//! The seeded train/validation split.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Names the ChaCha stream, so that another use of the same seed draws other numbers.
const STREAM: u64 = u64::from_be_bytes(*b"datsplit");

/// Splits `n` records into training and validation indices, the same for the same seed on every
/// machine; each part keeps the records' order.
///
/// `validation_share` is the share of records held out, rounded to the nearest record; one record
/// at least stays for training. A share of 0, or one that is no number, holds out nothing.
///
/// ```
/// let (train, validation) = llm_data::split(10, 0.2, 42);
/// assert_eq!((train.len(), validation.len()), (8, 2));
/// ```
pub fn split(n: usize, validation_share: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    // The cast saturates: a share above 1 holds out all but one, one below 0 or NaN nothing.
    let held_out = ((n as f64 * validation_share).round() as usize).min(n.saturating_sub(1));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(STREAM);
    let mut order: Vec<usize> = (0..n).collect();
    for place in 0..held_out {
        let drawn = place + (rng.next_u64() % (n - place) as u64) as usize;
        order.swap(place, drawn);
    }
    let mut train = order.split_off(held_out);
    train.sort_unstable();
    order.sort_unstable();
    (train, order)
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn parts_are_disjoint_ordered_and_repeatable() {
        let (train, validation) = split(1000, 0.05, 7);
        assert_eq!((train.len(), validation.len()), (950, 50));
        assert!(train.is_sorted() && validation.is_sorted());
        let mut all = [train.clone(), validation.clone()].concat();
        all.sort_unstable();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        assert_eq!(split(1000, 0.05, 7), (train, validation.clone()));
        assert_ne!(split(1000, 0.05, 8).1, validation);
    }

    #[test]
    fn training_is_never_empty_and_no_share_holds_nothing_out() {
        for share in [0.0, -1.0, f64::NAN] {
            assert_eq!(split(3, share, 0), (vec![0, 1, 2], vec![]));
        }
        for share in [1.0, 7.0, f64::INFINITY] {
            assert_eq!(split(3, share, 0).0.len(), 1);
        }
        assert_eq!(split(1, 0.9, 0), (vec![0], vec![]));
        assert_eq!(split(0, 0.5, 0), (vec![], vec![]));
    }

    #[test]
    fn the_split_of_a_seed_never_changes() {
        assert_eq!(split(10, 0.3, 42).1, [0, 7, 9]);
    }
}
