//! Several streams mixed by weight, the same way for the same seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::error::{Error, Result};

/// Names the ChaCha stream, so that another use of the same seed draws other numbers.
const STREAM: u64 = u64::from_be_bytes(*b"mixture.");

/// When a mixture ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stop {
    /// When all sources are read; each record comes once. Those that are left share the weights.
    #[default]
    AllExhausted,
    /// When a source is drawn that has nothing left, so that the weights hold to the end.
    FirstExhausted,
}

/// Draws from several iterators, each time from one chosen by weight with ChaCha8: the same order
/// for the same seed on every machine.
///
/// ```
/// use llm_data::{Mixture, Stop};
///
/// let sources = vec![(0..90, 0.9), (100..110, 0.1)];
/// let mixed: Vec<i32> = Mixture::new(sources, 42, Stop::AllExhausted)?.collect();
/// assert_eq!(mixed.len(), 100);
/// assert!(mixed.iter().filter(|&&n| n < 100).is_sorted());
/// # Ok::<(), llm_data::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Mixture<I> {
    sources: Vec<Source<I>>,
    rng: ChaCha8Rng,
    stop: Stop,
}

#[derive(Debug, Clone)]
struct Source<I> {
    records: I,
    /// 0 when it is exhausted.
    weight: f64,
}

impl<I: Iterator> Mixture<I> {
    /// Mixes the sources, each with its weight; the weights need not sum to 1.
    ///
    /// # Errors
    /// [`Error::Option`] for a weight that is not above 0 and finite.
    pub fn new(sources: Vec<(I, f64)>, seed: u64, stop: Stop) -> Result<Self> {
        let wrong = |weight: &f64| !(weight.is_finite() && *weight > 0.0);
        if let Some((_, weight)) = sources.iter().find(|(_, weight)| wrong(weight)) {
            return Err(Error::option("weight", "a number above 0", weight));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(STREAM);
        let source = |(records, weight)| Source { records, weight };
        Ok(Self {
            sources: sources.into_iter().map(source).collect(),
            rng,
            stop,
        })
    }

    /// A source by its weight; none when all are exhausted.
    fn draw(&mut self) -> Option<usize> {
        let live = |(_, source): &(usize, &Source<I>)| source.weight > 0.0;
        let sum: f64 = self.sources.iter().map(|source| source.weight).sum();
        // 53 bits: a number in [0, 1).
        let mut place = (self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * sum;
        let mut last = None;
        for (index, source) in self.sources.iter().enumerate().filter(live) {
            last = Some(index);
            if place < source.weight {
                break;
            }
            place -= source.weight;
        }
        last
    }
}

impl<I: Iterator> Iterator for Mixture<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let drawn = self.draw()?;
            if let Some(record) = self.sources[drawn].records.next() {
                return Some(record);
            }
            match self.stop {
                Stop::AllExhausted => self.sources[drawn].weight = 0.0,
                Stop::FirstExhausted => {
                    self.sources.clear();
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_the_weights_and_the_order_is_the_seeds() {
        let mix = |seed| {
            let sources = vec![
                (vec![0_usize; 100_000].into_iter(), 3.0),
                (vec![1; 100_000].into_iter(), 1.0),
            ];
            Mixture::new(sources, seed, Stop::FirstExhausted).unwrap()
        };
        let drawn: Vec<usize> = mix(7).collect();
        let share = drawn.iter().sum::<usize>() as f64 / drawn.len() as f64;
        // Three standard deviations of 133 000 draws at 1/4.
        assert!((share - 0.25).abs() < 0.0036, "{share}");
        assert!(drawn.len() > 100_000 && drawn.len() < 140_000);
        assert!(mix(7).eq(drawn.iter().copied()));
        assert!(!mix(8).eq(drawn));
    }

    #[test]
    fn every_record_comes_once_in_its_own_order() {
        let sources = vec![(0..5, 1e-9), (10..400, 1.0), (500..500, 2.0)];
        let mixed: Vec<i32> = Mixture::new(sources, 1, Stop::AllExhausted)
            .unwrap()
            .collect();
        let (low, high): (Vec<i32>, Vec<i32>) = mixed.into_iter().partition(|&n| n < 10);
        assert!(low.into_iter().eq(0..5) && high.into_iter().eq(10..400));
    }

    #[test]
    fn a_weight_must_be_a_number_above_zero() {
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mixture = Mixture::new(vec![(0..1, weight)], 0, Stop::AllExhausted);
            assert!(matches!(mixture, Err(Error::Option { .. })), "{weight}");
        }
    }
}
