//! The SQL of products, but for finding them.

use sqlx::{PgConnection, PgExecutor, PgPool};

use super::model::{Product, ProductFields};
use crate::{
    audit::{self, AuditContext},
    category::CategoryName,
    db,
    http::{IfMatch, Slice, Update},
    ledger::{self, Deletion, Scope},
    money::Money,
    timestamp::Timestamp,
};

/// Selects products from `p`, which `$with` defines.
macro_rules! products {
    ($with:literal $(+ $tail:literal)? $(, $arg:expr)*) => {
        sqlx::query!(
            "with p as (" + $with + r#")
             select p.id as "id!", p.title as "title!", p.description as "description!", p.price as "price!: Money",
                 c.id as "category_id!", c.name as "category_name!", p.is_active as "is_active!",
                 p.created_at as "created_at!: Timestamp", p.updated_at as "updated_at!: Timestamp"
             from p join category c on c.id = p.category_id"# $(+ $tail)?
            $(, $arg)*
        )
        .map(|row| Product {
            id: row.id,
            title: row.title,
            description: row.description,
            price: row.price,
            category: CategoryName { id: row.category_id, name: row.category_name },
            is_active: row.is_active,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    };
}

pub async fn count(db: impl PgExecutor<'_>) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"select coalesce(sum(active), 0)::bigint as "count!" from product_tally"#)
        .fetch_one(db)
        .await
}

pub async fn list(db: impl PgExecutor<'_>, slice: &Slice<Product>) -> sqlx::Result<Vec<Product>> {
    let (title, id) = &slice.after;
    products!(
        // What is skipped is read from the index alone.
        "select product.* from (
             select id from product where is_active and (title, id) > ($1, $2) order by title, id limit $3 offset $4
         ) page join product using (id)"
            + " order by p.title, p.id",
        title,
        id,
        slice.limit,
        slice.offset
    )
    .fetch_all(db)
    .await
}

pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Product>> {
    products!("select * from product where id = $1", id)
        .fetch_optional(db)
        .await
}

pub(crate) async fn exists(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from product where id = $1) as "exists!""#,
        id
    )
    .fetch_one(db)
    .await
}

pub async fn insert(tx: &mut PgConnection, sent: &ProductFields, by: &AuditContext) -> sqlx::Result<Product> {
    let product = products!(
        "insert into product (title, description, price, category_id, is_active)
         values ($1, coalesce($2, ''), $3, $4, coalesce($5, true)) returning *",
        sent.title,
        sent.description,
        sent.price as _,
        sent.category(),
        sent.is_active
    )
    .fetch_one(&mut *tx)
    .await?;
    let subject = subject(product.id);
    audit::record(tx, by, "product.created", subject, (None, Some(&product))).await?;
    Ok(product)
}

fn subject(id: i64) -> String {
    format!("product:{id}")
}

/// Writes what was sent. Stock rows carry their product's title along, so they are locked first, in the order in which
/// orders lock them.
pub async fn update(
    db: &PgPool,
    id: i64,
    sent: &ProductFields,
    if_match: &IfMatch,
    by: &AuditContext,
) -> sqlx::Result<Update<Product>> {
    let mut tx = db.begin().await?;
    if sent.title.is_some() {
        ledger::lock(&mut tx, Scope::Product(id)).await?;
    }
    sqlx::query!("select from product where id = $1 for no key update", id)
        .execute(&mut *tx)
        .await?;
    let Some(before) = get(&mut *tx, id).await? else {
        return Ok(Update::NotFound);
    };
    if !if_match.permits(&before) {
        return Ok(Update::PreconditionFailed);
    }
    let after = products!(
        "update product set title = coalesce($2, title), description = coalesce($3, description),
             price = coalesce($4, price), category_id = coalesce($5, category_id),
             is_active = coalesce($6, is_active), updated_at = now()
         where id = $1 returning *",
        id,
        sent.title,
        sent.description,
        sent.price as _,
        sent.category(),
        sent.is_active
    )
    .fetch_one(&mut *tx)
    .await?;
    let states = (Some(&before), Some(&after));
    audit::record(&mut *tx, by, "product.changed", subject(id), states).await?;
    db::commit(tx).await?;
    Ok(Update::Done(after))
}

/// Deletes a product with its stock, unless it was ever ordered.
pub async fn delete(db: &PgPool, id: i64, if_match: &IfMatch, by: &AuditContext) -> sqlx::Result<Deletion> {
    let mut tx = db.begin().await?;
    ledger::lock(&mut tx, Scope::Product(id)).await?;
    let sold = sqlx::query_scalar!("select sold from product where id = $1 for update", id)
        .fetch_optional(&mut *tx)
        .await?;
    let (Some(sold), Some(before)) = (sold, get(&mut *tx, id).await?) else {
        return Ok(Deletion::NotFound);
    };
    if !if_match.permits(&before) {
        return Ok(Deletion::PreconditionFailed);
    }
    if ledger::lock(&mut tx, Scope::Product(id)).await? || sold {
        return Ok(Deletion::Ordered);
    }
    ledger::remove(&mut tx, Scope::Product(id), by.actor.label().as_deref()).await?;
    sqlx::query!("delete from product where id = $1", id)
        .execute(&mut *tx)
        .await?;
    audit::record(
        &mut *tx,
        by,
        "product.deleted",
        subject(id),
        (Some(&before), None),
    )
    .await?;
    db::commit(tx).await?;
    Ok(Deletion::Done)
}
