//! The SQL of the page of a stock row: the row and its movements.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::money::Money;

/// The stock of a product in a store.
#[derive(Debug)]
pub struct Stock {
    pub id: i64,
    pub store_id: i64,
    pub store_name: String,
    pub product_id: i64,
    pub product_title: String,
    pub sku: Option<String>,
    pub is_active: bool,
    /// The price of a unit.
    pub price: Money,
    pub category_name: String,
    /// Units in stock.
    pub quantity: i64,
    /// The part of them that is promised to reservations.
    pub reserved: i64,
    /// Units that are sold and not handed over yet.
    pub committed: i64,
    /// The quantity up to which the stock is low.
    pub low_stock_threshold: i64,
    pub is_low: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The stock of that id, if it is in one of `stores`.
pub async fn get(db: impl PgExecutor<'_>, id: i64, stores: Option<&[i64]>) -> sqlx::Result<Option<Stock>> {
    sqlx::query_as!(
        Stock,
        r#"select i.id, i.store_id, s.name as store_name, i.product_id, i.product_title, p.is_active,
               p.price as "price: Money", c.name as category_name, i.quantity::bigint as "quantity!",
               reserved_now(i.id, i.reserved)::bigint as "reserved!", i.committed::bigint as "committed!",
               (select code from product_code where product_id = p.id and kind = 'SKU') as sku,
               i.low_stock_threshold::bigint as "low_stock_threshold!", i.is_low as "is_low!", i.created_at, i.updated_at
           from inventory i join store s on s.id = i.store_id join product p on p.id = i.product_id
               join category c on c.id = p.category_id
           where i.id = $1 and ($2::bigint[] is null or i.store_id = any($2))"#,
        id,
        stores
    )
    .fetch_optional(db)
    .await
}

/// A change of the quantity.
#[derive(Debug)]
pub struct Movement {
    pub id: i64,
    pub kind: String,
    /// Units added; negative if they were removed.
    pub delta: i64,
    /// The quantity after it.
    pub quantity_after: i64,
    /// The order that took the units.
    pub order_id: Option<i64>,
    /// Who made it, by name if it is known.
    pub actor: Option<String>,
    pub reason: Option<String>,
    pub created_at: DateTime<Utc>,
    pub is_reversed: bool,
}

/// Movements of a stock row up to the one with the id `from`, the latest first.
pub async fn movements(
    db: impl PgExecutor<'_>,
    stock: i64,
    from: i64,
    limit: i64,
) -> sqlx::Result<Vec<Movement>> {
    sqlx::query_as!(
        Movement,
        r#"select m.id, m.kind, m.delta::bigint as "delta!", m.quantity_after::bigint as "quantity_after!", m.order_id,
               coalesce(a.username, k.name, m.actor) as actor, m.reason, m.created_at,
               r.movement_id is not null as "is_reversed!"
           from stock_movement m
               left join movement_reversal r on r.movement_id = m.id
               left join account a on m.actor = 'account:' || a.id
               left join api_key k on m.actor = 'key:' || k.id
           where m.inventory_id = $1 and m.id <= $2 order by m.id desc limit $3"#,
        stock,
        from,
        limit
    )
    .fetch_all(db)
    .await
}

/// Ids of movements after the one with the id `from`, the nearest first.
pub async fn ids_after(db: impl PgExecutor<'_>, stock: i64, from: i64, limit: i64) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "select id from stock_movement where inventory_id = $1 and id > $2 order by id limit $3",
        stock,
        from,
        limit
    )
    .fetch_all(db)
    .await
}

/// The quantity after a movement.
#[derive(Debug)]
pub struct Point {
    pub created_at: DateTime<Utc>,
    pub quantity_after: i64,
    /// The time of the statement.
    pub now: DateTime<Utc>,
}

/// The quantities after the latest movements, the oldest first.
pub async fn points(db: impl PgExecutor<'_>, stock: i64, limit: i64) -> sqlx::Result<Vec<Point>> {
    let mut points = sqlx::query_as!(
        Point,
        r#"select created_at, quantity_after::bigint as "quantity_after!", now() as "now!"
           from stock_movement where inventory_id = $1 order by id desc limit $2"#,
        stock,
        limit
    )
    .fetch_all(db)
    .await?;
    points.reverse();
    Ok(points)
}
