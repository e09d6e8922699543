//! The pauses between attempts to deliver a message.

use std::time::Duration;

use rand::Rng;

use super::RetryPolicy;

/// The number of attempts and the pauses between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Pause after the first failure. Each further pause is four times as long.
    pub first: Duration,
    /// Longest pause, also if the receiver asks for a longer one.
    pub longest: Duration,
    /// Attempts after which a delivery is dead.
    pub attempts: i32,
}

impl Default for Backoff {
    /// Ten attempts over a day: after 10 s, 40 s, 3 min, 11 min, 43 min, 3 h, and then every 6 h.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(10),
            longest: Duration::from_hours(6),
            attempts: 10,
        }
    }
}

impl Backoff {
    /// The pause after attempt number `attempt` failed; `None` if that was the last.
    ///
    /// A random factor between 0.8 and 1.2 spreads messages that failed at the same time.
    pub fn pause(&self, attempt: i32, retry: RetryPolicy) -> Option<Duration> {
        if attempt >= self.attempts || retry == RetryPolicy::Never {
            return None;
        }
        let times = 4_u32.saturating_pow(u32::try_from(attempt - 1).unwrap_or(0));
        let pause = self.first.saturating_mul(times).min(self.longest);
        let pause = pause.mul_f64(rand::rng().random_range(0.8..1.2));
        Some(match retry {
            RetryPolicy::After(asked) => pause.max(asked.min(self.longest)),
            RetryPolicy::Later | RetryPolicy::Never => pause,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_after_the_last_attempt() {
        let backoff = Backoff::default();
        let within = |attempt, seconds: u64| {
            let pause = backoff.pause(attempt, RetryPolicy::Later).unwrap();
            let rule = Duration::from_secs(seconds);
            assert!(
                pause >= rule.mul_f64(0.79) && pause <= rule.mul_f64(1.21),
                "{pause:?}"
            );
        };
        for (attempt, seconds) in [(1, 10), (2, 40), (3, 160), (6, 10_240), (7, 21_600), (9, 21_600)] {
            within(attempt, seconds);
        }
        assert_eq!(backoff.pause(10, RetryPolicy::Later), None);
        assert_eq!(backoff.pause(1, RetryPolicy::Never), None);
    }

    #[test]
    fn receiver_can_ask_for_a_longer_pause_up_to_the_longest() {
        let backoff = Backoff::default();
        let asked = |seconds| {
            backoff
                .pause(1, RetryPolicy::After(Duration::from_secs(seconds)))
                .unwrap()
        };
        assert_eq!(asked(600), Duration::from_mins(10));
        assert!(
            asked(1) >= Duration::from_secs(8),
            "never shorter than the backoff"
        );
        assert_eq!(asked(1_000_000), Duration::from_hours(6));
    }
}
