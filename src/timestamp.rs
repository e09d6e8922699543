//! Timestamps in the format that clients read.

use std::{borrow::Cow, fmt};

use chrono::{DateTime, Timelike, Utc};
use serde::{Serialize, Serializer};

/// A timestamp in UTC. In JSON `2024-01-15T10:30:00.123456Z`; without a fraction if the microseconds are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
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

impl utoipa::PartialSchema for Timestamp {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .format(Some(utoipa::openapi::SchemaFormat::KnownFormat(
                utoipa::openapi::KnownFormat::DateTime,
            )))
            .description(Some("A moment in UTC."))
            .into()
    }
}

impl utoipa::ToSchema for Timestamp {
    fn name() -> Cow<'static, str> {
        "Timestamp".into()
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
