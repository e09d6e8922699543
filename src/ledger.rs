//! The ledger of stock, and the order in which stock rows are locked.
//!
//! Every change of a quantity, by whatever path, writes one row of `stock_movement` in the same transaction: the sum of a
//! stock row's movements is its quantity, always. Whoever changes or removes stock rows locks them first, in the one
//! global order `(store_id, product_id)`; so do orders. That is why no two of them can wait for each other.

use sqlx::{PgConnection, PgExecutor};

/// Why a quantity changed, other than by an order's placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Movement {
    /// A stock row was created with this quantity.
    Initial,
    /// The quantity was set by hand.
    Adjustment,
    /// The stock row was moved away with what was left in it.
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

/// A change of a stock row's quantity, other than by an order's placement.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// Why.
    pub movement: Movement,
    /// Pieces that came, or went where it is negative.
    pub delta: i32,
    /// What there is now.
    pub quantity_after: i32,
    /// Who changed it: `key:12`; nobody in particular while the API is open.
    pub actor: Option<String>,
    /// What the actor said about it.
    pub reason: Option<&'a str>,
}

/// Writes a change of a stock row, and returns its id. Without a change there is nothing to write, but for a reason.
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

/// Which stock rows are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those of every product of a category.
    Category(i64),
    /// Those of a product, in all stores.
    Product(i64),
    /// Those of a store.
    Store(i64),
    /// One row.
    Row(i64),
}

/// Locks the stock rows of `scope` in the global order, and tells whether an order ever took from one of them.
///
/// To delete what the rows belong to: lock the rows, then lock that record, then lock the rows again. An order holds its
/// rows when it comes to need the store, so the record must not be locked first; and rows that came into being between
/// the two locks are taken by the second call, after which no new ones can.
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

/// Deletes the stock rows of `scope`, which the caller has locked. What was left in them goes into the ledger, and a
/// product that orders took from stays known as sold. Returns how many rows there were.
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

/// What came of a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone, with its stock.
    Done,
    /// There was nothing to delete.
    NotFound,
    /// It is not what the client meant to delete: nothing was deleted.
    PreconditionFailed,
    /// Orders refer to it: nothing was deleted.
    Ordered,
}
