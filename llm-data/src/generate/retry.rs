//! Asking again after a failure that may pass.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};

use super::model::{ModelError, ModelErrorKind};

/// When and how often a question is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often, after the first attempt. A reply that is malformed or too long is asked for once
    /// more at most.
    pub max_retries: usize,
    /// The first wait; it doubles each time, and up to as much again is added by chance.
    pub min_delay: Duration,
    /// The longest wait before the part added by chance.
    pub max_delay: Duration,
    /// The longest `Retry-After` that is waited for, and the part added by chance; with a longer one the
    /// question fails at once.
    pub max_retry_after: Duration,
}

impl Default for RetryPolicy {
    /// Six times, from 1 s to 60 s; a `Retry-After` of up to 5 min.
    fn default() -> Self {
        Self {
            max_retries: 6,
            min_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
            max_retry_after: Duration::from_secs(300),
        }
    }
}

impl RetryPolicy {
    /// Calls `attempt` until it succeeds, fails for good, or the retries are used up. `cancelled`
    /// ends a wait early.
    pub(crate) fn run<T, E: AsModelError>(
        &self,
        cancelled: impl Fn() -> bool,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut delays = ExponentialBuilder::new()
            .with_min_delay(self.min_delay)
            .with_max_delay(self.max_delay)
            .with_max_times(self.max_retries)
            .with_jitter()
            .build();
        let (mut unreadable, mut least) = (0, self.min_delay);
        loop {
            let error = match attempt() {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let Some(failure) = error.as_model_error().filter(|f| f.kind.retryable()) else {
                return Err(error);
            };
            if matches!(
                failure.kind,
                ModelErrorKind::Malformed | ModelErrorKind::BodyTooLarge
            ) {
                unreadable += 1;
            }
            let asked = failure.retry_after.unwrap_or_default();
            let Some(delay) = delays.next() else {
                return Err(error);
            };
            if unreadable > 1 || asked > self.max_retry_after {
                return Err(error);
            }
            // The part by chance is added to what the server asks, too: it asks many at the same time.
            let chance = delay.saturating_sub(least);
            least = least.saturating_mul(2).min(self.max_delay);
            let delay = delay.max(asked.saturating_add(chance));
            tracing::debug!(error = %failure, ?delay, "asking again");
            if !sleep(delay, &cancelled) {
                return Err(error);
            }
        }
    }
}

/// An error that may be a model's.
pub(crate) trait AsModelError {
    fn as_model_error(&self) -> Option<&ModelError>;
}

impl AsModelError for ModelError {
    fn as_model_error(&self) -> Option<&ModelError> {
        Some(self)
    }
}

impl AsModelError for crate::Error {
    fn as_model_error(&self) -> Option<&ModelError> {
        match self {
            Self::Model { source } => Some(source),
            _ => None,
        }
    }
}

/// Whether the whole time passed.
fn sleep(delay: Duration, cancelled: &impl Fn() -> bool) -> bool {
    let begin = Instant::now();
    loop {
        if cancelled() {
            return false;
        }
        let left = delay.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The waits before each of the attempts but the first, all of which fail.
    fn waits(policy: RetryPolicy, error: &ModelError) -> Vec<Duration> {
        let mut last = Instant::now();
        let mut waits = Vec::new();
        let failed: Result<(), ModelError> = policy.run(
            || false,
            || {
                waits.push(last.elapsed());
                last = Instant::now();
                Err(error.clone())
            },
        );
        assert!(failed.is_err());
        waits.split_off(1)
    }

    fn error(kind: ModelErrorKind) -> ModelError {
        ModelError::new(kind, "busy")
    }

    #[test]
    fn waits_double_up_to_their_limit_with_a_part_by_chance() {
        let policy = RetryPolicy {
            max_retries: 12,
            min_delay: Duration::from_millis(1),
            max_delay: Duration::from_millis(8),
            ..RetryPolicy::default()
        };
        let waits = waits(policy, &error(ModelErrorKind::Server(503)));
        assert_eq!(waits.len(), 12);
        for (wait, least) in waits.iter().zip([1, 2, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8]) {
            assert!(*wait >= Duration::from_millis(least), "{waits:?}");
        }
        // Without the limit they would take over four seconds.
        let all: Duration = waits.iter().sum();
        assert!(all < Duration::from_secs(2), "{waits:?}");
        let by_chance = |wait: &Duration| *wait >= Duration::from_micros(8_500);
        assert!(waits[3..].iter().any(by_chance), "{waits:?}");
    }

    #[test]
    fn what_the_server_asks_for_is_waited_for_and_a_part_by_chance() {
        let policy = RetryPolicy {
            max_retries: 8,
            min_delay: Duration::from_millis(16),
            max_delay: Duration::from_millis(16),
            ..RetryPolicy::default()
        };
        let asked = Duration::from_millis(20);
        let mut busy = error(ModelErrorKind::RateLimited);
        busy.retry_after = Some(asked);
        let waits = waits(policy, &busy);
        assert!(waits.iter().all(|wait| *wait >= asked), "{waits:?}");
        let by_chance = |wait: &Duration| *wait >= asked + Duration::from_millis(2);
        assert!(waits.iter().any(by_chance), "{waits:?}");
    }

    #[test]
    fn what_will_not_pass_is_not_asked_again_and_what_cannot_be_read_once() {
        let policy = RetryPolicy {
            min_delay: Duration::ZERO,
            max_delay: Duration::ZERO,
            ..RetryPolicy::default()
        };
        assert!(waits(policy, &error(ModelErrorKind::Refused(400))).is_empty());
        assert_eq!(waits(policy, &error(ModelErrorKind::Malformed)).len(), 1);
    }
}
