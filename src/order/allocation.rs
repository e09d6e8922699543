//! Decides orders: a pure function over locked stock.

use std::collections::{HashMap, HashSet};

use rust_decimal::Decimal;

use super::{
    model::{NewItem, NewOrder, Rejection, RejectionCode},
    references::{Holder, References},
    reservation::placement::{ClaimRefusal, Reservations},
};
use crate::{money::Money, store::StoreSummary};

/// The largest total of an order: twelve digits.
const LARGEST_TOTAL: Money = Money(Decimal::from_parts(0xD4A5_0FFF, 0xE8, 0, false, 2));

/// The stock, stores and products that a batch of orders names.
#[derive(Debug, Default)]
pub struct Stock {
    /// The locked rows, sorted by `(store_id, product_id)`.
    pub rows: Vec<StockRow>,
    /// The active stores by id.
    pub stores: HashMap<i64, StoreSummary>,
    /// Ids of those of them that track fulfilments.
    pub tracked: HashSet<i64>,
    /// Ids of active products, for items without a row in `rows`: the store of the order does not stock them.
    pub stocked_elsewhere: HashSet<i64>,
    /// The orders that have the references of the batch.
    pub references: References,
    /// The reservations that orders name.
    pub reservations: Reservations,
}

/// A locked stock row with its product.
#[derive(Clone, Debug)]
pub struct StockRow {
    /// Its id.
    pub id: i64,
    /// Its store.
    pub store_id: i64,
    /// Its product.
    pub product_id: i64,
    /// Units in stock.
    pub quantity: i32,
    /// The part of them that is promised to reservations.
    pub reserved: i32,
    /// Units that are sold and not handed over yet.
    pub committed: i32,
    /// The product's title.
    pub title: String,
    /// The product's price.
    pub price: Money,
    /// Whether the product is active.
    pub is_active: bool,
}

/// The decision about an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// All items are in stock.
    Confirmed {
        /// One for each item, in the same sequence.
        allocations: Vec<Allocation>,
        /// The total of the order.
        total: Money,
    },
    /// An item is not available.
    Rejected {
        /// The reason as a sentence.
        reason: String,
        /// The reason for each item.
        rejections: Vec<Rejection>,
    },
    /// The store does not exist or is inactive.
    NoStore,
    /// The total has more than twelve digits.
    TotalTooLarge,
    /// Another order of the store has the reference.
    Duplicate(Holder),
    /// The order cannot take from the reservation that it names.
    NotReserved(ClaimRefusal),
}

/// Units taken from a stock row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocation {
    /// Index in [`Stock::rows`].
    pub row: usize,
    /// Units taken.
    pub quantity: i32,
    /// Units in stock after it.
    pub remaining: i32,
    /// What it changes on hand, and the committed units after it; `None` if the row has none before and after.
    pub committed: Option<(i32, i32)>,
    /// Price of a unit.
    pub unit_price: Money,
}

/// The units that an item takes from a stock row.
struct Taken {
    row: usize,
    quantity: i32,
    unit_price: Money,
}

/// Decides the orders in sequence, each all or nothing, and deducts what they take from `stock`.
pub fn allocate(stock: &mut Stock, orders: &[NewOrder]) -> Vec<Decision> {
    let decisions = orders.iter().enumerate().map(|(index, order)| {
        if let Some(holder) = stock.references.holder(order) {
            return Decision::Duplicate(holder);
        }
        let decision = decide(stock, order);
        if let Decision::Confirmed { allocations, .. } = &decision {
            stock.references.give(order, index);
            stock.take_reserved(order, allocations, index);
        }
        decision
    });
    decisions.collect()
}

fn decide(stock: &mut Stock, order: &NewOrder) -> Decision {
    if !stock.stores.contains_key(&order.store_id) {
        return Decision::NoStore;
    }
    if let Some(claim) = order.reservation.as_deref()
        && let Some(refusal) = stock.reservations.refusal(claim)
    {
        return Decision::NotReserved(refusal);
    }
    let rows: Vec<Option<usize>> = order
        .items
        .iter()
        .map(|item| stock.position(order.store_id, item.product_id))
        .collect();
    let to_take = order
        .items
        .iter()
        .zip(&rows)
        .map(|(item, row)| stock.has((*row)?, item, order));
    match to_take.collect::<Option<Vec<_>>>() {
        Some(to_take) => {
            let is_tracked = stock.tracked.contains(&order.store_id);
            confirm(stock, to_take, is_tracked)
        }
        None => rejection(stock, order, &rows),
    }
}

