//! Timestamps in the format that clients read.

use std::fmt;

use chrono::{DateTime, Timelike, Utc};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// A timestamp in UTC. In JSON `2024-01-15T10:30:00.123456Z`; without a fraction if the microseconds are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ToSchema, sqlx::Type)]
#[sqlx(transparent)]
#[schema(value_type = String, format = DateTime, description = "A timestamp in UTC.")]
pub struct Timestamp(pub DateTime<Utc>);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = if self.0.nanosecond() < 1_000 {
            "%Y-%m-%dT%H:%M:%SZ"
        } else {
            "%Y-%m-%dT%H:%M:%S%.6fZ"
        };
        write!(f, "{}", self.0.format(format))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fraction_has_six_digits_or_is_absent() {
        let at = |nanos| Timestamp(DateTime::from_timestamp(1_705_314_600, nanos).unwrap()).to_string();
        assert_eq!(at(0), "2024-01-15T10:30:00Z");
        assert_eq!(at(120_000), "2024-01-15T10:30:00.000120Z");
    }
}
