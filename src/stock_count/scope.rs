//! Which stock of a store is counted.

use serde::Serialize;
use sqlx::{Postgres, QueryBuilder};
use utoipa::ToSchema;

use crate::{
    http::{Fields, boolean, ids, positive, timestamp},
    timestamp::Timestamp,
};

/// Maximum number of products in a scope.
const MOST_PRODUCTS: usize = 1000;
const ONE: &str = "Send one of all, category_id, product_ids and not_counted_since.";

/// The stock that is counted. Has one member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = StockCountScope)]
pub struct Scope {
    /// All products.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub all: Option<bool>,
    /// The products of a category.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub category_id: Option<i64>,
    /// These products.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_items = 1, max_items = 1000)]
    pub product_ids: Option<Vec<i64>>,
    /// Stock that was not counted since this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub not_counted_since: Option<Timestamp>,
}

impl Scope {
    /// Reads the fields; `None` if one is invalid, or not exactly one is there.
    pub fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let read = Self {
            all: fields.optional("all", boolean),
            category_id: fields.optional("category_id", positive),
            product_ids: fields.optional("product_ids", ids(MOST_PRODUCTS)),
            not_counted_since: fields.optional("not_counted_since", timestamp),
        };
        if !fields.is_valid() {
            return None;
        }
        let members = [
            read.all.is_some(),
            read.category_id.is_some(),
            read.product_ids.is_some(),
            read.not_counted_since.is_some(),
        ];
        if read.all == Some(false) || members.iter().filter(|is_there| **is_there).count() != 1 {
            fields.reject_all(ONE);
        }
        Some(read)
    }

    /// The scope as the database has it.
    pub fn of_columns(
        category_id: Option<i64>,
        product_ids: Option<Vec<i64>>,
        not_counted_since: Option<Timestamp>,
    ) -> Self {
        let is_limited = category_id.is_some() || product_ids.is_some() || not_counted_since.is_some();
        Self {
            all: (!is_limited).then_some(true),
            category_id,
            product_ids,
            not_counted_since,
        }
    }

    /// Whether it has a product of this category, whose stock was counted at this time.
    pub fn has(&self, product: i64, category: i64, counted_at: Option<Timestamp>) -> bool {
        self.category_id.is_none_or(|id| id == category)
            && self.product_ids.as_ref().is_none_or(|ids| ids.contains(&product))
            && self
                .not_counted_since
                .is_none_or(|since| counted_at.is_none_or(|counted_at| counted_at < since))
    }

    /// Adds a query of the products with stock in a store, after one, that are in the scope and have no line.
    pub fn push_uncounted(
        &self,
        query: &mut QueryBuilder<Postgres>,
        (count, store): (i64, i64),
        after: i64,
        limit: i64,
    ) {
        query.push("select i.product_id from inventory i ");
        if let Some(category) = self.category_id {
            query.push("join product p on p.id = i.product_id and p.category_id = ");
            query.push_bind(category);
        }
        query.push(" where i.store_id = ").push_bind(store);
        query.push(" and i.product_id > ").push_bind(after);
        if let Some(ids) = &self.product_ids {
            query
                .push(" and i.product_id = any(")
                .push_bind(ids.clone())
                .push(")");
        }
        if let Some(since) = self.not_counted_since {
            query.push(" and (i.counted_at < ").push_bind(since);
            query.push(" or i.counted_at is null)");
        }
        query.push(" and not exists (select from stock_count_line l where l.product_id = i.product_id and l.count_id = ");
        query.push_bind(count);
        query.push(") order by i.product_id limit ").push_bind(limit);
    }
}