/// Deducts the units of an order whose items are all in stock.
fn confirm(stock: &mut Stock, to_take: Vec<Taken>, is_tracked: bool) -> Decision {
    let total = to_take.iter().try_fold(Money::ZERO, |total, taken| {
        total.plus(taken.unit_price.times(taken.quantity)?)
    });
    let Some(total) = total.filter(|total| *total <= LARGEST_TOTAL) else {
        return Decision::TotalTooLarge;
    };
    let allocations = to_take.into_iter().map(|taken| {
        let row = &mut stock.rows[taken.row];
        row.quantity -= taken.quantity;
        // On hand is the sum of both, which does not change.
        row.committed += if is_tracked { taken.quantity } else { 0 };
        let on_hand_delta = if is_tracked { 0 } else { -taken.quantity };
        Allocation {
            row: taken.row,
            quantity: taken.quantity,
            remaining: row.quantity,
            committed: (row.committed > 0).then_some((on_hand_delta, row.committed)),
            unit_price: taken.unit_price,
        }
    });
    Decision::Confirmed {
        allocations: allocations.collect(),
        total,
    }
}

/// Rejects an order for the first of three reasons that applies to any item, with all items that it applies to.
fn rejection(stock: &Stock, order: &NewOrder, rows: &[Option<usize>]) -> Decision {
    let items = order.items.as_slice();
    let row = |index: usize| rows[index].map(|row| &stock.rows[row]);
    let available = |index: usize| row(index).map_or(0, |row| stock.available(row, order));
    let items_where =
        |applies: &dyn Fn(usize) -> bool| (0..items.len()).filter(|&i| applies(i)).collect::<Vec<_>>();

    let unknown = items_where(&|index| match row(index) {
        Some(row) => !row.is_active,
        None => !stock.stocked_elsewhere.contains(&items[index].product_id),
    });
    if !unknown.is_empty() {
        let reason = format!("Products not found or inactive: {}", set(items, &unknown));
        return reject(items, &unknown, reason, RejectionCode::ProductNotFound, |_| 0);
    }
    let absent = items_where(&|index| row(index).is_none());
    if !absent.is_empty() {
        let reason = format!("Products not available in store: {}", set(items, &absent));
        return reject(items, &absent, reason, RejectionCode::NotInStore, |_| 0);
    }
    let short = items_where(&|index| items[index].quantity > i64::from(available(index)));
    let shortages = short.iter().map(|&index| {
        let title = row(index).map_or("", |row| row.title.as_str());
        format!(
            "{title}: requested {}, available {}",
            items[index].quantity,
            available(index)
        )
    });
    let reason = format!("Insufficient stock: {}", shortages.collect::<Vec<_>>().join("; "));
    reject(items, &short, reason, RejectionCode::InsufficientStock, available)
}

fn reject(
    items: &[NewItem],
    wanting: &[usize],
    reason: String,
    code: RejectionCode,
    available: impl Fn(usize) -> i32,
) -> Decision {
    let rejections = wanting.iter().map(|&index| Rejection {
        product_id: items[index].product_id,
        code,
        requested: items[index].quantity,
        available: available(index),
    });
    Decision::Rejected {
        reason,
        rejections: rejections.collect(),
    }
}

/// Formats ids in ascending order, in the notation that clients know: `{5, 9}`.
fn set(items: &[NewItem], wanting: &[usize]) -> String {
    let mut ids: Vec<_> = wanting.iter().map(|&index| items[index].product_id).collect();
    ids.sort_unstable();
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    format!("{{{}}}", ids.join(", "))
}

impl Stock {
    /// Index of a stock row in [`Stock::rows`].
    pub fn position(&self, store: i64, product: i64) -> Option<usize> {
        self.rows
            .binary_search_by_key(&(store, product), |row| (row.store_id, row.product_id))
            .ok()
    }

    /// The units that an item takes, if the product is active and that many are available.
    fn has(&self, row: usize, item: &NewItem, order: &NewOrder) -> Option<Taken> {
        let quantity = i32::try_from(item.quantity).ok()?;
        let stock = &self.rows[row];
        (stock.is_active && quantity <= self.available(stock, order)).then_some(Taken {
            row,
            quantity,
            unit_price: item.price.unwrap_or(stock.price),
        })
    }

    /// The units that an order can take: those that are not reserved, and those of its own reservation. `committed` has 32 bits, which
    /// limits them too.
    fn available(&self, row: &StockRow, order: &NewOrder) -> i32 {
        let own = self.reservations.units(order, row.product_id);
        (row.quantity - row.reserved + own).min(i32::MAX - row.committed)
    }

    /// Deducts from the reservation of a confirmed order, if it names one, what it takes and what it releases.
    fn take_reserved(&mut self, order: &NewOrder, allocations: &[Allocation], index: usize) {
        let Some(claim) = order.reservation.as_deref() else {
            return;
        };
        let taken = |product_id: i64| {
            let mut items = order.items.iter().zip(allocations);
            items
                .find(|(item, _)| item.product_id == product_id)
                .map_or(0, |(_, taken)| taken.quantity)
        };
        for (product_id, units) in self.reservations.take(claim, taken, index) {
            if let Some(row) = self.position(order.store_id, product_id) {
                self.rows[row].reserved -= units;
            }
        }
    }
}

#[cfg(test)]
mod tests;
