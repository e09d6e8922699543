//! Decides what happens to a transfer: pure functions over the locked transfer.
//!
//! | | source | in transit | destination |
//! |---|---|---|---|
//! | ship n | −n | +n | |
//! | receive r, damaged d, missing m | | −r −d −m | +r |
//! | cancel, returned b, lost l | +b | −b −l | |

use super::model::Status;
use crate::{
    http::{ApiError, ConflictCode, ItemLeft, Nullable, StateConflict},
    ledger::Movement,
    timestamp::Timestamp,
};

/// The locked transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferState {
    pub id: i64,
    pub from_store_id: i64,
    pub to_store_id: i64,
    pub status: Status,
    pub reference: Option<String>,
    pub expected_at: Option<Timestamp>,
    pub version: i32,
    /// By id of the product, each once.
    pub lines: Vec<Line>,
}

/// The units of a product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub product_id: i64,
    pub quantity: i32,
    pub shipped: i32,
    pub received: i32,
    pub damaged: i32,
    pub lost: i32,
    pub returned: i32,
}

/// What arrived of a product, and what did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    pub received: i32,
    pub damaged: i32,
    pub missing: i32,
}

/// How the units of a product that are in transit are settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    pub returned: i32,
    pub lost: i32,
}

/// A value for each of some products, each once.
pub type ByProduct<T> = Vec<(i64, T)>;

/// What is done to a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Changes a draft. What is left out stays.
    Change {
        items: Option<ByProduct<i32>>,
        reference: Nullable<String>,
        expected_at: Nullable<Timestamp>,
    },
    /// Ships the named units; without items, all.
    Ship(Option<ByProduct<i32>>),
    /// Receives units. With `close`, the rest is lost.
    Receive { items: ByProduct<Receipt>, close: bool },
    /// Cancels a draft, or settles all that is in transit.
    Cancel(Option<ByProduct<Settlement>>),
}

impl Action {
    /// The name in `allowed`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Change { .. } => "change",
            Self::Ship(_) => "ship",
            Self::Receive { .. } => "receive",
            Self::Cancel(_) => "cancel",
        }
    }
}

/// The change of a stock row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    pub store_id: i64,
    pub product_id: i64,
    pub kind: Movement,
    pub delta: i32,
}

impl Line {
    /// A line of a draft.
    pub fn new((product_id, quantity): (i64, i32)) -> Self {
        Self {
            product_id,
            quantity,
            ..Self::default()
        }
    }

    /// The units in transit.
    pub fn in_transit(&self) -> i32 {
        self.shipped - self.received - self.damaged - self.lost - self.returned
    }
}

impl Receipt {
    fn units(self) -> i64 {
        i64::from(self.received) + i64::from(self.damaged) + i64::from(self.missing)
    }
}

impl Settlement {
    fn units(self) -> i64 {
        i64::from(self.returned) + i64::from(self.lost)
    }
}

impl TransferState {
    /// Does an action, and returns the changes of stock rows. After an error the state is undefined.
    pub fn apply(&mut self, action: &Action) -> Result<Vec<Move>, ApiError> {
        if !self.status.permits(action.name()) {
            return Err(StateConflict {
                status: Some(self.status.as_str()),
                allowed: Some(self.status.allowed().to_vec()),
                ..StateConflict::new(
                    ConflictCode::InvalidTransition,
                    format!("The transfer is {}.", self.status.as_str()),
                )
            }
            .into());
        }
        match action {
            Action::Change {
                items,
                reference,
                expected_at,
            } => {
                if let Some(items) = items {
                    self.set_items(items);
                }
                if *reference != Nullable::Absent {
                    self.reference = reference.value().cloned();
                }
                if *expected_at != Nullable::Absent {
                    self.expected_at = expected_at.value().copied();
                }
                Ok(Vec::new())
            }
            Action::Ship(items) => self.ship(items.as_deref()),
            Action::Receive { items, close } => self.receive(items, *close),
            Action::Cancel(items) => self.cancel(items.as_deref()),
        }
    }

    /// Sets the items of a draft.
    pub fn set_items(&mut self, items: &[(i64, i32)]) {
        self.lines = items.iter().copied().map(Line::new).collect();
        self.lines.sort_by_key(|line| line.product_id);
    }

