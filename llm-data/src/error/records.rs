//! Errors and the records that they are about.

use super::Error;

impl Error {
    /// The same error with other numbers for its records: number `n` becomes `numbers[n - 1]`, such
    /// as the file's own ([`Loaded::numbers`](crate::Loaded::numbers)). One without such a number
    /// stays.
    #[must_use]
    pub fn with_numbers(self, numbers: &[usize]) -> Self {
        let number = |record: usize| {
            let index = record.checked_sub(1);
            index.and_then(|index| numbers.get(index)).copied()
        };
        match self {
            Self::Record { record, source } => Self::Record {
                record: number(record).unwrap_or(record),
                source,
            },
            Self::Records { errors, total } => Self::Records {
                errors: errors
                    .into_iter()
                    .map(|error| error.with_numbers(numbers))
                    .collect(),
                total,
            },
            other => other,
        }
    }

    pub(crate) fn option(field: &'static str, expected: &'static str, got: impl ToString) -> Self {
        Self::Option {
            field,
            expected,
            got: got.to_string(),
        }
    }

    /// Whether a template refused one conversation, which says nothing about the next.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::ChatTemplateRefused { .. }
                | Self::ChatTemplateFailed { .. }
                | Self::NotAPrefix { .. }
                | Self::NoCalls { .. }
        )
    }

    pub(crate) fn of_record(self, record: usize) -> Self {
        Self::Record {
            record,
            source: Box::new(self),
        }
    }
}
