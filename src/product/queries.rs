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

/// The products with these SKUs, active or not.
pub async fn with_skus(db: impl PgExecutor<'_>, skus: &[String]) -> sqlx::Result<Vec<Product>> {
    products!(
        "null::json",
        "select *, null::bigint as count from product
         where id in (select product_id from product_code where kind = 'SKU' and code = any($1))"
            + " order by p.title, p.id",
        skus
    )
    .map(|counted| counted.row)
    .fetch_all(db)
    .await
}

/// Selects products from `$with`, with their barcodes.
macro_rules! products_with_barcodes {
    ($with:literal, $arg:expr) => {
        products!(
            "(select coalesce(json_agg(json_build_object('code', code, 'pack', pack) order by code), '[]')
          from product_code where product_id = p.id and kind = 'BARCODE')",
            $with,
            $arg
        )
        .map(|counted| counted.row)
    };
}

/// A product with its barcodes.
pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Product>> {
    products_with_barcodes!("select *, null::bigint as count from product where id = $1", id)
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

/// Products with their barcodes.
pub async fn get_all(db: impl PgExecutor<'_>, ids: &[i64]) -> sqlx::Result<Vec<Product>> {
    products_with_barcodes!(
        "select *, null::bigint as count from product where id = any($1)",
        ids
    )
    .fetch_all(db)
    .await
}

/// Creates products without codes. Returns their ids in the same sequence.
pub async fn insert_all(db: impl PgExecutor<'_>, all: &[&ProductFields]) -> sqlx::Result<Vec<i64>> {
    let columns = Columns::of(all);
    sqlx::query_scalar!(
        r#"with new as materialized (
               select nextval(pg_get_serial_sequence('product', 'id')) as id, fields.*
               from unnest($1::text[], $2::text[], $3::numeric[], $4::bigint[], $5::boolean[], $6::text[]) with ordinality
                   as fields (title, description, price, category_id, is_active, unit, place)
           ), inserted as (
               insert into product (id, title, description, price, category_id, is_active, unit) overriding system value
               select id, title, coalesce(description, ''), price, category_id, coalesce(is_active, true), coalesce(unit, '')
               from new order by place
           )
           select id as "id!" from new order by place"#,
        &columns.titles as &[Option<&str>],
        &columns.descriptions as &[Option<&str>],
        &columns.prices as &[Option<Money>],
        &columns.categories as &[Option<i64>],
        &columns.active as &[Option<bool>],
        &columns.units as &[Option<&str>]
    )
    .fetch_all(db)
    .await
}

/// Locks a product, and reads it after the lock.
pub async fn lock(tx: &mut PgConnection, id: i64) -> sqlx::Result<Option<Product>> {
    sqlx::query!("select from product where id = $1 for no key update", id)
        .execute(&mut *tx)
        .await?;
    get(tx, id).await
}

/// Locks products in the sequence of their ids, and reads them after the lock.
pub async fn lock_all(tx: &mut PgConnection, ids: &[i64]) -> sqlx::Result<Vec<Product>> {
    sqlx::query!(
        "select from product where id = any($1) order by id for no key update",
        ids
    )
    .execute(&mut *tx)
    .await?;
    get_all(tx, ids).await
}

/// Writes the given fields of products except the codes.
pub async fn update_all(db: impl PgExecutor<'_>, ids: &[i64], all: &[&ProductFields]) -> sqlx::Result<()> {
    let columns = Columns::of(all);
    sqlx::query!(
        "update product p set title = coalesce(new.title, p.title), description = coalesce(new.description, p.description),
             price = coalesce(new.price, p.price), category_id = coalesce(new.category_id, p.category_id),
             is_active = coalesce(new.is_active, p.is_active), unit = coalesce(new.unit, p.unit), updated_at = now()
         from unnest($1::bigint[], $2::text[], $3::text[], $4::numeric[], $5::bigint[], $6::boolean[], $7::text[])
             as new (id, title, description, price, category_id, is_active, unit)
         where p.id = new.id",
        ids,
        &columns.titles as &[Option<&str>],
        &columns.descriptions as &[Option<&str>],
        &columns.prices as &[Option<Money>],
        &columns.categories as &[Option<i64>],
        &columns.active as &[Option<bool>],
        &columns.units as &[Option<&str>]
    )
    .execute(db)
    .await
    .map(drop)
}

/// The fields of products as columns.
struct Columns<'a> {
    titles: Vec<Option<&'a str>>,
    descriptions: Vec<Option<&'a str>>,
    prices: Vec<Option<Money>>,
    categories: Vec<Option<i64>>,
    active: Vec<Option<bool>>,
    units: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn of(all: &[&'a ProductFields]) -> Self {
        Self {
            titles: all.iter().map(|fields| fields.title.as_deref()).collect(),
            descriptions: all.iter().map(|fields| fields.description.as_deref()).collect(),
            prices: all.iter().map(|fields| fields.price).collect(),
            categories: all.iter().map(|fields| fields.category()).collect(),
            active: all.iter().map(|fields| fields.is_active).collect(),
            units: all.iter().map(|fields| fields.unit.as_deref()).collect(),
        }
    }
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

/// Those of some products that exist.
pub(crate) async fn existing(db: impl PgExecutor<'_>, ids: &[i64]) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!("select id from product where id = any($1)", ids)
        .fetch_all(db)
        .await
}
