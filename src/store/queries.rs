//! The SQL of stores.

use sqlx::{PgConnection, PgExecutor};

use super::model::{Store, StoreFields};
use crate::{http::PageQuery, timestamp::Timestamp};

/// Selects stores from `s`, which `$with` defines.
macro_rules! stores {
    ($with:literal $(+ $tail:literal)? $(, $arg:expr)*) => {
        sqlx::query_as!(
            Store,
            "with s as (" + $with + r#")
             select s.id as "id!", s.name as "name!", s.location as "location!", s.is_active as "is_active!",
                 (select coalesce(sum(stocked), 0)::bigint from stock_tally t where t.store_id = s.id)
                     as "inventory_count!",
                 s.created_at as "created_at!: Timestamp", s.updated_at as "updated_at!: Timestamp"
             from s"# $(+ $tail)?
            $(, $arg)*
        )
    };
}

/// The number of active stores among these, or among all.
pub async fn count(db: impl PgExecutor<'_>, ids: Option<&[i64]>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from store where is_active and ($1::bigint[] is null or id = any($1))"#,
        ids
    )
    .fetch_one(db)
    .await
}

/// The active stores among these, or among all.
pub async fn list(
    db: impl PgExecutor<'_>,
    ids: Option<&[i64]>,
    page: &PageQuery<Store>,
) -> sqlx::Result<Vec<Store>> {
    let (name, id) = &page.after;
    stores!(
        "select * from store where is_active and (name, id) > ($1, $2) and ($5::bigint[] is null or id = any($5))
         order by name, id limit $3 offset $4"
            + " order by s.name, s.id",
        name,
        id,
        page.limit,
        page.offset,
        ids
    )
    .fetch_all(db)
    .await
}

pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Store>> {
    stores!("select * from store where id = $1", id)
        .fetch_optional(db)
        .await
}

pub(crate) async fn exists(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from store where id = $1) as "exists!""#,
        id
    )
    .fetch_one(db)
    .await
}

pub async fn insert(db: impl PgExecutor<'_>, fields: &StoreFields) -> sqlx::Result<Store> {
    stores!(
        "insert into store (name, location, is_active) values ($1, $2, coalesce($3, true)) returning *",
        fields.name,
        fields.location,
        fields.is_active
    )
    .fetch_one(db)
    .await
}

/// Locks a store, and reads it after the lock.
pub async fn lock(tx: &mut PgConnection, id: i64) -> sqlx::Result<Option<Store>> {
    sqlx::query!("select from store where id = $1 for no key update", id)
        .execute(&mut *tx)
        .await?;
    get(tx, id).await
}

/// Writes the given fields.
pub async fn update(db: impl PgExecutor<'_>, id: i64, fields: &StoreFields) -> sqlx::Result<Store> {
    stores!(
        "update store set name = coalesce($2, name), location = coalesce($3, location),
             is_active = coalesce($4, is_active), updated_at = now()
         where id = $1 returning *",
        id,
        fields.name,
        fields.location,
        fields.is_active
    )
    .fetch_one(db)
    .await
}

/// Locks a store for its deletion, so that it gets no new stock or orders, and reads it after the lock.
pub async fn lock_for_deletion(tx: &mut PgConnection, id: i64) -> sqlx::Result<Option<Store>> {
    sqlx::query!("select from store where id = $1 for update", id)
        .execute(&mut *tx)
        .await?;
    get(tx, id).await
}

/// Whether a store has orders, rejected ones included.
pub async fn has_orders(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from orders where store_id = $1) as "exists!""#,
        id
    )
    .fetch_one(db)
    .await
}

pub async fn delete(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<()> {
    sqlx::query!("delete from store where id = $1", id)
        .execute(db)
        .await
        .map(drop)
}
