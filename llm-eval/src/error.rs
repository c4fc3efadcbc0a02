//! The crate's one error type.

/// The result of this crate's operations.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can be wrong with what a figure is computed from.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Too little data for the figure.
    #[error("{what}: needs at least {needed}, there are {given}")]
    TooFew {
        /// What there is too little of.
        what: &'static str,
        /// The least that will do.
        needed: usize,
        /// What there is.
        given: usize,
    },
    /// Two lists that belong together differ in length.
    #[error("{what}: {left} and {right} differ in length")]
    Lengths {
        /// Which lists.
        what: &'static str,
        /// The length of the first.
        left: usize,
        /// The length of the second.
        right: usize,
    },
    /// An option outside its range.
    #[error("{name} = {value}: {reason}")]
    BadOption {
        /// The option.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it must be.
        reason: &'static str,
    },
    /// A value among the data that cannot be used.
    #[error("{what}, number {index} from 0, is {value}: {reason}")]
    BadValue {
        /// Which data.
        what: &'static str,
        /// The value's place in them, from 0.
        index: usize,
        /// The value.
        value: f64,
        /// What it must be.
        reason: &'static str,
    },
    /// A model that has no battles.
    #[error("the model {0:?} has no battles")]
    UnknownModel(String),
    /// A battle of a model against itself.
    #[error("a battle of the model {0:?} against itself")]
    SelfBattle(String),
    /// The data do not determine the figure.
    #[error("{what}: {reason}")]
    Undefined {
        /// The figure.
        what: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// A fit found no optimum.
    #[error("{what}: no convergence in {iterations} iterations; a larger `ridge` would help")]
    NotConverged {
        /// The fit.
        what: &'static str,
        /// How many iterations it had.
        iterations: usize,
    },
}
