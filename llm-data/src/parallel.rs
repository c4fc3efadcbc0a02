//! Work on a stream by all threads, in bounded memory and in order.

use std::panic::resume_unwind;
use std::sync::mpsc;
use std::thread;

use rayon::prelude::*;

/// How much of a stream is in memory at a time: four chunks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most items of a chunk; at least 1.
    pub items: usize,
    /// The weight (bytes, say) at which a chunk is full.
    pub weight: usize,
}

impl Default for Bounds {
    /// 1024 items or 4 MiB.
    fn default() -> Self {
        Self {
            items: 1024,
            weight: 4 << 20,
        }
    }
}

/// Gives `take` the items chunk by chunk, in their order, while a thread of its own reads ahead. Chunks end by
/// the sum of `weight`, and have one item at least.
///
/// ```
/// use llm_data::{Bounds, in_chunks};
///
/// let bounds = Bounds { items: 2, weight: 100 };
/// let mut chunks = Vec::new();
/// in_chunks([1, 2, 3, 200, 5], |item| *item, bounds, |chunk| {
///     chunks.push(chunk);
///     Ok::<_, llm_data::Error>(())
/// })?;
/// assert_eq!(chunks, [vec![1, 2], vec![3, 200], vec![5]]);
/// # Ok::<(), llm_data::Error>(())
/// ```
///
/// # Errors
/// The first of `take`, which ends the reading.
///
/// # Panics
/// As `items` does.
pub fn in_chunks<T: Send, E>(
    items: impl IntoIterator<Item = T, IntoIter: Send>,
    weight: impl Fn(&T) -> usize + Send,
    bounds: Bounds,
    mut take: impl FnMut(Vec<T>) -> Result<(), E>,
) -> Result<(), E> {
    let items = items.into_iter();
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(1);
        let reader = scope.spawn(move || {
            let (mut chunk, mut sum) = (Vec::new(), 0_usize);
            for item in items {
                sum = sum.saturating_add(weight(&item));
                chunk.push(item);
                if chunk.len() >= bounds.items || sum >= bounds.weight {
                    sum = 0;
                    // Nobody listens any more where `take` has failed.
                    if sender.send(std::mem::take(&mut chunk)).is_err() {
                        return;
                    }
                }
            }
            if !chunk.is_empty() {
                let _ = sender.send(chunk);
            }
        });
        let mut chunks = receiver.into_iter();
        let result = chunks.try_for_each(&mut take);
        // Whoever reads on sees that it is in vain.
        drop(chunks);
        match reader.join() {
            Ok(()) => result,
            Err(panic) => resume_unwind(panic),
        }
    })
}

/// Applies `work` to every item on the threads of the current rayon pool, while a thread reads ahead;
/// `take` gets what comes of them in the items' order. Memory is bounded as by [`in_chunks`].
///
/// # Errors
/// The first of `take`, which ends the reading.
///
/// # Panics
/// As `items` and `work` do.
pub fn in_order<T: Send, U: Send, E>(
    items: impl IntoIterator<Item = T, IntoIter: Send>,
    weight: impl Fn(&T) -> usize + Send,
    work: impl Fn(T) -> U + Sync,
    mut take: impl FnMut(U) -> Result<(), E>,
) -> Result<(), E> {
    in_chunks(items, weight, Bounds::default(), |chunk| {
        let done: Vec<U> = chunk.into_par_iter().map(&work).collect();
        done.into_iter().try_for_each(&mut take)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn results_come_in_order_on_any_number_of_threads() {
        for threads in [1, 2, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let mut taken = Vec::new();
            pool.build().unwrap().install(|| {
                let weight = |item: &usize| item % 7 * (Bounds::default().weight / 3);
                in_order(
                    0..5000_usize,
                    weight,
                    |item| item * 2,
                    |item| {
                        taken.push(item);
                        Ok::<_, Error>(())
                    },
                )
                .unwrap();
            });
            assert!(taken.into_iter().eq((0..5000).map(|item| item * 2)));
        }
    }

    #[test]
    fn an_error_ends_an_endless_stream() {
        let stop = |item: u64| match item {
            100_000 => Err(Error::NothingSupervised),
            _ => Ok(()),
        };
        let result = in_order(0.., |_| 1, |item| item, stop);
        assert!(matches!(result, Err(Error::NothingSupervised)));
    }

    #[test]
    fn a_panic_of_the_items_or_of_the_work_is_a_panic_and_no_wait() {
        let panics = |at: u64, in_work: bool| {
            let items = (0..).inspect(move |item| assert!(in_work || *item != at, "an item's"));
            let work = move |item| assert!(!in_work || item != at, "the work's");
            std::panic::catch_unwind(|| in_order(items, |_| 1, work, Ok::<_, Error>)).is_err()
        };
        assert!(panics(5000, true) && panics(5000, false));
    }
}
