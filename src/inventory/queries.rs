//! The SQL of stock rows.

use sqlx::{PgConnection, PgExecutor, Postgres, QueryBuilder};

use super::model::{Filter, Inventory, InventoryFields, InventoryRow};
use crate::{
    auth::Stores, http::PageQuery, money::Money, product::ProductSummary, store::StoreSummary,
    timestamp::Timestamp,
};

/// Counters have the numbers of each store. A product has at most one row per store, so its rows are counted.
pub async fn count(db: impl PgExecutor<'_>, filter: &Filter) -> sqlx::Result<i64> {
    if let Some(product) = filter.product_id {
        sqlx::query_scalar!(
            r#"select count(*) as "count!" from inventory
               where product_id = $1 and ($2::bigint[] is null or store_id = any($2)) and (is_low or not $3)"#,
            product,
            filter.stores.as_deref(),
            filter.low_stock
        )
        .fetch_one(db)
        .await
    } else {
        sqlx::query_scalar!(
            r#"select coalesce(sum(case when $2 then low else stocked end), 0)::bigint as "count!"
               from stock_tally where $1::bigint[] is null or store_id = any($1)"#,
            filter.stores.as_deref(),
            filter.low_stock
        )
        .fetch_one(db)
        .await
    }
}

/// By store name, product title and id.
pub async fn list(
    db: impl PgExecutor<'_>,
    filter: &Filter,
    page: &PageQuery<InventoryRow>,
) -> sqlx::Result<Vec<InventoryRow>> {
    let mut query = QueryBuilder::new("with ");
    if let Some(product) = filter.product_id {
        push_rows_of_product(&mut query, product, filter, page);
    } else {
        push_rows_of_stores(&mut query, filter, page);
    }
    query.push(
        " select i.id, s.name as store_name, s.location as store_location, p.title as product_title,
              p.price as product_price, c.name as category_name, i.quantity, i.is_low as is_low_stock, i.updated_at
          from page join inventory i on i.id = page.id join store s on s.id = i.store_id
              join product p on p.id = i.product_id join category c on c.id = p.category_id
          order by s.name, i.product_title, i.id",
    );
    query.build_query_as().fetch_all(db).await
}

/// Defines `page` as the ids of a page of one product's rows, of which there is at most one per store.
fn push_rows_of_product(
    query: &mut QueryBuilder<Postgres>,
    product: i64,
    filter: &Filter,
    page: &PageQuery<InventoryRow>,
) {
    let (name, title, id) = &page.after;
    query.push(
        "page as (select i.id from inventory i join store s on s.id = i.store_id where i.product_id = ",
    );
    query.push_bind(product);
    if let Some(stores) = &filter.stores {
        query
            .push(" and i.store_id = any(")
            .push_bind(stores.clone())
            .push(")");
    }
    if filter.low_stock {
        query.push(" and i.is_low");
    }
    query
        .push(" and (s.name, i.product_title, i.id) > (")
        .push_bind(name.clone());
    query
        .push(", ")
        .push_bind(title.clone())
        .push(", ")
        .push_bind(*id);
    query
        .push(") order by s.name, i.product_title, i.id limit ")
        .push_bind(page.limit);
    query.push(" offset ").push_bind(page.offset).push(")");
}

