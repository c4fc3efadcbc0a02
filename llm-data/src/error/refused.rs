//! Refusals of chat templates, gathered.

use super::list::SHOWN;
use super::{Error, Result};

/// The records that a chat template refused; the first ones are held.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    errors: Vec<Error>,
    total: usize,
}

impl Refused {
    pub(crate) fn push(&mut self, error: Error) {
        self.total += 1;
        if self.errors.len() < SHOWN {
            self.errors.push(error);
        }
    }

    /// An error where there are any: one alone as it is.
    pub(crate) fn check(mut self) -> Result<()> {
        match self.total {
            0 => Ok(()),
            1 => self.errors.pop().map_or(Ok(()), Err),
            total => Err(Error::Records {
                errors: self.errors,
                total,
            }),
        }
    }
}
