//! What training takes its samples from.

use std::borrow::Cow;

use crate::encode::Sample;
use crate::error::{Error, Result};

/// Samples by their number. More may come while encoding runs.
pub trait Samples: Send + Sync {
    /// Waits until there are `count` samples at least, or all.
    ///
    /// # Errors
    /// What has gone wrong with the samples to come.
    fn wait_for(&self, count: usize) -> Result<Ready>;

    /// The sample of this number, from 0.
    ///
    /// # Errors
    /// Where there is no such sample yet.
    fn get(&self, index: usize) -> Result<Cow<'_, Sample>>;

    /// No sample has more tokens.
    fn longest(&self) -> usize;

    /// Waits for all samples: how many there are.
    ///
    /// # Errors
    /// As [`wait_for`](Self::wait_for).
    fn count(&self) -> Result<usize> {
        Ok(self.wait_for(usize::MAX)?.count)
    }
}

/// How many samples there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// So many.
    pub count: usize,
    /// Whether these are all.
    pub all: bool,
}

impl Samples for [Sample] {
    fn wait_for(&self, _: usize) -> Result<Ready> {
        Ok(Ready {
            count: self.len(),
            all: true,
        })
    }

    fn get(&self, index: usize) -> Result<Cow<'_, Sample>> {
        let sample = <[Sample]>::get(self, index);
        let absent = || Error::NoSample {
            index,
            count: self.len(),
        };
        sample.map(Cow::Borrowed).ok_or_else(absent)
    }

    fn longest(&self) -> usize {
        let lengths = self.iter().map(|sample| sample.input_ids.len());
        lengths.max().unwrap_or(0)
    }
}

impl Samples for Vec<Sample> {
    fn wait_for(&self, count: usize) -> Result<Ready> {
        self.as_slice().wait_for(count)
    }

    fn get(&self, index: usize) -> Result<Cow<'_, Sample>> {
        Samples::get(self.as_slice(), index)
    }

    fn longest(&self) -> usize {
        self.as_slice().longest()
    }
}

impl<T: Samples + ?Sized> Samples for &T {
    fn wait_for(&self, count: usize) -> Result<Ready> {
        (**self).wait_for(count)
    }

    fn get(&self, index: usize) -> Result<Cow<'_, Sample>> {
        (**self).get(index)
    }

    fn longest(&self) -> usize {
        (**self).longest()
    }
}