/// Defines `page` as the ids of a page of the stores' rows. It skips whole stores by their counters, and reads the rows of a
/// store from an index in the sequence of the list. Rows of stores with the same name are merged.
///
/// `chosen` has the stores with rows in the page: those with the name of the key, then as many as have enough rows. `before`
/// is the number of rows of the names in between.
fn push_rows_of_stores(query: &mut QueryBuilder<Postgres>, filter: &Filter, page: &PageQuery<InventoryRow>) {
    let (name, title, id) = &page.after;
    let rows = if filter.low_stock { "t.low" } else { "t.stocked" };
    query
        .push("shelf as (select s.id, s.name, case when s.name > ")
        .push_bind(name.clone());
    query
        .push(" then sum(")
        .push(rows)
        .push(") else 0 end as stocked from store s join stock_tally t on t.store_id = s.id");
    query.push(" where s.name >= ").push_bind(name.clone());
    if let Some(stores) = &filter.stores {
        query.push(" and s.id = any(").push_bind(stores.clone()).push(")");
    }
    query.push(
        " group by s.id), named as (
             select id, name, sum(stocked) over (order by name) as upto, sum(stocked) over (partition by name) as stocked
             from shelf
         ), chosen as (select id, name, upto - stocked as before from named where (upto > ",
    );
    query
        .push_bind(page.offset)
        .push(" or name = ")
        .push_bind(name.clone());
    query
        .push(") and upto - stocked < ")
        .push_bind(page.offset + page.limit);
    query.push(
        "), page as (select i.id from chosen cross join lateral (
             select id, product_title from inventory where store_id = chosen.id and (product_title, id) > (case when name = ",
    );
    query
        .push_bind(name.clone())
        .push(" then ")
        .push_bind(title.clone());
    query
        .push(" else '' end, case when name = ")
        .push_bind(name.clone());
    query.push(" then ").push_bind(*id).push(" else 0 end)");
    if filter.low_stock {
        query.push(" and is_low");
    }
    query
        .push(" order by product_title, id limit ")
        .push_bind(page.offset + page.limit);
    query.push(" - chosen.before) i order by chosen.name, i.product_title, i.id limit ");
    query
        .push_bind(page.limit)
        .push(" offset ")
        .push_bind(page.offset);
    query.push(" - (select min(before) from chosen))");
}

pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Inventory>> {
    sqlx::query!(
        r#"select i.id, s.id as store_id, s.name as store_name, s.location as store_location, p.id as product_id,
               p.title, p.price as "price: Money", i.quantity, i.low_stock_threshold,
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
        low_stock_threshold: row.low_stock_threshold,
        is_low_stock: row.quantity <= row.low_stock_threshold,
        is_out_of_stock: row.quantity == 0,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
    .fetch_optional(db)
    .await
}

/// Creates a stock row. Returns its id and quantity.
pub async fn insert(db: impl PgExecutor<'_>, fields: &InventoryFields) -> sqlx::Result<(i64, i32)> {
    let row = sqlx::query!(
        "insert into inventory (store_id, product_id, quantity, low_stock_threshold)
         values ($1, $2, coalesce($3, 0), coalesce($4, 10)) returning id, quantity",
        fields.store(),
        fields.product(),
        fields.quantity,
        fields.low_stock_threshold
    )
    .fetch_one(db)
    .await?;
    Ok((row.id, row.quantity))
}

/// Locks a granted row, and reads it after the lock.
pub async fn lock(tx: &mut PgConnection, id: i64, stores: &Stores) -> sqlx::Result<Option<Inventory>> {
    let locked = sqlx::query_scalar!("select store_id from inventory where id = $1 for update", id)
        .fetch_optional(&mut *tx)
        .await?;
    if locked.is_none_or(|store| !stores.contains(store)) {
        return Ok(None);
    }
    get(tx, id).await
}

/// Writes only the given fields: orders may change the quantity meanwhile.
pub async fn update(db: impl PgExecutor<'_>, id: i64, fields: &InventoryFields) -> sqlx::Result<()> {
    sqlx::query!(
        "update inventory set store_id = coalesce($2, store_id), product_id = coalesce($3, product_id),
             quantity = coalesce($4, quantity), low_stock_threshold = coalesce($5, low_stock_threshold),
             updated_at = now()
         where id = $1",
        id,
        fields.store(),
        fields.product(),
        fields.quantity,
        fields.low_stock_threshold
    )
    .execute(db)
    .await
    .map(drop)
}

pub async fn set_quantity(db: impl PgExecutor<'_>, id: i64, quantity: i32) -> sqlx::Result<()> {
    sqlx::query!(
        "update inventory set quantity = $2, updated_at = now() where id = $1",
        id,
        quantity
    )
    .execute(db)
    .await
    .map(drop)
}
