//! The SQL of products, except the search.

use sqlx::{PgConnection, PgExecutor};

use super::model::{Product, ProductFields};
use crate::{category::CategoryName, http::PageQuery, money::Money, timestamp::Timestamp};

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

pub async fn list(db: impl PgExecutor<'_>, page: &PageQuery<Product>) -> sqlx::Result<Vec<Product>> {
    let (title, id) = &page.after;
    products!(
        // Skipped rows are read from the index alone.
        "select product.* from (
             select id from product where is_active and (title, id) > ($1, $2) order by title, id limit $3 offset $4
         ) page join product using (id)"
            + " order by p.title, p.id",
        title,
        id,
        page.limit,
        page.offset
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

pub async fn insert(db: impl PgExecutor<'_>, fields: &ProductFields) -> sqlx::Result<Product> {
    products!(
        "insert into product (title, description, price, category_id, is_active)
         values ($1, coalesce($2, ''), $3, $4, coalesce($5, true)) returning *",
        fields.title,
        fields.description,
        fields.price as _,
        fields.category(),
        fields.is_active
    )
    .fetch_one(db)
    .await
}

/// Locks a product, and reads it after the lock.
pub async fn lock(tx: &mut PgConnection, id: i64) -> sqlx::Result<Option<Product>> {
    sqlx::query!("select from product where id = $1 for no key update", id)
        .execute(&mut *tx)
        .await?;
    get(tx, id).await
}

/// Writes the given fields.
pub async fn update(db: impl PgExecutor<'_>, id: i64, fields: &ProductFields) -> sqlx::Result<Product> {
    products!(
        "update product set title = coalesce($2, title), description = coalesce($3, description),
             price = coalesce($4, price), category_id = coalesce($5, category_id),
             is_active = coalesce($6, is_active), updated_at = now()
         where id = $1 returning *",
        id,
        fields.title,
        fields.description,
        fields.price as _,
        fields.category(),
        fields.is_active
    )
    .fetch_one(db)
    .await
}

/// Locks a product for its deletion. Returns it as read after the lock, and whether it was ever ordered.
pub async fn lock_for_deletion(tx: &mut PgConnection, id: i64) -> sqlx::Result<Option<(Product, bool)>> {
    let sold = sqlx::query_scalar!("select sold from product where id = $1 for update", id)
        .fetch_optional(&mut *tx)
        .await?;
    Ok(get(tx, id).await?.zip(sold))
}

pub async fn delete(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<()> {
    sqlx::query!("delete from product where id = $1", id)
        .execute(db)
        .await
        .map(drop)
}
