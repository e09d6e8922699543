//! Low and empty stock as all pages count it: of active products in active stores. Inactive ones cannot be ordered, so their
//! stock needs no attention.

use std::borrow::Borrow;

use sqlx::{FromRow, QueryBuilder};

use super::format;
use crate::db::ReadPool;

/// The condition for a stock row `i` to count. Low stock has an index of its own.
pub const COUNTS: &str = " and i.is_low
    and exists (select from product p where p.id = i.product_id and p.is_active)
    and exists (select from store s where s.id = i.store_id and s.is_active)";
/// Low rows that are counted at most. Figures end with `+` if there are more.
const MOST: i64 = 50_000;

/// The low stock of some stores.
#[derive(Debug)]
pub struct LowStock {
    /// Of each store that has any, in the order of their names.
    pub stores: Vec<OfStore>,
    /// Whether there are more rows than were counted.
    pub is_cut_off: bool,
}

/// The low stock of a store.
#[derive(Clone, Copy, Debug, Default, FromRow)]
pub struct OfStore {
    pub store_id: i64,
    /// Rows that are low, empty ones among them.
    pub low: i64,
    /// Rows that are empty.
    pub out: i64,
}

impl LowStock {
    /// Counts the low stock of these stores, of all of them if none are named.
    pub async fn count(db: &ReadPool, stores: Option<&[i64]>) -> sqlx::Result<Self> {
        let mut sql = QueryBuilder::new(
            "with i as materialized (select store_id, product_id, quantity, is_low from inventory where is_low",
        );
        if let Some(stores) = stores {
            sql.push(" and store_id = any(").push_bind(stores).push(")");
        }
        sql.push(" limit ").push_bind(MOST);
        sql.push(
            "), counted as (
                 select store_id, count(*) as low, count(*) filter (where quantity = 0) as out from i where true",
        );
        sql.push(COUNTS);
        // The last row, of no store, has the number of all rows.
        sql.push(
            " group by store_id union all select 0, count(*), 0 from i)
             select store_id, low, out from counted left join store s on s.id = store_id order by s.name nulls last, s.id",
        );
        let mut stores: Vec<OfStore> = sql.build_query_as().persistent(false).fetch_all(db).await?;
        let looked_at = stores.pop().unwrap_or_default();
        Ok(Self {
            stores,
            is_cut_off: looked_at.low >= MOST,
        })
    }

    /// How many rows are low, in words.
    pub fn low(&self) -> String {
        self.shown(self.stores.iter().map(|store| store.low).sum())
    }

    /// How many rows are empty, in words.
    pub fn out(&self) -> String {
        self.shown(self.stores.iter().map(|store| store.out).sum())
    }

    /// The same of one store.
    pub fn low_of(&self, store: impl Borrow<i64>) -> String {
        let store = *store.borrow();
        let found = self.stores.iter().find(|found| found.store_id == store);
        self.shown(found.map_or(0, |found| found.low))
    }

    fn shown(&self, rows: i64) -> String {
        let more = if self.is_cut_off { "+" } else { "" };
        format!("{}{more}", format::count(rows))
    }
}
