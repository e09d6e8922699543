//! How long to wait before a message is sent again.

use std::time::Duration;

use rand::Rng;

use super::Again;

/// Attempts and the pauses between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure. Each further pause is four times as long.
    pub first: Duration,
    /// No pause is longer, not even one that the receiver asks for.
    pub longest: Duration,
    /// How often a message is sent before it is given up.
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
    /// It is up to a fifth shorter or longer than the rule says, so that what failed together does not come back together.
    #[must_use]
    pub fn pause(&self, attempt: i32, again: Again) -> Option<Duration> {
        if attempt >= self.attempts || again == Again::Never {
            return None;
        }
        let times = 4_u32.saturating_pow(u32::try_from(attempt - 1).unwrap_or(0));
        let pause = self.first.saturating_mul(times).min(self.longest);
        let pause = pause.mul_f64(rand::rng().random_range(0.8..1.2));
        Some(match again {
            Again::After(asked) => pause.max(asked.min(self.longest)),
            Again::Later | Again::Never => pause,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_longest_and_end_after_the_last_attempt() {
        let backoff = Backoff::default();
        let within = |attempt, seconds: u64| {
            let pause = backoff.pause(attempt, Again::Later).unwrap();
            let rule = Duration::from_secs(seconds);
            assert!(
                pause >= rule.mul_f64(0.79) && pause <= rule.mul_f64(1.21),
                "{pause:?}"
            );
        };
        for (attempt, seconds) in [(1, 10), (2, 40), (3, 160), (6, 10_240), (7, 21_600), (9, 21_600)] {
            within(attempt, seconds);
        }
        assert_eq!(backoff.pause(10, Again::Later), None);
        assert_eq!(backoff.pause(1, Again::Never), None);
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_pause_within_reason() {
        let backoff = Backoff::default();
        let asked = |seconds| {
            backoff
                .pause(1, Again::After(Duration::from_secs(seconds)))
                .unwrap()
        };
        assert_eq!(asked(600), Duration::from_mins(10));
        assert!(
            asked(1) >= Duration::from_secs(8),
            "never sooner than the rule says"
        );
        assert_eq!(asked(1_000_000), Duration::from_hours(6));
    }
}
