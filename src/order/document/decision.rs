//! Decides documents: a pure function over the locked order.
//!
//! | | quantity | committed | on hand |
//! |---|---|---|---|
//! | cancel, restock | +n | tracked −n | tracked 0, else +n |
//! | cancel, do not restock | 0 | tracked −n | tracked −n, else 0 |
//! | fulfil (tracked only) | 0 | −n | −n |
//! | return, restock r | +r | 0 | +r |

use rust_decimal::Decimal;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    kind::Kind,
    request::{NewDocumentItem, Wanted},
};
use crate::{
    http::{ApiError, ConflictCode, ItemLeft, StateConflict},
    money::Money,
    order::{Status, progress::Progress},
};

/// The locked order.
#[derive(Clone, Debug)]
pub struct OrderState {
    pub status: Status,
    pub is_tracked: bool,
    pub version: i32,
    pub total_amount: Money,
    pub refunded_amount: Money,
    pub lines: Vec<Line>,
}

/// An item of the order.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub item_id: i64,
    pub product_id: i64,
    pub quantity: i32,
    pub unit_price: Money,
    pub progress: Progress,
}

/// Units of an item in a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct DocumentItem {
    /// Id of the item.
    pub order_item_id: i64,
    /// Id of its product.
    pub product_id: i64,
    /// Units.
    pub quantity: i32,
    /// How many of them went back into stock.
    pub restocked: i32,
    /// The refund; null if only the document has one.
    pub refund_amount: Option<Money>,
}

/// What a document changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub items: Vec<DocumentItem>,
    pub refund: Money,
    /// Whether all units of the order are cancelled from here on.
    pub cancels_all: bool,
}

impl Line {
    fn left(&self, kind: Kind, is_tracked: bool) -> i32 {
        kind.left(is_tracked, self.quantity, self.progress)
    }

    fn is(&self, item: &NewDocumentItem) -> bool {
        item.order_item_id.map_or_else(
            || item.product_id == Some(self.product_id),
            |id| id == self.item_id,
        )
    }
}

