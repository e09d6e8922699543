//! How many units of an order were cancelled, handed over and returned.

use serde::Serialize;
use utoipa::ToSchema;

/// What happened to the units of an item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Progress {
    /// Units that were cancelled.
    pub cancelled: i32,
    /// Units that were handed over; 0 unless the store tracks it.
    pub fulfilled: i32,
    /// Units that came back.
    pub returned: i32,
    /// Cancelled or returned units that were put back into stock.
    pub restocked: i32,
}

/// How many of the units of an order were handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Fulfillment {
    /// Its store does not track it: all were, when the order was confirmed.
    NotTracked,
    /// None.
    Unfulfilled,
    /// Some.
    Partial,
    /// All that were not cancelled.
    Fulfilled,
}

impl Fulfillment {
    /// The names of all.
    pub const NAMES: [&'static str; 4] = ["NOT_TRACKED", "UNFULFILLED", "PARTIAL", "FULFILLED"];
}

/// How many of the units of an order were returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Returned {
    /// None.
    None,
    /// Some.
    Partial,
    /// All that were not cancelled.
    All,
}

/// The units of an order. 64 bits, because an order has up to 100 items.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// Units that were not cancelled.
    sold: i64,
    fulfilled: i64,
    returned: i64,
}

impl Sums {
    /// The same with an item.
    pub fn with(self, quantity: i32, progress: Option<Progress>) -> Self {
        let progress = progress.unwrap_or_default();
        Self {
            sold: self.sold + i64::from(quantity - progress.cancelled),
            fulfilled: self.fulfilled + i64::from(progress.fulfilled),
            returned: self.returned + i64::from(progress.returned),
        }
    }

    pub fn fulfillment(self, is_tracked: bool) -> Fulfillment {
        match self.fulfilled {
            _ if !is_tracked => Fulfillment::NotTracked,
            0 => Fulfillment::Unfulfilled,
            fulfilled if fulfilled < self.sold => Fulfillment::Partial,
            _ => Fulfillment::Fulfilled,
        }
    }

    pub fn returned(self) -> Returned {
        match self.returned {
            0 => Returned::None,
            returned if returned < self.sold => Returned::Partial,
            _ => Returned::All,
        }
    }
}
