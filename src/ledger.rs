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

/// Inserts a movement from a quantity to another. `actor` is such as `key:12`, and `None` while the API is open. A change of zero
/// without a reason is not recorded.
pub async fn record(
    db: impl PgExecutor<'_>,
    inventory_id: i64,
    movement: Movement,
    (before, after): (i32, i32),
    actor: Option<&str>,
    reason: Option<&str>,
) -> sqlx::Result<()> {
    if before == after && reason.is_none() {
        return Ok(());
    }
    sqlx::query!(
        "insert into stock_movement (inventory_id, kind, delta, quantity_after, actor, reason)
         values ($1, $2, $3, $4, $5, $6)",
        inventory_id,
        movement.as_str(),
        after - before,
        after,
        actor,
        reason,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Which stock rows to lock or delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StockScope {
    /// Those of all products of a category.
    Category(i64),
    /// Those of a product, in all stores.
    Product(i64),
    /// Those of a store.
    Store(i64),
    /// One row.
    Row(i64),
}

/// Runs a statement on the stock rows of a scope. The condition on the rows goes between `$before` and `$after`.
macro_rules! in_scope {
    ($db:expr, $scope:expr, $before:literal, $after:literal $(, $arg:expr)?) => {{
        macro_rules! of {
            ($condition:literal, $id:expr) => {
                sqlx::query_scalar!($before + $condition + $after, $id $(, $arg)?)
                    .fetch_one($db)
                    .await
            };
        }
        match $scope {
            StockScope::Category(id) => of!("product_id in (select id from product where category_id = $1)", id),
            StockScope::Product(id) => of!("product_id = $1", id),
            StockScope::Store(id) => of!("store_id = $1", id),
            StockScope::Row(id) => of!("id = $1", id),
        }
    }};
}

/// Locks the stock rows of `scope` in the global lock order. Returns whether orders refer to any of them.
///
/// To delete a product, category or store: lock the rows, lock the record, lock the rows again. An order locks its stock rows
/// before the store, so locking the record first would deadlock. The second call locks rows that were inserted between the first
/// call and the record's lock; after it, no row can be added.
pub async fn lock(db: &mut PgConnection, scope: StockScope) -> sqlx::Result<bool> {
    in_scope!(
        db,
        scope,
        r#"with locked as materialized (
                    select ordered from inventory where "#,
        r#" order by store_id, product_id for update
                )
                select coalesce(bool_or(ordered), false) as "ordered!" from locked"#
    )
}

/// Deletes the stock rows of `scope`, which the caller has locked. Records their remaining units in the ledger and keeps the
/// `sold` flag of products with orders. Returns the number of rows.
pub async fn remove(db: &mut PgConnection, scope: StockScope, actor: Option<&str>) -> sqlx::Result<i64> {
    in_scope!(
        db,
        scope,
        r#"with gone as (delete from inventory where "#,
        r#" returning id, product_id, quantity, ordered),
                sold as (
                    update product set sold = true
                    where not sold and id in (select product_id from gone where ordered)
                ),
                movement as (
                    insert into stock_movement (inventory_id, kind, delta, quantity_after, actor)
                    select id, 'REMOVAL', -quantity, 0, $2 from gone where quantity > 0
                )
                select count(*) as "count!" from gone"#,
        actor
    )
}
