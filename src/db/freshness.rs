//! How fresh the data of a replica is, and which writes it has.
//!
//! Once in a while the primary is asked for its time and the end of its log, which is a sample. A replica that has replayed the
//! log up to a sample has every write that was acknowledged before the sample was asked for.

use std::{
    collections::VecDeque,
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

/// Time between samples.
pub(super) const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// Allows for clocks of servers that run at slightly different speeds between two samples.
const CLOCK_MARGIN: u64 = 1_000;

/// A place in the log of PostgreSQL, in bytes.
pub(super) type Lsn = u64;

/// A time of the primary's clock, in microseconds since 1970. All servers share that clock, so one server may give a client the
/// time of its last write, and another one wait until a replica has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Position {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// What the primary answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// When it was asked, by the clock of this process.
    pub asked: Instant,
    /// The time of the primary.
    pub at: u64,
    /// Everything before this place is durable.
    pub lsn: Lsn,
}

/// A write whose effects a client must see.
#[derive(Clone, Copy, Debug)]
pub(super) enum Write {
    /// Through this process.
    Here(Instant),
    /// Through any server.
    Anywhere(Position),
}

/// The latest samples, the oldest first.
#[derive(Debug)]
pub(super) struct Samples {
    samples: VecDeque<Sample>,
    most: usize,
}

impl Samples {
    /// Keeps samples for longer than a replica may be behind.
    pub fn new(max_lag: Duration) -> Self {
        let most = max_lag.as_millis() / SAMPLE_EVERY.as_millis() + 20;
        Self {
            samples: VecDeque::new(),
            most: usize::try_from(most).unwrap_or(usize::MAX),
        }
    }

    /// Adds the latest sample. A log or a clock that goes back belongs to a new primary, which the older samples say nothing
    /// about.
    pub fn add(&mut self, sample: Sample) {
        let goes_back = |last: &Sample| sample.lsn < last.lsn || sample.at < last.at;
        if self.samples.back().is_some_and(goes_back) {
            self.samples.clear();
        }
        if self.samples.len() == self.most {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The time of the primary after everything that has happened so far; `None` before the first sample.
    pub fn position(&self, now: Instant) -> Option<Position> {
        let last = self.samples.back()?;
        let passed = u64::try_from((now - last.asked).as_micros()).unwrap_or(u64::MAX);
        Some(Position(
            last.at.saturating_add(passed).saturating_add(CLOCK_MARGIN),
        ))
    }

    /// How far a replica must have replayed the log to have `write`; `None` if no sample tells.
    pub fn required(&self, write: Write) -> Option<Lsn> {
        let covering = self.samples.partition_point(|sample| match write {
            Write::Here(when) => sample.asked < when,
            Write::Anywhere(Position(time)) => sample.at < time,
        });
        self.samples.get(covering).map(|sample| sample.lsn)
    }

    /// How old the data of a replica is that has replayed the log up to `lsn`; `None` if it is older than all samples.
    pub fn lag(&self, lsn: Lsn, now: Instant) -> Option<Duration> {
        let replayed = self.samples.partition_point(|sample| sample.lsn <= lsn);
        let last = self.samples.get(replayed.checked_sub(1)?)?;
        Some(now - last.asked)
    }

    /// Writes through this process before this time are in every replica that is fresh enough.
    pub fn beginning(&self) -> Option<Instant> {
        (self.samples.len() == self.most).then(|| self.samples[0].asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples at 0, 1 and 2 seconds; the clock of the primary is 50 seconds ahead, and its log grows by 10 bytes.
    fn samples(begin: Instant) -> Samples {
        let mut samples = Samples::new(Duration::ZERO);
        for second in 0..3 {
            samples.add(Sample {
                asked: begin + Duration::from_secs(second),
                at: (50 + second) * 1_000_000,
                lsn: second * 10,
            });
        }
        samples
    }

    #[test]
    fn write_is_covered_by_the_first_sample_asked_for_after_it() {
        let begin = Instant::now();
        let samples = samples(begin);
        let after = |milliseconds| Write::Here(begin + Duration::from_millis(milliseconds));
        assert_eq!(samples.required(after(0)), Some(0));
        assert_eq!(samples.required(after(1)), Some(10));
        assert_eq!(samples.required(after(1000)), Some(10));
        assert_eq!(samples.required(after(1001)), Some(20));
        assert_eq!(samples.required(after(2001)), None);
    }

    #[test]
    fn position_of_a_write_is_covered_only_by_later_samples() {
        let begin = Instant::now();
        let mut samples = samples(begin);
        let position = samples.position(begin + Duration::from_millis(2500)).unwrap();
        assert_eq!(position, Position(52_501_000));
        assert_eq!(position.to_string().parse(), Ok(position));
        assert_eq!(samples.required(Write::Anywhere(position)), None);
        samples.add(Sample {
            asked: begin + Duration::from_secs(3),
            at: 53_000_000,
            lsn: 30,
        });
        assert_eq!(samples.required(Write::Anywhere(position)), Some(30));
        assert_eq!(samples.required(Write::Anywhere(Position(0))), Some(0));
    }

    #[test]
    fn samples_of_a_former_primary_are_dropped() {
        let begin = Instant::now();
        let mut samples = samples(begin);
        samples.add(Sample {
            asked: begin + Duration::from_secs(3),
            at: 53_000_000,
            lsn: 5,
        });
        assert_eq!(samples.required(Write::Here(begin)), Some(5));
        assert_eq!(samples.lag(4, begin + Duration::from_secs(4)), None);
    }

    #[test]
    fn lag_is_the_age_of_the_last_replayed_sample() {
        let begin = Instant::now();
        let samples = samples(begin);
        let now = begin + Duration::from_secs(3);
        assert_eq!(samples.lag(25, now), Some(Duration::from_secs(1)));
        assert_eq!(samples.lag(19, now), Some(Duration::from_secs(2)));
        assert_eq!(samples.lag(0, now), Some(Duration::from_secs(3)));
        assert_eq!(Samples::new(Duration::ZERO).lag(7, now), None);
    }
}
