//! The SQL of categories.

use sqlx::{PgConnection, PgExecutor};

use super::model::{Category, CategoryFields};
use crate::{
    http::{Counted, PageQuery},
    timestamp::Timestamp,
};

/// Selects categories from `c`, which `$with` defines, with the count of a list.
macro_rules! categories {
    ($with:literal $(+ $tail:literal)? $(, $arg:expr)*) => {
        sqlx::query!(
            "with c as (" + $with + r#")
             select c.count, c.id as "id!", c.name as "name!",
                 (select coalesce(sum(products), 0)::bigint from product_tally t where t.category_id = c.id)
                     as "product_count!",
                 c.created_at as "created_at!: Timestamp", c.updated_at as "updated_at!: Timestamp"
             from c"# $(+ $tail)?
            $(, $arg)*
        )
        .map(|row| Counted {
            count: row.count,
            row: Category {
                id: row.id,
                name: row.name,
                product_count: row.product_count,
                created_at: row.created_at,
                updated_at: row.updated_at,
            },
        })
    };
}

pub async fn list(
    db: impl PgExecutor<'_>,
    page: &PageQuery<Category>,
) -> sqlx::Result<Vec<Counted<Category>>> {
    match page {
        PageQuery::First => {
            categories!(
                "select *, (select count(*) from category) as count from category order by name, id limit 20"
                    + " order by c.name, c.id"
            )
            .fetch_all(db)
            .await
        }
        PageQuery::Later(skipped) => {
            categories!(
                "with total as (select count(*) from category),
                     place as materialized (select count, coalesce($1, greatest(count - 1, 0) / 20 * 20) as skipped from total)
                 select page.*, count from place cross join lateral (
                     select * from category where skipped < count order by name, id limit 20 offset skipped
                 ) page"
                    + " order by c.name, c.id",
                *skipped
            )
            .fetch_all(db)
            .await
        }
        PageQuery::After((name, id)) => {
            categories!(
                "select *, null::bigint as count from category where (name, id) > ($1, $2) order by name, id limit 21"
                    + " order by c.name, c.id",
                name,
                id
            )
            .fetch_all(db)
            .await
        }
    }
}

pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Category>> {
    categories!("select *, null::bigint as count from category where id = $1", id)
        .map(|counted| counted.row)
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

/// Those of `ids` that exist.
pub(crate) async fn existing(db: impl PgExecutor<'_>, ids: &[i64]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!("select id from category where id = any($1)", ids)
        .fetch_all(db)
        .await
}

pub async fn insert(db: impl PgExecutor<'_>, fields: &CategoryFields) -> sqlx::Result<Category> {
    categories!(
        "insert into category (name) values ($1) returning *, null::bigint as count",
        fields.name
    )
    .map(|counted| counted.row)
    .fetch_one(db)
    .await
}

/// Locks a category, and reads it after the lock.
pub async fn lock(tx: &mut PgConnection, id: i64) -> sqlx::Result<Option<Category>> {
    sqlx::query!("select from category where id = $1 for no key update", id)
        .execute(&mut *tx)
        .await?;
    get(tx, id).await
}

/// Writes the given fields.
pub async fn update(db: impl PgExecutor<'_>, id: i64, fields: &CategoryFields) -> sqlx::Result<Category> {
    categories!(
        "update category set name = coalesce($2, name), updated_at = now() where id = $1 returning *, null::bigint as count",
        id,
        fields.name
    )
    .map(|counted| counted.row)
    .fetch_one(db)
    .await
}

/// Locks a category for its deletion, so that it gets no new products, and reads it after the lock.
pub async fn lock_for_deletion(tx: &mut PgConnection, id: i64) -> sqlx::Result<Option<Category>> {
    sqlx::query!("select from category where id = $1 for update", id)
        .execute(&mut *tx)
        .await?;
    get(tx, id).await
}

/// Locks the products of a category. Returns whether one of them was ever ordered.
pub async fn lock_products(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"with locked as materialized (
               select sold from product where category_id = $1 order by id for update
           )
           select coalesce(bool_or(sold), false) as "sold!" from locked"#,
        id
    )
    .fetch_one(db)
    .await
}

/// Deletes a category and its products.
pub async fn delete(tx: &mut PgConnection, id: i64) -> sqlx::Result<()> {
    sqlx::query!("delete from product where category_id = $1", id)
        .execute(&mut *tx)
        .await?;
    sqlx::query!("delete from category where id = $1", id)
        .execute(tx)
        .await
        .map(drop)
}
