//! Decides the outcome of applying a counted line. Has no side effects.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{ledger::StockRow, timestamp::Timestamp};

/// A counted line beside what the ledger knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountedLine {
    pub product_id: i64,
    /// Units that were counted.
    pub counted: i64,
    pub counted_at: Timestamp,
    /// Units on hand at `counted_at`; `None` if the movements of this time are detached.
    pub on_hand: Option<i64>,
    /// The last time that the quantity of the row was set.
    pub row_counted_at: Option<Timestamp>,
}

/// Why a line cannot be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CountFailure)]
pub enum Failure {
    /// More units were sold than were counted.
    CountedBelowCommitted,
    /// The quantity would exceed 2147483647.
    ExceedsQuantity,
    /// The movements of the time when it was counted are detached.
    HistoryDetached,
}

impl Failure {
    /// The name in the API and in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CountedBelowCommitted => "counted_below_committed",
            Self::ExceedsQuantity => "exceeds_quantity",
            Self::HistoryDetached => "history_detached",
        }
    }
}

/// The outcome of applying a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The difference to the units on hand is added to the quantity.
    Applied { on_hand: i64, quantity: i32 },
    /// The quantity was set after the line was counted.
    Superseded,
    /// It cannot be applied. `missing` units were sold beyond those that were counted.
    Failed { code: Failure, missing: Option<i64> },
}

impl CountedLine {
    /// Judges the line by its locked row. What was sold before `counted_at` is missing in what was counted, and what was sold
    /// later is missing in the quantity: both stay sold.
    pub fn judge(&self, row: &StockRow) -> Outcome {
        if self.row_counted_at.is_some_and(|at| at >= self.counted_at) {
            return Outcome::Superseded;
        }
        let failed = |code, missing| Outcome::Failed { code, missing };
        let Some(on_hand) = self.on_hand else {
            return failed(Failure::HistoryDetached, None);
        };
        let after = i64::from(row.quantity) + self.counted - on_hand;
        if after < 0 {
            return failed(Failure::CountedBelowCommitted, Some(-after));
        }
        match i32::try_from(after) {
            Ok(quantity) => Outcome::Applied { on_hand, quantity },
            Err(_) => failed(Failure::ExceedsQuantity, None),
        }
    }
}

#[cfg(test)]
mod tests;
