//! Why a change of a stock row is refused.

use std::borrow::Cow;

use serde::Serialize;
use utoipa::ToSchema;

use super::StockRow;

/// Why a change of a stock row is refused, with the facts that the client needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub code: RefusalCode,
    /// The current quantity, if the reason concerns it.
    pub quantity: Option<i32>,
    /// The reserved units, if they are the reason.
    pub reserved: Option<i32>,
    /// The committed units, if they are the reason.
    pub committed: Option<i32>,
    /// The stock row, if the request names others too.
    pub inventory_id: Option<i64>,
    /// The movement that is the reason.
    pub movement_id: Option<i64>,
}

/// The reason as a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// The quantity is not the expected one.
    StaleQuantity,
    /// There are fewer units than the change removes.
    InsufficientStock,
    /// The quantity would fall below the reserved units.
    Reserved,
    /// The quantity would exceed 2147483647.
    ExceedsQuantity,
    /// Orders refer to the row, so it keeps its store and product; or it has reserved or committed units.
    InUse,
    /// There is no such stock row, or none that the caller may see.
    NotFound,
    /// The movement is reversed already.
    AlreadyReversed,
}

impl Refusal {
    /// Orders refer to the row.
    pub const IN_USE: Self = Self {
        code: RefusalCode::InUse,
        quantity: None,
        reserved: None,
        committed: None,
        inventory_id: None,
        movement_id: None,
    };
    /// There is no such row.
    pub const NOT_FOUND: Self = Self {
        code: RefusalCode::NotFound,
        ..Self::IN_USE
    };

    /// A movement is reversed already.
    pub fn already_reversed(movement_id: i64) -> Self {
        Self {
            code: RefusalCode::AlreadyReversed,
            movement_id: Some(movement_id),
            ..Self::IN_USE
        }
    }

    /// The same with the stock row that it concerns.
    pub fn of_row(self, id: i64) -> Self {
        Self {
            inventory_id: Some(id),
            ..self
        }
    }

    /// The reason as a sentence.
    pub fn detail(self) -> Cow<'static, str> {
        let sentence = match self.code {
            RefusalCode::StaleQuantity => {
                let quantity = self.quantity.unwrap_or_default();
                return format!("The quantity is {quantity}, not the expected one.").into();
            }
            RefusalCode::InsufficientStock => "There are fewer units in stock.",
            RefusalCode::Reserved => "The quantity would fall below the reserved units.",
            RefusalCode::ExceedsQuantity => "The quantity would exceed 2147483647.",
            RefusalCode::InUse if self.committed.is_some() => "The stock has reserved or committed units.",
            RefusalCode::InUse => "Cannot move this stock to another store or product: orders refer to it.",
            RefusalCode::NotFound => "There is no such stock.",
            RefusalCode::AlreadyReversed => "The movement is reversed already.",
        };
        sentence.into()
    }
}

impl StockRow {
    fn refusal(&self, code: RefusalCode) -> Refusal {
        Refusal {
            code,
            quantity: Some(self.quantity),
            reserved: (code == RefusalCode::Reserved).then_some(self.reserved),
            ..Refusal::IN_USE
        }
    }

    /// Refuses if units are reserved or committed.
    pub fn expect_unused(&self) -> Result<(), Refusal> {
        if self.reserved == 0 && self.committed == 0 {
            return Ok(());
        }
        Err(Refusal {
            reserved: Some(self.reserved),
            committed: Some(self.committed),
            ..Refusal::IN_USE
        })
    }

    /// Refuses if the quantity is not the expected one.
    pub fn expect(&self, expected: Option<i32>) -> Result<(), Refusal> {
        if expected.is_some_and(|expected| expected != self.quantity) {
            return Err(self.refusal(RefusalCode::StaleQuantity));
        }
        Ok(())
    }

    /// The quantity after a change by `delta`.
    pub fn plus(&self, delta: impl Into<i64>) -> Result<i32, Refusal> {
        let after = delta.into().saturating_add(self.quantity.into());
        match i32::try_from(after) {
            _ if after < 0 => Err(self.refusal(RefusalCode::InsufficientStock)),
            Err(_) => Err(self.refusal(RefusalCode::ExceedsQuantity)),
            Ok(after) => self.set(after),
        }
    }

    /// The quantity after it is set.
    pub fn set(&self, after: i32) -> Result<i32, Refusal> {
        if after < self.reserved && after < self.quantity {
            return Err(self.refusal(RefusalCode::Reserved));
        }
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: StockRow = StockRow {
        id: 1,
        store_id: 1,
        product_id: 1,
        quantity: 10,
        reserved: 4,
        committed: 0,
        is_new: false,
    };

    fn refused(code: RefusalCode) -> Result<i32, Refusal> {
        Err(ROW.refusal(code))
    }

    #[test]
    fn a_quantity_stays_between_the_reserved_units_and_the_largest_number() {
        assert_eq!(ROW.plus(-6), Ok(4));
        assert_eq!(ROW.plus(-10), refused(RefusalCode::Reserved));
        assert_eq!(ROW.plus(-11), refused(RefusalCode::InsufficientStock));
        assert_eq!(ROW.plus(i32::MIN), refused(RefusalCode::InsufficientStock));
        assert_eq!(ROW.plus(i32::MAX - 10), Ok(i32::MAX));
        assert_eq!(ROW.plus(i32::MAX), refused(RefusalCode::ExceedsQuantity));
        assert_eq!(ROW.plus(i64::MIN), refused(RefusalCode::InsufficientStock));
        assert_eq!(ROW.set(3), refused(RefusalCode::Reserved));
        assert_eq!((ROW.set(4), ROW.set(i32::MAX)), (Ok(4), Ok(i32::MAX)));
    }

    #[test]
    fn an_expected_quantity_is_compared() {
        let stale = ROW.refusal(RefusalCode::StaleQuantity);
        assert_eq!(ROW.expect(Some(9)), Err(stale));
        assert_eq!((ROW.expect(Some(10)), ROW.expect(None)), (Ok(()), Ok(())));
        assert_eq!((stale.quantity, stale.reserved), (Some(10), None));
    }
}
