//! Stock rows by category, product or store: to lock them, and to delete them.

use sqlx::PgConnection;

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

/// Locks the stock rows of products in the global lock order.
pub async fn lock_products(tx: &mut PgConnection, products: &[i64]) -> sqlx::Result<()> {
    sqlx::query!(
        "select from inventory where product_id = any($1) order by store_id, product_id for update",
        products
    )
    .execute(tx)
    .await
    .map(drop)
}

/// Deletes the stock rows of `scope`, which the caller has locked. Records their remaining units in the ledger and keeps the
/// `sold` flag of products with orders. Returns the number of rows.
pub async fn remove(db: &mut PgConnection, scope: StockScope, actor: Option<&str>) -> sqlx::Result<i64> {
    in_scope!(
        db,
        scope,
        r#"with gone as (delete from inventory where "#,
        r#" returning id, product_id, quantity, ordered, updated_at),
                sold as (
                    update product set sold = true
                    where not sold and id in (select product_id from gone where ordered)
                ),
                movement as (
                    insert into stock_movement (inventory_id, kind, delta, quantity_after, actor, created_at)
                    select id, 'REMOVAL', -quantity, 0, $2, greatest(statement_timestamp(), updated_at)
                    from gone where quantity > 0
                )
                select count(*) as "count!" from gone"#,
        actor
    )
}
