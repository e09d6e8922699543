//! The SQL of stock rows.

use sqlx::{PgConnection, PgExecutor, Postgres, QueryBuilder};

use super::model::{Filter, Inventory, InventoryFields, InventoryRow};
use crate::{
    auth::Stores,
    db::ReadPool,
    http::{Counted, PageQuery, push_place},
    ledger::{self, RowKey},
    money::Money,
    product::ProductSummary,
    store::StoreSummary,
    timestamp::Timestamp,
};

/// By store name, product title and id.
pub async fn list(
    db: impl PgExecutor<'_>,
    filter: &Filter,
    page: &PageQuery<InventoryRow>,
) -> sqlx::Result<Vec<Counted<InventoryRow>>> {
    let mut query = QueryBuilder::new("with ");
    match (filter.product_id, page) {
        (Some(product), _) => {
            push_rows_of_product(&mut query, product, filter);
            push_page_of_rows(&mut query, page);
        }
        (None, PageQuery::After(key)) => push_rows_after(&mut query, filter, Some(key)),
        (None, _) if filter.counts_anew() => {
            push_rows(&mut query, ("rows", COUNTED_ROWS), filter, None);
            push_page_of_rows(&mut query, page);
        }
        (None, PageQuery::First) => push_rows_after(&mut query, filter, None),
        (None, PageQuery::Later(skipped)) => push_later_rows(&mut query, filter, *skipped),
    }
    query.push(
        " select (select count from total), i.id, i.store_name, i.store_location, i.product_title, p.price, c.name,
              i.quantity, i.is_low, i.updated_at,
              (select coalesce(sum(l.in_transit), 0)::bigint from transfer_line l join transfer t on t.id = l.transfer_id
               where l.product_id = i.product_id and t.to_store_id = i.store_id and l.in_transit > 0), i.counted_at
          from page i join product p on p.id = i.product_id join category c on c.id = p.category_id
          order by i.store_name, i.product_title, i.id",
    );
    query.build_query_as().fetch_all(db).await
}

const SORTED: &str = " order by store_name, product_title, id limit ";

/// One row more than are counted.
const COUNTED_ROWS: &str = "10001";

/// Adds `rows` of one product, of which there is at most one per store.
fn push_rows_of_product(query: &mut QueryBuilder<Postgres>, product: i64, filter: &Filter) {
    query.push(
        "rows as materialized (select s.name as store_name, s.location as store_location, i.*
         from inventory i join store s on s.id = i.store_id where i.product_id = ",
    );
    query.push_bind(product);
    push_filter(query, filter, "i.store_id");
    query.push(")");
}

/// Adds `page` with some of `rows`.
fn push_page_of_rows(query: &mut QueryBuilder<Postgres>, page: &PageQuery<InventoryRow>) {
    query.push(", total as (select count(*) from rows), ");
    match page {
        PageQuery::First => {
            query.push("page as (select * from rows").push(SORTED).push("20)");
        }
        PageQuery::Later(skipped) => {
            push_place(query, *skipped);
            query.push(", page as (select page.* from place cross join lateral (select * from rows");
            query.push(SORTED).push("20 offset skipped) page)");
        }
        PageQuery::After((name, title, id)) => {
            query.push("page as (select * from rows where (store_name, product_title, id) > (");
            query.push_bind(name.clone()).push(", ").push_bind(title.clone());
            query.push(", ").push_bind(*id).push(")").push(SORTED).push("21)");
        }
    }
}

/// Adds the conditions of a filter. The subquery hides the number of stores, on which the plan would depend.
fn push_filter(query: &mut QueryBuilder<Postgres>, filter: &Filter, store: &str) {
    if let Some(stores) = &filter.stores {
        query
            .push(format!(" and {store} = any((select "))
            .push_bind(stores.clone())
            .push(")::bigint[])");
    }
    if filter.low_stock {
        query.push(" and is_low");
    }
    if let Some(time) = filter.counted_before {
        query.push(" and (counted_at < ").push_bind(time);
        query.push(" or counted_at is null)");
    }
}

