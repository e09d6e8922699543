//! Timestamps in the format that clients read.

use std::fmt;

use chrono::{DateTime, Datelike, Timelike, Utc};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// A timestamp in UTC. In JSON `2024-01-15T10:30:00.123456Z`; without a fraction if the microseconds are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ToSchema, sqlx::Type)]
#[sqlx(transparent)]
#[schema(value_type = String, format = DateTime, description = "A timestamp in UTC.")]
pub struct Timestamp(pub DateTime<Utc>);

const LONGEST: usize = "2024-01-15T10:30:00.123456Z".len();
const WHOLE_SECONDS: usize = "2024-01-15T10:30:00".len();

impl Timestamp {
    /// Writes the text digit by digit, because `DateTime::format` takes a tenth of the time of a list. `None` for years without four
    /// digits and for leap seconds.
    fn write(self, text: &mut [u8; LONGEST]) -> Option<&str> {
        let time = self.0.naive_utc();
        let year = u32::try_from(time.year()).ok().filter(|year| *year <= 9999)?;
        let microseconds =
            Some(time.nanosecond() / 1_000).filter(|microseconds| *microseconds < 1_000_000)?;
        text.copy_from_slice(b"0000-00-00T00:00:00.000000Z");
        put(&mut text[..4], year);
        put(&mut text[5..7], time.month());
        put(&mut text[8..10], time.day());
        put(&mut text[11..13], time.hour());
        put(&mut text[14..16], time.minute());
        put(&mut text[17..19], time.second());
        if microseconds == 0 {
            text[WHOLE_SECONDS] = b'Z';
            return str::from_utf8(&text[..=WHOLE_SECONDS]).ok();
        }
        put(&mut text[20..26], microseconds);
        str::from_utf8(text).ok()
    }

    /// The text of any timestamp.
    fn format(self) -> String {
        let format = if self.0.nanosecond() < 1_000 {
            "%Y-%m-%dT%H:%M:%SZ"
        } else {
            "%Y-%m-%dT%H:%M:%S%.6fZ"
        };
        self.0.format(format).to_string()
    }
}

/// Writes the last digits of a number.
fn put(digits: &mut [u8], mut number: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.write(&mut [0; LONGEST]) {
            Some(text) => f.write_str(text),
            None => f.write_str(&self.format()),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.write(&mut [0; LONGEST]) {
            Some(text) => serializer.serialize_str(text),
            None => serializer.serialize_str(&self.format()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_is_that_of_chrono(seconds in -70_000_000_000_i64..300_000_000_000, micros in 0..1_000_000_u32) {
            for nanos in [0, micros * 1_000, micros * 1_000 + 999] {
                let timestamp = Timestamp(DateTime::from_timestamp(seconds, nanos).unwrap());
                prop_assert_eq!(timestamp.to_string(), timestamp.format());
                prop_assert_eq!(serde_json::to_value(timestamp).unwrap(), timestamp.format());
            }
        }
    }

    #[test]
    fn fraction_has_six_digits_or_is_absent() {
        let at = |nanos| Timestamp(DateTime::from_timestamp(1_705_314_600, nanos).unwrap()).to_string();
        assert_eq!(at(0), "2024-01-15T10:30:00Z");
        assert_eq!(at(120_000), "2024-01-15T10:30:00.000120Z");
    }
}
