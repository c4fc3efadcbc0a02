//! Requests and tokens per minute.

use std::num::NonZeroU32;
use std::thread::sleep;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Token buckets, refilled steadily, that several threads share.
pub(crate) struct RateLimit {
    requests: Option<DefaultDirectRateLimiter>,
    tokens: Option<(DefaultDirectRateLimiter, NonZeroU32)>,
}

impl RateLimit {
    pub(crate) fn new(requests: Option<NonZeroU32>, tokens: Option<NonZeroU32>) -> Self {
        let limiter = |number| RateLimiter::direct(Quota::per_minute(number));
        Self {
            requests: requests.map(limiter),
            tokens: tokens.map(|number| (limiter(number), number)),
        }
    }

    /// Blocks until a request of `tokens` may be sent. One larger than the bucket takes all of it.
    pub(crate) fn wait(&self, tokens: u64) {
        let clock = DefaultClock::default();
        if let Some(requests) = &self.requests {
            while let Err(early) = requests.check() {
                sleep(early.wait_time_from(clock.now()));
            }
        }
        let Some((limiter, most)) = &self.tokens else {
            return;
        };
        let tokens = u32::try_from(tokens)
            .unwrap_or(u32::MAX)
            .clamp(1, most.get());
        let tokens = NonZeroU32::new(tokens).unwrap_or(*most);
        while let Ok(Err(early)) = limiter.check_n(tokens) {
            sleep(early.wait_time_from(clock.now()));
        }
    }
}
