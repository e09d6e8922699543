//! Whole numbers from one upwards, of any size.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A whole number of at least one. An order may ask for more than any store can hold, or for a product that no database
/// could number, and is then rejected like any other, with the number it asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Natural {
    /// A number that the database can hold.
    Small(i64),
    /// The digits of one that it cannot, without leading zeros.
    Huge(Box<str>),
}

impl Natural {
    /// The number, where the database can hold it.
    #[must_use]
    pub fn small(&self) -> Option<i64> {
        match self {
            Self::Small(number) => Some(*number),
            Self::Huge(_) => None,
        }
    }
}

impl From<i64> for Natural {
    fn from(number: i64) -> Self {
        Self::Small(number)
    }
}

impl fmt::Display for Natural {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small(number) => number.fmt(f),
            Self::Huge(digits) => f.write_str(digits),
        }
    }
}

impl Ord for Natural {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Small(one), Self::Small(other)) => one.cmp(other),
            (Self::Small(_), Self::Huge(_)) => Ordering::Less,
            (Self::Huge(_), Self::Small(_)) => Ordering::Greater,
            (Self::Huge(one), Self::Huge(other)) => one.len().cmp(&other.len()).then_with(|| one.cmp(other)),
        }
    }
}

impl PartialOrd for Natural {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Serialize for Natural {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Small(number) => serializer.serialize_i64(*number),
            Self::Huge(digits) => RawValue::from_string(digits.to_string())
                .map_err(serde::ser::Error::custom)?
                .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Natural {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        match raw.get() {
            digits if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Err(serde::de::Error::custom("not a natural number"))
            }
            digits => Ok(digits
                .parse()
                .map_or_else(|_| Self::Huge(digits.into()), Self::Small)),
        }
    }
}

impl utoipa::PartialSchema for Natural {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::Integer)
            .minimum(Some(1))
            .into()
    }
}

impl utoipa::ToSchema for Natural {
    fn name() -> std::borrow::Cow<'static, str> {
        "Natural".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_keep_their_order_and_their_digits() {
        let numbers: Vec<Natural> =
            serde_json::from_str("[9,10,9223372036854775807,9223372036854775808,10000000000000000000000]")
                .unwrap();
        assert!(numbers.is_sorted());
        assert_eq!(numbers[2].small(), Some(i64::MAX));
        assert_eq!(numbers[3].small(), None);
        assert_eq!(
            serde_json::to_string(&numbers).unwrap(),
            "[9,10,9223372036854775807,9223372036854775808,10000000000000000000000]"
        );
    }
}
