//! The SQL of products, except the search.

use sqlx::{PgConnection, PgExecutor, types::Json};

use super::{
    codes::Barcode,
    model::{Product, ProductFields},
};
use crate::{
    category::CategoryName,
    http::{Counted, PageQuery},
    money::Money,
    timestamp::Timestamp,
};

/// Selects products from `p`, which `$with` defines, with the count of a list. `$barcodes` is a JSON list, or null.
macro_rules! products {
    ($barcodes:literal, $with:literal $(+ $tail:literal)? $(, $arg:expr)*) => {
        sqlx::query!(
            "with p as (" + $with + r#")
             select p.count, p.id as "id!", p.title as "title!", p.description as "description!", p.price as "price!: Money",
                 c.id as "category_id!", c.name as "category_name!", p.is_active as "is_active!", p.unit as "unit!",
                 (select code from product_code where product_id = p.id and kind = 'SKU') as sku,
                 "# + $barcodes + r#" as "barcodes: Json<Vec<Barcode>>",
                 p.created_at as "created_at!: Timestamp", p.updated_at as "updated_at!: Timestamp"
             from p join category c on c.id = p.category_id"# $(+ $tail)?
            $(, $arg)*
        )
        .map(|row| Counted {
            count: row.count,
            row: Product {
                id: row.id,
                title: row.title,
                description: row.description,
                price: row.price,
                category: CategoryName { id: row.category_id, name: row.category_name },
                is_active: row.is_active,
                sku: row.sku,
                unit: row.unit,
                barcodes: row.barcodes.map(|barcodes| barcodes.0),
                created_at: row.created_at,
                updated_at: row.updated_at,
            },
        })
    };
}

pub async fn list(db: impl PgExecutor<'_>, page: &PageQuery<Product>) -> sqlx::Result<Vec<Counted<Product>>> {
    match page {
        PageQuery::First => {
            products!(
                "null::json",
                "select *, (select coalesce(sum(active), 0)::bigint from product_tally) as count
                 from product where is_active order by title, id limit 20"
                    + " order by p.title, p.id"
            )
            .fetch_all(db)
            .await
        }
        PageQuery::Later(skipped) => {
            products!(
                "null::json",
                // Skipped rows are read from the index alone. `offset 0` prevents a hash join, which would read all products.
                "with total as (select coalesce(sum(active), 0)::bigint as count from product_tally),
                     place as materialized (select count, coalesce($1, greatest(count - 1, 0) / 20 * 20) as skipped from total)
                 select product.*, count from place cross join lateral (
                     select id from product where is_active and skipped < count order by title, id limit 20 offset skipped
                 ) page cross join lateral (select * from product where id = page.id offset 0) product
                 limit 20"
                    + " order by p.title, p.id",
                *skipped
            )
            .fetch_all(db)
            .await
        }
        PageQuery::After((title, id)) => {
            products!(
                "null::json",
                "select *, null::bigint as count from product
                 where is_active and (title, id) > ($1, $2) order by title, id limit 21"
                    + " order by p.title, p.id",
                title,
                id
            )
            .fetch_all(db)
            .await
        }
    }
}

/// A product with its barcodes.
pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Product>> {
    products!(
        "(select coalesce(json_agg(json_build_object('code', code, 'pack', pack) order by code), '[]')
          from product_code where product_id = p.id and kind = 'BARCODE')",
        "select *, null::bigint as count from product where id = $1",
        id
    )
    .map(|counted| counted.row)
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

/// Creates a product without codes. Returns its id.
pub async fn insert(db: impl PgExecutor<'_>, fields: &ProductFields) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        "insert into product (title, description, price, category_id, is_active, unit)
         values ($1, coalesce($2, ''), $3, $4, coalesce($5, true), coalesce($6, '')) returning id",
        fields.title,
        fields.description,
        fields.price as _,
        fields.category(),
        fields.is_active,
        fields.unit
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

/// Writes the given fields except the codes.
pub async fn update(db: impl PgExecutor<'_>, id: i64, fields: &ProductFields) -> sqlx::Result<()> {
    sqlx::query!(
        "update product set title = coalesce($2, title), description = coalesce($3, description),
             price = coalesce($4, price), category_id = coalesce($5, category_id),
             is_active = coalesce($6, is_active), unit = coalesce($7, unit), updated_at = now()
         where id = $1",
        id,
        fields.title,
        fields.description,
        fields.price as _,
        fields.category(),
        fields.is_active,
        fields.unit
    )
    .execute(db)
    .await
    .map(drop)
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
