//! Amounts of money: exact decimals with two places, in JSON and in the database.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};

/// An amount with two decimal places. In JSON it is a string, `"10.00"`: a float would round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, sqlx::Type)]
#[sqlx(transparent)]
pub struct Money(pub Decimal);

impl Money {
    /// Zero.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// The amount multiplied by `quantity`; `None` on overflow.
    pub fn times(self, quantity: i32) -> Option<Self> {
        self.0.checked_mul(Decimal::from(quantity)).map(Self)
    }

    /// The sum of two amounts; `None` on overflow.
    pub fn plus(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.0)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl utoipa::PartialSchema for Money {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .pattern(Some(r"^\d+\.\d{2}$"))
            .description(Some("An amount of money with two decimals."))
            .examples([serde_json::json!("10.00")])
            .into()
    }
}

impl utoipa::ToSchema for Money {}
