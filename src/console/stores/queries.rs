//! The SQL of the pages of stores.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor, QueryBuilder};

use crate::{
    console::query::{PAGE_SIZE, Query},
    db::ReadPool,
    money::Money,
};

/// What the list can be sorted by.
pub const COLUMNS: [&str; 3] = ["name", "location", "created"];

/// A store in the list and on its page, with counts from the tallies.
#[derive(Debug, FromRow)]
pub struct Store {
    pub id: i64,
    pub name: String,
    pub location: String,
    pub is_active: bool,
    pub stocked: i64,
    pub orders: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

const STORES: &str = "select s.id, s.name, s.location, s.is_active, s.created_at, s.updated_at,
        stock.stocked, sales.orders
    from store s cross join lateral (
        select coalesce(sum(stocked), 0)::bigint as stocked from stock_tally t where t.store_id = s.id
    ) stock cross join lateral (
        select coalesce(sum(orders), 0)::bigint as orders from order_tally t where t.store_id = s.id
    ) sales
    where (";

/// A page of the granted stores, and one row more if there are more.
pub async fn list(
    db: &ReadPool,
    query: &Query,
    is_active: Option<bool>,
    granted: Option<&[i64]>,
) -> sqlx::Result<Vec<Store>> {
    let mut sql = QueryBuilder::new("with page as (select * from store where (");
    sql.push_bind(granted.map(<[i64]>::to_vec));
    sql.push("::bigint[] is null or id = any(")
        .push_bind(granted.map(<[i64]>::to_vec))
        .push("))");
    if let Some(text) = query.get("q") {
        sql.push(" and (search_fold(name) like search_pattern(")
            .push_bind(text.to_owned());
        sql.push(") or search_fold(location) like search_pattern(")
            .push_bind(text.to_owned())
            .push("))");
    }
    if let Some(is_active) = is_active {
        sql.push(" and is_active = ").push_bind(is_active);
    }
    let (column, downwards) = query.sorted();
    let column = if column == "created" { "id" } else { column };
    let order = format!(" order by {column}{}, id", if downwards { " desc" } else { "" });
    sql.push(&order).push(" limit ").push_bind(PAGE_SIZE + 1);
    sql.push(" offset ").push_bind(query.offset());
    sql.push(") ")
        .push(STORES.replace("from store s", "from page s"))
        .push("true)")
        .push(&order);
    sql.build_query_as().persistent(false).fetch_all(db).await
}

/// One store.
pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Store>> {
    let mut sql = QueryBuilder::new(STORES);
    sql.push("s.id = ").push_bind(id).push(")");
    sql.build_query_as().fetch_optional(db).await
}

/// The orders of a store with one status.
#[derive(Debug)]
pub struct Sales {
    pub status: String,
    pub orders: i64,
    pub amount: Money,
}

/// The orders of a store by status.
pub async fn sales(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Vec<Sales>> {
    sqlx::query_as!(
        Sales,
        r#"select status, sum(orders)::bigint as "orders!", sum(amount) as "amount!: Money" from order_tally
           where store_id = $1 group by status having sum(orders) <> 0 order by status"#,
        id
    )
    .fetch_all(db)
    .await
}

/// What a deletion also removes.
#[derive(Debug)]
pub struct Takes {
    pub stock_rows: i64,
    pub units: i64,
    /// Whether it has orders: then it cannot be deleted.
    pub ordered: bool,
}

/// Reads what a deletion of a store also removes.
pub async fn takes(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Takes> {
    sqlx::query_as!(
        Takes,
        r#"select count(*) as "stock_rows!", coalesce(sum(quantity), 0)::bigint as "units!",
               exists (select from orders where store_id = $1)
                   or exists (select from detached_orders where store_id = $1) as "ordered!"
           from inventory where store_id = $1"#,
        id
    )
    .fetch_one(db)
    .await
}
