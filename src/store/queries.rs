//! The SQL of stores.

use sqlx::{PgConnection, PgExecutor, PgPool};

use super::model::{Store, StoreFields};
use crate::{
    audit::{self, AuditContext},
    db,
    http::{IfMatch, Slice, Update},
    ledger::{self, Deletion, Scope},
    timestamp::Timestamp,
};

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

/// How many of these stores are active, of all of them if none are named.
pub async fn count(db: impl PgExecutor<'_>, ids: Option<&[i64]>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from store where is_active and ($1::bigint[] is null or id = any($1))"#,
        ids
    )
    .fetch_one(db)
    .await
}

/// The active ones of these stores, of all of them if none are named.
pub async fn list(
    db: impl PgExecutor<'_>,
    ids: Option<&[i64]>,
    slice: &Slice<Store>,
) -> sqlx::Result<Vec<Store>> {
    let (name, id) = &slice.after;
    stores!(
        "select * from store where is_active and (name, id) > ($1, $2) and ($5::bigint[] is null or id = any($5))
         order by name, id limit $3 offset $4"
            + " order by s.name, s.id",
        name,
        id,
        slice.limit,
        slice.offset,
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

pub async fn insert(tx: &mut PgConnection, sent: &StoreFields, by: &AuditContext) -> sqlx::Result<Store> {
    let store = stores!(
        "insert into store (name, location, is_active) values ($1, $2, coalesce($3, true)) returning *",
        sent.name,
        sent.location,
        sent.is_active
    )
    .fetch_one(&mut *tx)
    .await?;
    let subject = subject(store.id);
    audit::record(tx, by, "store.created", subject, (None, Some(&store))).await?;
    Ok(store)
}

fn subject(id: i64) -> String {
    format!("store:{id}")
}

pub async fn update(
    db: &PgPool,
    id: i64,
    sent: &StoreFields,
    if_match: &IfMatch,
    by: &AuditContext,
) -> sqlx::Result<Update<Store>> {
    let mut tx = db.begin().await?;
    sqlx::query!("select from store where id = $1 for no key update", id)
        .execute(&mut *tx)
        .await?;
    let Some(before) = get(&mut *tx, id).await? else {
        return Ok(Update::NotFound);
    };
    if !if_match.permits(&before) {
        return Ok(Update::PreconditionFailed);
    }
    let after = stores!(
        "update store set name = coalesce($2, name), location = coalesce($3, location),
             is_active = coalesce($4, is_active), updated_at = now()
         where id = $1 returning *",
        id,
        sent.name,
        sent.location,
        sent.is_active
    )
    .fetch_one(&mut *tx)
    .await?;
    let states = (Some(&before), Some(&after));
    audit::record(&mut *tx, by, "store.changed", subject(id), states).await?;
    db::commit(tx).await?;
    Ok(Update::Done(after))
}

/// Deletes a store with its stock, unless it has orders: also rejected ones, which touched no stock.
pub async fn delete(db: &PgPool, id: i64, if_match: &IfMatch, by: &AuditContext) -> sqlx::Result<Deletion> {
    let mut tx = db.begin().await?;
    ledger::lock(&mut tx, Scope::Store(id)).await?;
    sqlx::query!("select from store where id = $1 for update", id)
        .execute(&mut *tx)
        .await?;
    let Some(before) = get(&mut *tx, id).await? else {
        return Ok(Deletion::NotFound);
    };
    if !if_match.permits(&before) {
        return Ok(Deletion::PreconditionFailed);
    }
    ledger::lock(&mut tx, Scope::Store(id)).await?;
    let has_orders = sqlx::query_scalar!(
        r#"select exists (select from orders where store_id = $1) as "exists!""#,
        id
    )
    .fetch_one(&mut *tx)
    .await?;
    if has_orders {
        return Ok(Deletion::Ordered);
    }
    ledger::remove(&mut tx, Scope::Store(id), by.actor.label().as_deref()).await?;
    sqlx::query!("delete from store where id = $1", id)
        .execute(&mut *tx)
        .await?;
    audit::record(&mut *tx, by, "store.deleted", subject(id), (Some(&before), None)).await?;
    db::commit(tx).await?;
    Ok(Deletion::Done)
}