    fn ship(&mut self, items: Option<&[(i64, i32)]>) -> Result<Vec<Move>, ApiError> {
        let all: Vec<(i64, i32)> = self
            .lines
            .iter()
            .map(|line| (line.product_id, line.quantity))
            .collect();
        let items = items.unwrap_or(&all);
        self.refuse_more(
            (ConflictCode::ExceedsQuantity, "The transfer has fewer units."),
            items.iter().map(|(product, units)| (*product, i64::from(*units))),
            |line| line.quantity,
        )?;
        for (product, units) in items {
            self.line(*product)?.shipped = *units;
        }
        self.status = Status::InTransit;
        let out = |(product_id, units): &(i64, i32)| Move {
            store_id: self.from_store_id,
            product_id: *product_id,
            kind: Movement::TransferOut,
            delta: -units,
        };
        Ok(items.iter().map(out).collect())
    }

    fn receive(&mut self, items: &[(i64, Receipt)], close: bool) -> Result<Vec<Move>, ApiError> {
        self.refuse_more(
            (
                ConflictCode::OverReceipt,
                "Fewer units are in transit. Enter the surplus as an adjustment.",
            ),
            items.iter().map(|(product, receipt)| (*product, receipt.units())),
            Line::in_transit,
        )?;
        for (product, receipt) in items {
            let line = self.line(*product)?;
            line.received += receipt.received;
            line.damaged += receipt.damaged;
            line.lost += receipt.missing;
        }
        for line in self.lines.iter_mut().filter(|_| close) {
            line.lost += line.in_transit();
        }
        let is_left = self.lines.iter().any(|line| line.in_transit() > 0);
        self.status = if is_left {
            Status::Partial
        } else {
            Status::Received
        };
        // Damaged units do not enter stock: a movement of 0 records them.
        let arrived = items
            .iter()
            .filter(|(_, receipt)| receipt.received > 0 || receipt.damaged > 0);
        let to = self.to_store_id;
        Ok(arrived
            .map(|(product, receipt)| Move::back(to, *product, receipt.received))
            .collect())
    }

    fn cancel(&mut self, items: Option<&[(i64, Settlement)]>) -> Result<Vec<Move>, ApiError> {
        if self.status == Status::Draft && items.is_some() {
            return Err(ApiError::field("items", "Nothing of a draft is in transit."));
        }
        let items = items.unwrap_or_default();
        for (product, _) in items {
            self.line(*product)?;
        }
        for line in &self.lines {
            let settled = items.iter().find(|(product, _)| *product == line.product_id);
            let settled = settled.map_or(0, |(_, settlement)| settlement.units());
            let in_transit = line.in_transit();
            if settled != i64::from(in_transit) {
                let message = format!(
                    "{in_transit} units of product {} are in transit: returned and lost must add up to them.",
                    line.product_id
                );
                return Err(ApiError::field("items", message));
            }
        }
        for (product, settlement) in items {
            let line = self.line(*product)?;
            line.returned += settlement.returned;
            line.lost += settlement.lost;
        }
        self.status = Status::Cancelled;
        let back = items.iter().filter(|(_, settlement)| settlement.returned > 0);
        let from = self.from_store_id;
        Ok(back
            .map(|(product, settlement)| Move::back(from, *product, settlement.returned))
            .collect())
    }

    fn line(&mut self, product: i64) -> Result<&mut Line, ApiError> {
        let line = self.lines.iter_mut().find(|line| line.product_id == product);
        line.ok_or_else(|| unknown(product))
    }

    /// Refuses if an item has more units than its line permits.
    fn refuse_more(
        &self,
        (code, detail): (ConflictCode, &'static str),
        items: impl Iterator<Item = (i64, i64)>,
        left: impl Fn(&Line) -> i32,
    ) -> Result<(), ApiError> {
        let (mut lefts, mut is_more) = (Vec::new(), false);
        for (product, units) in items {
            let line = self.lines.iter().find(|line| line.product_id == product);
            let left = left(line.ok_or_else(|| unknown(product))?);
            is_more |= units > i64::from(left);
            lefts.push(ItemLeft::of_product(product, left));
        }
        if !is_more {
            return Ok(());
        }
        Err(StateConflict {
            items: Some(lefts),
            ..StateConflict::new(code, detail)
        }
        .into())
    }
}

impl Move {
    fn back(store_id: i64, product_id: i64, delta: i32) -> Self {
        Self {
            store_id,
            product_id,
            kind: Movement::TransferIn,
            delta,
        }
    }
}

fn unknown(product: i64) -> ApiError {
    ApiError::field("items", format!("The transfer has no product \"{product}\"."))
}

#[cfg(test)]
mod tests;
