//! Work on a stream by all threads, in bounded memory and in order.

use std::sync::mpsc;
use std::thread;

use rayon::prelude::*;

use crate::error::Result;

/// The most items of a chunk.
const ITEMS: usize = 1024;
/// The weight at which a chunk is full.
const WEIGHT: usize = 4 << 20;
/// Chunks that are read ahead.
const AHEAD: usize = 2;

/// Applies `work` to every item on the threads of the current rayon pool, while a thread reads ahead;
/// `take` gets what comes of them in the items' order. A chunk of items is in memory at a time, and those
/// read ahead: chunks end by the sum of `weight` (bytes, say).
///
/// # Errors
/// The first of `take`, which ends the reading.
pub(crate) fn in_order<T: Send, U: Send>(
    items: impl Iterator<Item = T> + Send,
    weight: impl Fn(&T) -> usize + Send,
    work: impl Fn(T) -> U + Sync,
    mut take: impl FnMut(U) -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        let (sender, chunks) = mpsc::sync_channel(AHEAD);
        scope.spawn(move || {
            let mut items = items.peekable();
            while items.peek().is_some() {
                let mut sum = 0;
                let fits = |item: &T| {
                    let fits = sum < WEIGHT;
                    sum += weight(item);
                    fits
                };
                let chunk: Vec<T> = chunk(&mut items, fits);
                // Nobody listens any more where `take` has failed.
                if sender.send(chunk).is_err() {
                    return;
                }
            }
        });
        for chunk in chunks {
            let chunk: Vec<T> = chunk;
            let done: Vec<U> = chunk.into_par_iter().map(&work).collect();
            for result in done {
                take(result)?;
            }
        }
        Ok(())
    })
}

/// Items as long as they fit; one at least.
fn chunk<T>(
    items: &mut std::iter::Peekable<impl Iterator<Item = T>>,
    mut fits: impl FnMut(&T) -> bool,
) -> Vec<T> {
    let mut chunk = Vec::new();
    while chunk.len() < ITEMS {
        match items.next_if(|item| fits(item)) {
            Some(item) => chunk.push(item),
            None => break,
        }
    }
    chunk
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
                let weight = |item: &usize| item % 7 * (WEIGHT / 3);
                in_order(
                    0..5000_usize,
                    weight,
                    |item| item * 2,
                    |item| {
                        taken.push(item);
                        Ok(())
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
}
