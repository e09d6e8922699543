//! The quantities of stock rows at an earlier time.
//!
//! The quantity at a time is that after the row's latest movement until then. The SQL function `movement_at` finds it by a binary
//! search, so the cost of a page does not grow with the ledger.

use serde::Serialize;
use sqlx::{FromRow, Postgres, QueryBuilder};
use utoipa::ToSchema;

use crate::{
    db::ReadPool,
    http::{ApiError, Listed},
    timestamp::Timestamp,
};

/// The stock of a product in a store at a time.
#[derive(Debug, FromRow, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StockAsOf {
    /// Id of the stock row.
    id: i64,
    store_id: i64,
    store_name: String,
    product_id: i64,
    product_title: String,
    /// Units that could be sold; 0 if the row did not exist, or belonged to another store or product.
    quantity: i32,
    /// Units that were in the store.
    on_hand: i32,
}

impl Listed for StockAsOf {
    /// Store and product.
    type Key = (i64, i64);

    const LIST: &'static str = "inventory_as_of";
    const START: Self::Key = (0, 0);

    fn key(&self) -> Self::Key {
        (self.store_id, self.product_id)
    }
}

/// Which stock rows are read, and the time.
#[derive(Debug)]
pub struct Filter {
    /// The time.
    pub at: Timestamp,
    /// Only these stores.
    pub stores: Option<Vec<i64>>,
    /// Only this product.
    pub product_id: Option<i64>,
}

/// The stock rows after a key, by store and product: one more than a page shows.
pub async fn list(db: &ReadPool, filter: &Filter, key: (i64, i64)) -> Result<Vec<StockAsOf>, ApiError> {
    let mut query = QueryBuilder::new(
        "with page as materialized (
             select i.id, i.store_id, i.product_id, i.product_title, i.moved_at, ",
    );
    query.push_bind(filter.at).push(" as at from ");
    match &filter.stores {
        None => push_rows(&mut query, filter, key),
        Some(stores) => {
            query.push("unnest(").push_bind(stores).push("::bigint[]) s (id)");
            query.push(" cross join lateral (select * from ");
            push_rows(&mut query, filter, key);
            query.push(" and i.store_id = s.id order by i.product_id limit 21) i");
        }
    }
    query
        .push(" order by i.store_id, i.product_id limit 21) ")
        .push(AT);
    // Planned for these values: the best plan depends on the filter.
    let rows = query.build_query_as().persistent(false).fetch_all(db).await?;
    refuse_before_history(db, filter.at).await?;
    Ok(rows)
}

fn push_rows(query: &mut QueryBuilder<Postgres>, filter: &Filter, (store, product): (i64, i64)) {
    query.push("inventory i where (i.store_id, i.product_id) > (");
    query.push_bind(store).push(", ").push_bind(product).push(")");
    if let Some(product) = filter.product_id {
        query.push(" and i.product_id = ").push_bind(product);
    }
}

/// Selects the rows of `page` with their quantities.
const AT: &str = "select p.id, p.store_id, s.name as store_name, p.product_id, p.product_title,
         case when p.moved_at > coalesce(m.created_at, p.at) then 0
              else coalesce(m.quantity_after, o.quantity, 0) end as quantity,
         case when p.moved_at > coalesce(m.created_at, p.at) then 0
              else coalesce(m.on_hand_after, m.quantity_after, o.quantity, 0) end as on_hand
     from page p join store s on s.id = p.store_id left join opening_balance o on o.inventory_id = p.id
         left join lateral movement_at(p.id, p.at) m on true
     order by p.store_id, p.product_id";

/// Refuses a time of detached movements: only their sums are known. Runs after the rows were read, because partitions may have
/// been detached before.
async fn refuse_before_history(db: &ReadPool, at: Timestamp) -> Result<(), ApiError> {
    let until = sqlx::query_scalar!(
        r#"select movements_until as "until: Timestamp" from history_start where movements_until > $1"#,
        at as Timestamp
    )
    .fetch_optional(db)
    .await?;
    match until {
        None => Ok(()),
        Some(until) => Err(ApiError::field(
            "at",
            format!("Movements until {until} are detached: send this time or a later one."),
        )),
    }
}
