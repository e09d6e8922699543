//! Who gets what: a pure function over what was locked.

use std::collections::{HashMap, HashSet};

use rust_decimal::Decimal;

use super::model::{NewItem, NewOrder, Rejection, RejectionCode};
use crate::{http::Natural, money::Money, store::StoreSummary};

/// The largest total that an order can have: twelve digits.
const LARGEST_TOTAL: Money = Money(Decimal::from_parts(0xD4A5_0FFF, 0xE8, 0, false, 2));

/// What a slice of orders asks for, as far as it exists.
#[derive(Debug, Default)]
pub struct Stock {
    /// The locked rows, sorted by `(store_id, product_id)`.
    pub rows: Vec<StockRow>,
    /// The active stores among those asked for.
    pub stores: HashMap<i64, StoreSummary>,
    /// Active products that were asked for where no store keeps them.
    pub elsewhere: HashSet<i64>,
}

/// A locked stock row with its product.
#[derive(Clone, Debug)]
pub struct StockRow {
    /// The stock row.
    pub id: i64,
    /// Its store.
    pub store_id: i64,
    /// Its product.
    pub product_id: i64,
    /// How many pieces are left.
    pub quantity: i32,
    /// The product's title.
    pub title: String,
    /// The product's price.
    pub price: Money,
    /// Whether the product can be ordered.
    pub is_active: bool,
}

/// What becomes of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It gets all of it.
    Confirmed {
        /// What it takes, in the order that it was asked for.
        takes: Vec<Take>,
        /// What that costs.
        total: Money,
    },
    /// It gets nothing.
    Rejected {
        /// Why, as a sentence.
        reason: String,
        /// Why, item by item.
        rejections: Vec<Rejection>,
    },
    /// The store does not exist or takes no orders.
    NoStore,
    /// Its total is beyond what an order can have.
    TotalTooLarge,
}

/// Some pieces, taken from a stock row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Take {
    /// The row's place in [`Stock::rows`].
    pub row: usize,
    /// How many pieces.
    pub quantity: i32,
    /// How many are left after it.
    pub left: i32,
}

/// Decides the orders as they came: all or nothing, first come, first served, each with what those before it left.
pub fn judge(stock: &mut Stock, orders: &[NewOrder]) -> Vec<Verdict> {
    orders.iter().map(|order| decide(stock, order)).collect()
}

fn decide(stock: &mut Stock, order: &NewOrder) -> Verdict {
    let Some(store) = order.store_id.small().filter(|id| stock.stores.contains_key(id)) else {
        return Verdict::NoStore;
    };
    let rows: Vec<Option<usize>> = order
        .items
        .iter()
        .map(|item| stock.position(store, item.product_id.small()?))
        .collect();
    let to_take = order
        .items
        .iter()
        .zip(&rows)
        .map(|(item, row)| stock.has((*row)?, &item.quantity));
    match to_take.collect::<Option<Vec<_>>>() {
        Some(to_take) => confirm(stock, to_take),
        None => rejection(stock, &order.items, &rows),
    }
}

/// Takes stock that is there.
fn confirm(stock: &mut Stock, to_take: Vec<(usize, i32)>) -> Verdict {
    let total = to_take.iter().try_fold(Money::ZERO, |total, (row, quantity)| {
        total.plus(stock.rows[*row].price.times(*quantity)?)
    });
    let Some(total) = total.filter(|total| *total <= LARGEST_TOTAL) else {
        return Verdict::TotalTooLarge;
    };
    let takes = to_take.into_iter().map(|(row, quantity)| {
        let left = &mut stock.rows[row].quantity;
        *left -= quantity;
        Take {
            row,
            quantity,
            left: *left,
        }
    });
    Verdict::Confirmed {
        takes: takes.collect(),
        total,
    }
}

/// Why the order cannot be had: the first of three reasons that applies, for all items that it applies to.
fn rejection(stock: &Stock, items: &[NewItem], rows: &[Option<usize>]) -> Verdict {
    let row = |index: usize| rows[index].map(|row| &stock.rows[row]);
    let available = |index: usize| row(index).map_or(0, |row| row.quantity);
    let items_where =
        |applies: &dyn Fn(usize) -> bool| (0..items.len()).filter(|&i| applies(i)).collect::<Vec<_>>();

    let unknown = items_where(&|index| match row(index) {
        Some(row) => !row.is_active,
        None => !items[index]
            .product_id
            .small()
            .is_some_and(|id| stock.elsewhere.contains(&id)),
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
    let short = items_where(&|index| items[index].quantity > Natural::from(i64::from(available(index))));
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
) -> Verdict {
    let rejections = wanting.iter().map(|&index| Rejection {
        product_id: items[index].product_id.clone(),
        code,
        requested: items[index].quantity.clone(),
        available: available(index),
    });
    Verdict::Rejected {
        reason,
        rejections: rejections.collect(),
    }
}

/// Ids in ascending order, as clients know sets to be written: `{5, 9}`.
fn set(items: &[NewItem], wanting: &[usize]) -> String {
    let mut ids: Vec<&Natural> = wanting.iter().map(|&index| &items[index].product_id).collect();
    ids.sort_unstable();
    let ids: Vec<String> = ids.into_iter().map(ToString::to_string).collect();
    format!("{{{}}}", ids.join(", "))
}

impl Stock {
    /// The place of a stock row in [`Stock::rows`].
    pub fn position(&self, store: i64, product: i64) -> Option<usize> {
        self.rows
            .binary_search_by_key(&(store, product), |row| (row.store_id, row.product_id))
            .ok()
    }

    /// The row and the quantity, if the row has that much of a product that can be ordered.
    fn has(&self, row: usize, quantity: &Natural) -> Option<(usize, i32)> {
        let quantity = i32::try_from(quantity.small()?).ok()?;
        let StockRow {
            is_active,
            quantity: available,
            ..
        } = self.rows[row];
        (is_active && quantity <= available).then_some((row, quantity))
    }
}

#[cfg(test)]
mod tests;
