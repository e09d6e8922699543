//! The SQL of stock. Every change of a quantity is made under the row's lock and written to the ledger with it.

use sqlx::{PgExecutor, PgPool, Postgres, QueryBuilder};

use super::model::{Filter, Inventory, InventoryFields, InventoryRow};
use crate::{
    ledger::{self, Deletion, Movement, Scope},
    money::Money,
    product::ProductSummary,
    store::StoreSummary,
    timestamp::Timestamp,
    web::Window,
};

pub async fn count(db: impl PgExecutor<'_>, filter: Filter) -> sqlx::Result<i64> {
    let mut query = QueryBuilder::new("select count(*) from inventory i");
    push_filter(&mut query, filter);
    query.build_query_scalar().fetch_one(db).await
}

pub async fn list(
    db: impl PgExecutor<'_>,
    filter: Filter,
    window: Window,
) -> sqlx::Result<Vec<InventoryRow>> {
    let mut query = QueryBuilder::new(
        "select i.id, s.name as store_name, s.location as store_location, p.title as product_title,
             p.price as product_price, c.name as category_name, i.quantity,
             i.quantity <= i.low_stock_threshold as is_low_stock, i.updated_at
         from inventory i join store s on s.id = i.store_id
             join product p on p.id = i.product_id join category c on c.id = p.category_id",
    );
    push_filter(&mut query, filter);
    query
        .push(" order by s.name, p.title, i.id limit ")
        .push_bind(window.limit);
    query.push(" offset ").push_bind(window.offset);
    query.build_query_as().fetch_all(db).await
}

fn push_filter(query: &mut QueryBuilder<Postgres>, filter: Filter) {
    query.push(" where true");
    if let Some(store) = filter.store_id {
        query.push(" and i.store_id = ").push_bind(store);
    }
    if let Some(product) = filter.product_id {
        query.push(" and i.product_id = ").push_bind(product);
    }
    if filter.low_stock {
        query.push(" and i.quantity <= i.low_stock_threshold");
    }
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

pub async fn exists(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from inventory where id = $1) as "exists!""#,
        id
    )
    .fetch_one(db)
    .await
}

/// Creates stock, and returns its id.
pub async fn insert(db: &PgPool, sent: &InventoryFields) -> sqlx::Result<i64> {
    let mut tx = db.begin().await?;
    let row = sqlx::query!(
        "insert into inventory (store_id, product_id, quantity, low_stock_threshold)
         values ($1, $2, coalesce($3, 0), coalesce($4, 10)) returning id, quantity",
        sent.store(),
        sent.product(),
        sent.quantity,
        sent.low_stock_threshold
    )
    .fetch_one(&mut *tx)
    .await?;
    ledger::record(&mut *tx, row.id, Movement::Initial, row.quantity, row.quantity).await?;
    tx.commit().await?;
    Ok(row.id)
}

/// Writes what was sent, and nothing else: orders may change the quantity meanwhile. Returns whether there is such a row.
pub async fn update(db: &PgPool, id: i64, sent: &InventoryFields) -> sqlx::Result<bool> {
    let mut tx = db.begin().await?;
    let before = sqlx::query!(
        "select product_id, quantity, ordered from inventory where id = $1 for update",
        id
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(before) = before else { return Ok(false) };
    sqlx::query!(
        "update inventory set store_id = coalesce($2, store_id), product_id = coalesce($3, product_id),
             quantity = coalesce($4, quantity), low_stock_threshold = coalesce($5, low_stock_threshold),
             updated_at = now()
         where id = $1",
        id,
        sent.store(),
        sent.product(),
        sent.quantity,
        sent.low_stock_threshold
    )
    .execute(&mut *tx)
    .await?;
    if before.ordered && sent.product().is_some_and(|product| product != before.product_id) {
        // The row says that its product was ordered, and is leaving it: the product has to say so itself.
        sqlx::query!("update product set sold = true where id = $1", before.product_id)
            .execute(&mut *tx)
            .await?;
    }
    let quantity = sent.quantity.unwrap_or(before.quantity);
    ledger::record(
        &mut *tx,
        id,
        Movement::Adjustment,
        quantity - before.quantity,
        quantity,
    )
    .await?;
    tx.commit().await?;
    Ok(true)
}

/// Deletes stock, what is left of it included.
pub async fn delete(db: &PgPool, id: i64) -> sqlx::Result<Deletion> {
    let mut tx = db.begin().await?;
    ledger::lock(&mut tx, Scope::Row(id)).await?;
    let removed = ledger::remove(&mut tx, Scope::Row(id)).await?;
    tx.commit().await?;
    Ok(if removed == 0 {
        Deletion::NotFound
    } else {
        Deletion::Done
    })
}