impl OrderState {
    /// The kinds of documents that its state permits.
    fn allowed(&self) -> Vec<&'static str> {
        let has_left = |kind| self.lines.iter().any(|line| line.left(kind, self.is_tracked) > 0);
        let allowed = Kind::ALL
            .into_iter()
            .filter(|kind| self.status == Status::Confirmed && has_left(*kind));
        allowed.map(Kind::as_str).collect()
    }

    fn refuse(&self, code: ConflictCode, detail: String) -> StateConflict {
        StateConflict {
            status: Some(self.status.as_str()),
            allowed: Some(self.allowed()),
            ..StateConflict::new(code, detail)
        }
    }

    /// Decides a document.
    pub fn decide(&self, wanted: &Wanted) -> Result<Decision, ApiError> {
        if wanted
            .expected_version
            .is_some_and(|expected| expected != self.version)
        {
            return Err(StateConflict::stale_version("order", self.version).into());
        }
        if self.status != Status::Confirmed {
            let detail = format!("The order is {}.", self.status);
            return Err(self.refuse(ConflictCode::InvalidTransition, detail).into());
        }
        if wanted.kind == Kind::Fulfillment && !self.is_tracked {
            let detail = "The store of the order does not track fulfilments.".to_owned();
            return Err(self.refuse(ConflictCode::InvalidTransition, detail).into());
        }
        let mut items = match &wanted.items {
            Some(items) => self.named(wanted, items)?,
            None => self.all_left(wanted)?,
        };
        let refund = self.refund(wanted, &mut items)?;
        let cancelled: i64 = self
            .lines
            .iter()
            .map(|line| i64::from(line.progress.cancelled))
            .sum();
        let sold: i64 = self.lines.iter().map(|line| i64::from(line.quantity)).sum();
        let units: i64 = items.iter().map(|item| i64::from(item.quantity)).sum();
        Ok(Decision {
            items,
            refund,
            cancels_all: wanted.kind == Kind::Cancellation && cancelled + units == sold,
        })
    }

    fn named(&self, wanted: &Wanted, items: &[NewDocumentItem]) -> Result<Vec<DocumentItem>, ApiError> {
        let mut named: Vec<(&Line, &NewDocumentItem)> = Vec::new();
        for item in items {
            let Some(line) = self.lines.iter().find(|line| line.is(item)) else {
                let id = item.order_item_id.or(item.product_id).unwrap_or_default();
                let message = format!("The order has no item \"{id}\".");
                return Err(ApiError::field("items", message));
            };
            if named.iter().any(|(other, _)| other.item_id == line.item_id) {
                return Err(ApiError::field(
                    "items",
                    "Each item of the order may appear once.",
                ));
            }
            named.push((line, item));
        }
        let left = |line: &Line| line.left(wanted.kind, self.is_tracked);
        if named.iter().any(|(line, item)| item.quantity > left(line)) {
            let lefts = named
                .iter()
                .map(|(line, _)| ItemLeft::of_item(line.item_id, left(line)));
            return Err(StateConflict {
                items: Some(lefts.collect()),
                ..self.refuse(ConflictCode::ExceedsQuantity, "Fewer units are left.".to_owned())
            }
            .into());
        }
        let documented = named.iter().map(|(line, item)| {
            document_item(line, wanted, item.quantity, (item.restock, item.refund_amount))
        });
        Ok(documented.collect())
    }

    fn all_left(&self, wanted: &Wanted) -> Result<Vec<DocumentItem>, ApiError> {
        let lines = self
            .lines
            .iter()
            .map(|line| (line, line.left(wanted.kind, self.is_tracked)));
        let items: Vec<DocumentItem> = lines
            .filter(|(_, left)| *left > 0)
            .map(|(line, left)| document_item(line, wanted, left, (None, None)))
            .collect();
        if items.is_empty() {
            let detail = "No units are left.".to_owned();
            return Err(self.refuse(ConflictCode::InvalidTransition, detail).into());
        }
        Ok(items)
    }

    /// The refund: what the document or its items say, else the price of the units, as far as it is not refunded yet.
    fn refund(&self, wanted: &Wanted, items: &mut [DocumentItem]) -> Result<Money, ApiError> {
        let refundable = self.total_amount.0 - self.refunded_amount.0;
        let of_items: Decimal = items
            .iter()
            .filter_map(|item| item.refund_amount)
            .map(|refund| refund.0)
            .sum();
        let is_given = wanted.refund_amount.is_some()
            || wanted
                .items
                .iter()
                .flatten()
                .any(|item| item.refund_amount.is_some());
        let refund = wanted.refund_amount.map_or(of_items, |refund| refund.0);
        if refund <= refundable {
            return Ok(Money(refund));
        }
        if !is_given {
            for item in items {
                item.refund_amount = None;
            }
            return Ok(Money(refundable));
        }
        Err(StateConflict {
            refundable: Some(Money(refundable)),
            ..StateConflict::new(ConflictCode::ExceedsTotal, "A smaller amount is left to refund.")
        }
        .into())
    }
}

fn document_item(
    line: &Line,
    wanted: &Wanted,
    quantity: i32,
    (restock, refund_amount): (Option<i32>, Option<Money>),
) -> DocumentItem {
    let is_fulfilment = wanted.kind == Kind::Fulfillment;
    let restocks = wanted.restock && !is_fulfilment;
    let has_refund = !is_fulfilment && wanted.refund_amount.is_none();
    let price = || line.unit_price.times(quantity).unwrap_or_default();
    DocumentItem {
        order_item_id: line.item_id,
        product_id: line.product_id,
        quantity,
        restocked: restock.unwrap_or(if restocks { quantity } else { 0 }),
        refund_amount: has_refund.then(|| refund_amount.unwrap_or_else(price)),
    }
}