/// Adds `page` with the first rows, or those after a key.
fn push_rows_after(query: &mut QueryBuilder<Postgres>, filter: &Filter, key: Option<&(String, String, i64)>) {
    if key.is_some() {
        query.push("total as (select null::bigint as count)");
    } else {
        query.push("total as (select coalesce(sum(").push(counter(filter));
        query.push("), 0)::bigint as count from stock_tally where true");
        push_filter(query, &filter.of_stores(), "store_id");
        query.push(")");
    }
    query.push(", ");
    let limit = if key.is_some() { "21" } else { "20" };
    push_rows(query, ("page", limit), filter, key);
}

/// Adds rows under a name, up to a limit: the first ones, or those after a key. Stores are read by name, and the rows of each from an
/// index, until there are enough. Rows of stores with the same name are merged.
fn push_rows(
    query: &mut QueryBuilder<Postgres>,
    (name, limit): (&str, &str),
    filter: &Filter,
    key: Option<&(String, String, i64)>,
) {
    query.push(name).push(
        " as materialized (select s.name as store_name, s.location as store_location, i.*
         from (select id, name, location from store where true",
    );
    push_filter(query, &filter.of_stores(), "id");
    if let Some((name, _, _)) = key {
        query.push(" and name >= ").push_bind(name.clone());
    }
    query
        .push(" order by name offset 0) s cross join lateral (select * from inventory where store_id = s.id");
    push_filter(query, &filter.of_rows(), "store_id");
    if let Some((name, title, id)) = key {
        query
            .push(" and (product_title, id) > (case when s.name = ")
            .push_bind(name.clone());
        query.push(" then ").push_bind(title.clone());
        query
            .push(" else '' end, case when s.name = ")
            .push_bind(name.clone());
        query.push(" then ").push_bind(*id).push(" else 0 end)");
    }
    query.push(" order by product_title, id limit ").push(limit);
    query
        .push(") i order by s.name, i.product_title, i.id limit ")
        .push(limit)
        .push(")");
}

/// The counter of the rows that a filter selects.
fn counter(filter: &Filter) -> &'static str {
    if filter.low_stock { "low" } else { "stocked" }
}

/// Adds `page` with the rows of a later page. It skips whole stores by their counters. `chosen` has as many stores as have
/// enough rows, and `before` is the number of rows of the names before.
fn push_later_rows(query: &mut QueryBuilder<Postgres>, filter: &Filter, skipped: Option<i64>) {
    query
        .push("shelf as (select s.id, s.name, s.location, sum(t.")
        .push(counter(filter));
    query.push(") as stocked from store s join stock_tally t on t.store_id = s.id where true");
    push_filter(query, &filter.of_stores(), "s.id");
    query.push(" group by s.id), total as (select coalesce(sum(stocked), 0)::bigint as count from shelf), ");
    push_place(query, skipped);
    query.push(
        ", named as (
             select id, name, location, sum(stocked) over (order by name) as upto,
                 sum(stocked) over (partition by name) as stocked
             from shelf
         ), chosen as (
             select id, name, location, upto - stocked as before, skipped from named cross join place
             where upto > skipped and upto - stocked < skipped + 20
         ), page as materialized (
             select ids.name as store_name, ids.location as store_location, i.* from (
                 select chosen.name, chosen.location, i.id from chosen cross join lateral (
                     select id, product_title from inventory where store_id = chosen.id",
    );
    push_filter(query, &filter.of_rows(), "store_id");
    query.push(
        " order by product_title, id limit skipped + 20 - chosen.before
                 ) i
                 order by chosen.name, i.product_title, i.id
                 limit 20 offset (select max(skipped - before) from chosen)
             ) ids cross join lateral (select * from inventory where id = ids.id offset 0) i
         )",
    );
}

pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Inventory>> {
    sqlx::query!(
        r#"select i.id, s.id as store_id, s.name as store_name, s.location as store_location, p.id as product_id,
               p.title, p.price as "price: Money", i.quantity, reserved_now(i.id, i.reserved) as "reserved!", i.committed, i.low_stock_threshold,
               (select coalesce(sum(l.in_transit), 0)::bigint from transfer_line l join transfer t on t.id = l.transfer_id
                where l.product_id = p.id and t.to_store_id = s.id and l.in_transit > 0) as "incoming!",
               i.counted_at as "counted_at: Timestamp",
               i.created_at as "created_at: Timestamp", i.updated_at as "updated_at: Timestamp"
           from inventory i join store s on s.id = i.store_id join product p on p.id = i.product_id
           where i.id = $1"#,
        id
    )
    .map(|row| Inventory {
        id: row.id,
        store: StoreSummary { id: row.store_id, name: row.store_name, location: row.store_location },
        product: ProductSummary { id: row.product_id, title: row.title, price: row.price },
        quantity: row.quantity,
        reserved: row.reserved,
        available: row.quantity - row.reserved,
        committed: row.committed,
        on_hand: row.quantity.saturating_add(row.committed),
        incoming: row.incoming,
        low_stock_threshold: row.low_stock_threshold,
        is_low_stock: row.quantity <= row.low_stock_threshold,
        is_out_of_stock: row.quantity == 0,
        counted_at: row.counted_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
    .fetch_optional(db)
    .await
}

/// The stock of a product in a store.
pub async fn find(db: &ReadPool, store: i64, product: i64) -> sqlx::Result<Option<Inventory>> {
    let id = sqlx::query_scalar!(
        "select id from inventory where store_id = $1 and product_id = $2",
        store,
        product
    )
    .fetch_optional(db)
    .await?;
    match id {
        Some(id) => get(db, id).await,
        None => Ok(None),
    }
}

/// Which documents refer to the stock of a product in a store.
#[derive(Clone, Copy, Debug)]
pub struct Documents {
    /// Transfers that were shipped, or stock counts.
    pub any: bool,
    /// Transfers with units in transit.
    pub in_transit: bool,
    /// Stock counts with a line that may still be applied.
    pub open_counts: bool,
}

/// The documents that refer to a stock row.
pub async fn documents(db: impl PgExecutor<'_>, row: &Inventory) -> sqlx::Result<Documents> {
    sqlx::query_as!(
        Documents,
        r#"select count(*) > 0 as "any!", coalesce(bool_or(in_transit), false) as "in_transit!",
               coalesce(bool_or(is_counted), false) as "open_counts!"
           from (
               select l.in_transit > 0 as in_transit, false as is_counted
               from transfer_line l join transfer t on t.id = l.transfer_id
               where l.product_id = $2 and $1 in (t.from_store_id, t.to_store_id) and l.shipped > 0
               union all
               select false, c.status = 'OPEN' and l.status <> 'APPLIED'
               from stock_count_line l join stock_count c on c.id = l.count_id
               where l.product_id = $2 and c.store_id = $1
           ) documents"#,
        row.store.id,
        row.product.id
    )
    .fetch_one(db)
    .await
}

/// Creates a stock row with a quantity of zero. Returns its id.
pub async fn insert(db: impl PgExecutor<'_>, fields: &InventoryFields) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "insert into inventory (store_id, product_id, low_stock_threshold) values ($1, $2, coalesce($3, 10)) returning id",
        fields.store(),
        fields.product(),
        fields.low_stock_threshold
    )
    .fetch_one(db)
    .await
}

/// Locks a granted row, and reads it after the lock.
pub async fn lock(
    tx: &mut PgConnection,
    id: i64,
    stores: &Stores,
    frees_reserved: bool,
) -> sqlx::Result<Option<Inventory>> {
    let (keys, stores) = ([RowKey::Id(id)], stores.as_sql_param());
    let locked = ledger::lock_rows(tx, &keys, stores, &[], frees_reserved).await?;
    if locked.is_empty() {
        return Ok(None);
    }
    get(tx, id).await
}

/// Writes the given fields except the quantity, which the ledger writes.
pub async fn update(db: impl PgExecutor<'_>, id: i64, fields: &InventoryFields) -> sqlx::Result<()> {
    sqlx::query!(
        "update inventory set store_id = coalesce($2, store_id), product_id = coalesce($3, product_id),
             low_stock_threshold = coalesce($4, low_stock_threshold),
             updated_at = greatest(statement_timestamp(), updated_at)
         where id = $1",
        id,
        fields.store(),
        fields.product(),
        fields.low_stock_threshold
    )
    .execute(db)
    .await
    .map(drop)
}
