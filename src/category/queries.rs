//! The SQL of categories.

use sqlx::{PgConnection, PgExecutor, PgPool};

use super::model::{Category, CategoryFields};
use crate::{
    audit::{self, AuditContext},
    db,
    http::{IfMatch, Slice, Update},
    ledger::{self, Deletion, Scope},
    timestamp::Timestamp,
};

/// Selects categories from `c`, which `$with` defines.
macro_rules! categories {
    ($with:literal $(+ $tail:literal)? $(, $arg:expr)*) => {
        sqlx::query_as!(
            Category,
            "with c as (" + $with + r#")
             select c.id as "id!", c.name as "name!",
                 (select coalesce(sum(products), 0)::bigint from product_tally t where t.category_id = c.id)
                     as "product_count!",
                 c.created_at as "created_at!: Timestamp", c.updated_at as "updated_at!: Timestamp"
             from c"# $(+ $tail)?
            $(, $arg)*
        )
    };
}

pub async fn count(db: impl PgExecutor<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"select count(*) as "count!" from category"#)
        .fetch_one(db)
        .await
}

pub async fn list(db: impl PgExecutor<'_>, slice: &Slice<Category>) -> sqlx::Result<Vec<Category>> {
    let (name, id) = &slice.after;
    categories!(
        "select * from category where (name, id) > ($1, $2) order by name, id limit $3 offset $4"
            + " order by c.name, c.id",
        name,
        id,
        slice.limit,
        slice.offset
    )
    .fetch_all(db)
    .await
}

pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Category>> {
    categories!("select * from category where id = $1", id)
        .fetch_optional(db)
        .await
}

pub(crate) async fn exists(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from category where id = $1) as "exists!""#,
        id
    )
    .fetch_one(db)
    .await
}

pub async fn insert(
    tx: &mut PgConnection,
    sent: &CategoryFields,
    by: &AuditContext,
) -> sqlx::Result<Category> {
    let category = categories!("insert into category (name) values ($1) returning *", sent.name)
        .fetch_one(&mut *tx)
        .await?;
    let subject = subject(category.id);
    audit::record(tx, by, "category.created", subject, (None, Some(&category))).await?;
    Ok(category)
}

pub async fn update(
    db: &PgPool,
    id: i64,
    sent: &CategoryFields,
    if_match: &IfMatch,
    by: &AuditContext,
) -> sqlx::Result<Update<Category>> {
    let mut tx = db.begin().await?;
    sqlx::query!("select from category where id = $1 for no key update", id)
        .execute(&mut *tx)
        .await?;
    let Some(before) = get(&mut *tx, id).await? else {
        return Ok(Update::NotFound);
    };
    if !if_match.permits(&before) {
        return Ok(Update::PreconditionFailed);
    }
    let after = categories!(
        "update category set name = coalesce($2, name), updated_at = now() where id = $1 returning *",
        id,
        sent.name
    )
    .fetch_one(&mut *tx)
    .await?;
    let states = (Some(&before), Some(&after));
    audit::record(&mut *tx, by, "category.changed", subject(id), states).await?;
    db::commit(tx).await?;
    Ok(Update::Done(after))
}

fn subject(id: i64) -> String {
    format!("category:{id}")
}

/// Deletes a category with its products and their stock, unless one of them was ever ordered.
pub async fn delete(db: &PgPool, id: i64, if_match: &IfMatch, by: &AuditContext) -> sqlx::Result<Deletion> {
    let mut tx = db.begin().await?;
    ledger::lock(&mut tx, Scope::Category(id)).await?;
    // Locks the products too, so that none comes, goes or moves any more.
    sqlx::query!("select from category where id = $1 for update", id)
        .execute(&mut *tx)
        .await?;
    let Some(before) = get(&mut *tx, id).await? else {
        return Ok(Deletion::NotFound);
    };
    if !if_match.permits(&before) {
        return Ok(Deletion::PreconditionFailed);
    }
    let sold = sqlx::query_scalar!(
        r#"with locked as materialized (
               select sold from product where category_id = $1 order by id for update
           )
           select coalesce(bool_or(sold), false) as "sold!" from locked"#,
        id
    )
    .fetch_one(&mut *tx)
    .await?;
    if ledger::lock(&mut tx, Scope::Category(id)).await? || sold {
        return Ok(Deletion::Ordered);
    }
    ledger::remove(&mut tx, Scope::Category(id), by.actor.label().as_deref()).await?;
    sqlx::query!("delete from product where category_id = $1", id)
        .execute(&mut *tx)
        .await?;
    sqlx::query!("delete from category where id = $1", id)
        .execute(&mut *tx)
        .await?;
    audit::record(
        &mut *tx,
        by,
        "category.deleted",
        subject(id),
        (Some(&before), None),
    )
    .await?;
    db::commit(tx).await?;
    Ok(Deletion::Done)
}
