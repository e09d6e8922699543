//! The stock ledger, and the sequence in which stock rows are locked.
//!
//! Every change of a quantity inserts one row into `stock_movement` in the same transaction: the sum of a stock row's movements
//! is its quantity. Every transaction that changes or deletes stock rows locks them first, in the global lock order
//! `(store_id, product_id)`, so that no two transactions deadlock.

use sqlx::{PgConnection, PgExecutor};

/// The kind of a movement, except those of orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Movement {
    /// The opening quantity of a new stock row.
    Initial,
    /// A manual adjustment.
    Adjustment,
    /// The stock row was deleted or moved, with its remaining units.
    Removal,
}

impl Movement {
    fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "INITIAL",
            Self::Adjustment => "ADJUSTMENT",
            Self::Removal => "REMOVAL",
        }
    }
}

/// A change of a stock row's quantity, except by orders.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// Its kind.
    pub movement: Movement,
    /// Units added, or removed if negative.
    pub delta: i32,
    /// The quantity after the change.
    pub quantity_after: i32,
    /// The actor, such as `key:12`; `None` while the API is open.
    pub actor: Option<String>,
    /// The actor's reason.
    pub reason: Option<&'a str>,
}

/// Inserts a movement and returns its id. A change of zero without a reason is not recorded.
pub async fn record(
    db: impl PgExecutor<'_>,
    inventory_id: i64,
    change: Change<'_>,
) -> sqlx::Result<Option<i64>> {
    if change.delta == 0 && change.reason.is_none() {
        return Ok(None);
    }
    sqlx::query_scalar!(
        "insert into stock_movement (inventory_id, kind, delta, quantity_after, actor, reason)
         values ($1, $2, $3, $4, $5, $6) returning id",
        inventory_id,
        change.movement.as_str(),
        change.delta,
        change.quantity_after,
        change.actor,
        change.reason,
    )
    .fetch_one(db)
    .await
    .map(Some)
}

/// Which stock rows to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of all products of a category.
    Category(i64),
    /// Those of a product, in all stores.
    Product(i64),
    /// Those of a store.
    Store(i64),
    /// One row.
    Row(i64),
}

/// Locks the stock rows of `scope` in the global lock order. Returns whether orders refer to any of them.
///
/// To delete a product, category or store: lock the rows, lock the record, lock the rows again. An order locks its stock rows
/// before the store, so locking the record first would deadlock. The second call locks rows that were inserted between the first
/// call and the record's lock; after it, no row can be added.
pub async fn lock(db: &mut PgConnection, scope: Scope) -> sqlx::Result<bool> {
    macro_rules! lock {
        ($condition:literal, $id:expr) => {
            sqlx::query_scalar!(
                r#"with locked as materialized (
                    select ordered from inventory where "#
                    + $condition
                    + r#" order by store_id, product_id for update
                )
                select coalesce(bool_or(ordered), false) as "ordered!" from locked"#,
                $id,
            )
            .fetch_one(db)
            .await
        };
    }
    match scope {
        Scope::Category(id) => lock!(
            "product_id in (select id from product where category_id = $1)",
            id
        ),
        Scope::Product(id) => lock!("product_id = $1", id),
        Scope::Store(id) => lock!("store_id = $1", id),
        Scope::Row(id) => lock!("id = $1", id),
    }
}

/// Deletes the stock rows of `scope`, which the caller has locked. Records their remaining units in the ledger and keeps the
/// `sold` flag of products with orders. Returns the number of rows.
pub async fn remove(db: &mut PgConnection, scope: Scope, actor: Option<&str>) -> sqlx::Result<i64> {
    macro_rules! remove {
        ($condition:literal, $id:expr) => {
            sqlx::query_scalar!(
                r#"with gone as (delete from inventory where "#
                    + $condition
                    + r#" returning id, product_id, quantity, ordered),
                sold as (
                    update product set sold = true
                    where not sold and id in (select product_id from gone where ordered)
                ),
                movement as (
                    insert into stock_movement (inventory_id, kind, delta, quantity_after, actor)
                    select id, 'REMOVAL', -quantity, 0, $2 from gone where quantity > 0
                )
                select count(*) as "count!" from gone"#,
                $id,
                actor,
            )
            .fetch_one(db)
            .await
        };
    }
    match scope {
        Scope::Category(id) => remove!(
            "product_id in (select id from product where category_id = $1)",
            id
        ),
        Scope::Product(id) => remove!("product_id = $1", id),
        Scope::Store(id) => remove!("store_id = $1", id),
        Scope::Row(id) => remove!("id = $1", id),
    }
}
