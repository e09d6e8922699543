//! Amounts of money: exact decimals with two places, in JSON and in the database.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Serialize, Serializer};
use sqlx::{
    Decode, Encode, Postgres,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueFormat, PgValueRef},
};

/// An amount with two decimal places. In JSON it is a string, `"10.00"`: a float would round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
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

/// The longest text of cents in 64 bits.
const LONGEST: usize = "-92233720368547758.08".len();

impl Money {
    /// Writes the text of an amount of cents, because formatting a `Decimal` takes four times as long. `None` for other amounts.
    fn write(self, text: &mut [u8; LONGEST]) -> Option<&str> {
        let cents = i64::try_from(self.0.mantissa())
            .ok()
            .filter(|_| self.0.scale() == 2)?;
        let (mut rest, mut at) = (cents.unsigned_abs(), LONGEST);
        while rest > 0 || at > LONGEST - "0.00".len() {
            at -= 1;
            if at == LONGEST - ".00".len() {
                text[at] = b'.';
                continue;
            }
            text[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        if self.0.is_sign_negative() {
            at -= 1;
            text[at] = b'-';
        }
        str::from_utf8(&text[at..]).ok()
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.write(&mut [0; LONGEST]) {
            Some(text) => f.write_str(text),
            None => write!(f, "{:.2}", self.0),
        }
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.write(&mut [0; LONGEST]) {
            Some(text) => serializer.serialize_str(text),
            None => serializer.collect_str(self),
        }
    }
}

impl sqlx::Type<Postgres> for Money {
    fn type_info() -> PgTypeInfo {
        <Decimal as sqlx::Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Money {
    fn array_type_info() -> PgTypeInfo {
        Decimal::array_type_info()
    }
}

impl Encode<'_, Postgres> for Money {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        self.0.encode_by_ref(buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Money {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let cents = match value.format() {
            PgValueFormat::Binary => cents(value.as_bytes()?),
            PgValueFormat::Text => None,
        };
        match cents {
            Some(cents) => Ok(Self(Decimal::new(cents, 2))),
            None => Decimal::decode(value).map(Self),
        }
    }
}

/// The cents of a `numeric` in the binary format, because sqlx multiplies and adds decimals for each digit. `None` for an amount
/// that is not in cents, or too large.
fn cents(numeric: &[u8]) -> Option<i64> {
    const NEGATIVE: i16 = 0x4000;
    let mut words = numeric
        .chunks_exact(2)
        .map(|word| i16::from_be_bytes([word[0], word[1]]));
    let (_count, weight, sign, _scale) = (words.next()?, words.next()?, words.next()?, words.next()?);
    if sign != 0 && sign != NEGATIVE {
        return None;
    }
    // A digit is a number up to 9999. Those after the last are zero. That of `weight` 0 are the ones.
    let mut units = 0_i64;
    for _ in 0..=weight {
        let digit = words.next().unwrap_or(0);
        units = units.checked_mul(10_000)?.checked_add(digit.into())?;
    }
    let fraction = match weight {
        -1.. => words.next().unwrap_or(0),
        _ => 0,
    };
    if fraction % 100 != 0 || words.next().is_some() {
        return None;
    }
    let cents = units.checked_mul(100)?.checked_add(i64::from(fraction / 100))?;
    Some(if sign == NEGATIVE { -cents } else { cents })
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_and_decoding_are_those_of_decimal(mantissa in any::<i64>(), digits in 0..19_u32, scale in 0..6_u32) {
            let decimal = Decimal::new(mantissa / 10_i64.pow(digits), scale);
            prop_assert_eq!(Money(decimal).to_string(), format!("{decimal:.2}"));
            prop_assert_eq!(serde_json::to_value(Money(decimal)).unwrap(), format!("{decimal:.2}"));
            let mut buffer = PgArgumentBuffer::default();
            prop_assert!(matches!(Money(decimal).encode_by_ref(&mut buffer), Ok(IsNull::No)));
            let expected = (decimal.round_dp(2) == decimal).then_some(decimal);
            let found = cents(&buffer).map(|cents| Decimal::new(cents, 2));
            prop_assert!(found == expected || found.is_none() && mantissa.unsigned_abs() > 1 << 56, "{found:?} {decimal}");
        }
    }
}
