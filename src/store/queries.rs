//! The SQL of stores.

use sqlx::{PgConnection, PgExecutor};

use super::model::{Store, StoreFields, StoreFulfillment};
use crate::{
    http::{Counted, PageQuery},
    timestamp::Timestamp,
};

/// Selects stores from `s`, which `$with` defines, with the count of a list.
macro_rules! stores {
    ($with:literal $(+ $tail:literal)? $(, $arg:expr)*) => {
        sqlx::query!(
            "with s as (" + $with + r#")
             select s.count, s.id as "id!", s.name as "name!", s.location as "location!", s.is_active as "is_active!",
                 s.fulfillment as "fulfillment!: StoreFulfillment",
                 (select coalesce(sum(stocked), 0)::bigint from stock_tally t where t.store_id = s.id)
                     as "inventory_count!",
                 s.created_at as "created_at!: Timestamp", s.updated_at as "updated_at!: Timestamp"
             from s"# $(+ $tail)?
            $(, $arg)*
        )
        .map(|row| Counted {
            count: row.count,
            row: Store {
                id: row.id,
                name: row.name,
                location: row.location,
                is_active: row.is_active,
                fulfillment: row.fulfillment,
                inventory_count: row.inventory_count,
                created_at: row.created_at,
                updated_at: row.updated_at,
            },
        })
    };
}

/// The active stores among these, or among all.
pub async fn list(
    db: impl PgExecutor<'_>,
    ids: Option<&[i64]>,
    page: &PageQuery<Store>,
) -> sqlx::Result<Vec<Counted<Store>>> {
    match page {
        PageQuery::First => {
            stores!(
                "with active as (
                     select * from store where is_active and ($1::bigint[] is null or id = any($1))
                 )
                 select *, (select count(*) from active) as count from active order by name, id limit 20"
                    + " order by s.name, s.id",
                ids
            )
            .fetch_all(db)
            .await
        }
        PageQuery::Later(skipped) => {
            stores!(
                "with active as (
                     select * from store where is_active and ($1::bigint[] is null or id = any($1))
                 ), total as (select count(*) from active),
                     place as materialized (select count, coalesce($2, greatest(count - 1, 0) / 20 * 20) as skipped from total)
                 select page.*, count from place cross join lateral (
                     select * from active where skipped < count order by name, id limit 20 offset skipped
                 ) page"
                    + " order by s.name, s.id",
                ids,
                *skipped
            )
            .fetch_all(db)
            .await
        }
        PageQuery::After((name, id)) => {
            stores!(
                "select *, null::bigint as count from store
                 where is_active and ($1::bigint[] is null or id = any($1)) and (name, id) > ($2, $3)
                 order by name, id limit 21"
                    + " order by s.name, s.id",
                ids,
                name,
                id
            )
            .fetch_all(db)
            .await
        }
    }
}

pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Store>> {
    stores!("select *, null::bigint as count from store where id = $1", id)
        .map(|counted| counted.row)
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
        "insert into store (name, location, is_active, fulfillment) values ($1, $2, coalesce($3, true), coalesce($4, 'IMMEDIATE'))
         returning *, null::bigint as count",
        fields.name,
        fields.location,
        fields.is_active,
        fields.fulfillment as Option<StoreFulfillment>
    )
    .map(|counted| counted.row)
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
             is_active = coalesce($4, is_active), fulfillment = coalesce($5, fulfillment), updated_at = now()
         where id = $1 returning *, null::bigint as count",
        id,
        fields.name,
        fields.location,
        fields.is_active,
        fields.fulfillment as Option<StoreFulfillment>
    )
    .map(|counted| counted.row)
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

/// Whether a store has orders, rejected and detached ones included, or took back units of others.
pub async fn has_orders(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from orders where store_id = $1)
               or exists (select from detached_orders where store_id = $1)
               or exists (select from order_document where to_store_id = $1) as "exists!""#,
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
