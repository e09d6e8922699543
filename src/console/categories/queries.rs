//! The SQL of the pages of categories.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgExecutor, QueryBuilder};

use crate::{
    console::query::{PAGE_SIZE, Query},
    db::ReadPool,
};

/// A category in the list and on its page.
#[derive(Debug, FromRow)]
pub struct Category {
    pub id: i64,
    pub name: String,
    pub products: i64,
    pub active: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

const CATEGORIES: &str = "select c.id, c.name, coalesce(t.products, 0)::bigint as products,
        coalesce(t.active, 0)::bigint as active, c.created_at, c.updated_at
    from category c left join (
        select category_id, sum(products) as products, sum(active) as active from product_tally group by category_id
    ) t on t.category_id = c.id";

/// What the list can be sorted by.
pub const COLUMNS: [&str; 3] = ["name", "products", "created"];

/// A page of categories, and one row more if there are more.
pub async fn list(db: &ReadPool, query: &Query) -> sqlx::Result<Vec<Category>> {
    let mut sql = QueryBuilder::new(CATEGORIES);
    if let Some(text) = query.get("q") {
        sql.push(" where search_fold(c.name) like search_pattern(")
            .push_bind(text.to_owned())
            .push(")");
    }
    let (column, downwards) = query.sorted();
    sql.push(match column {
        "products" => " order by products",
        "created" => " order by c.id",
        _ => " order by c.name",
    });
    sql.push(if downwards { " desc" } else { "" });
    sql.push(", c.id limit ").push_bind(PAGE_SIZE + 1);
    sql.push(" offset ").push_bind(query.offset());
    sql.build_query_as().persistent(false).fetch_all(db).await
}

/// One category.
pub async fn get(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Option<Category>> {
    let mut sql = QueryBuilder::new(CATEGORIES);
    sql.push(" where c.id = ").push_bind(id);
    sql.build_query_as().fetch_optional(db).await
}

/// What a deletion also removes.
#[derive(Debug)]
pub struct Takes {
    pub products: i64,
    pub stock_rows: i64,
    pub units: i64,
    /// Whether one of the products has orders: then nothing can be deleted.
    pub ordered: bool,
}

/// Reads what a deletion of a category also removes.
pub async fn takes(db: &ReadPool, id: i64) -> sqlx::Result<Takes> {
    sqlx::query_as!(
        Takes,
        r#"select count(distinct p.id) as "products!", count(i.id) as "stock_rows!",
               coalesce(sum(i.quantity), 0)::bigint as "units!",
               coalesce(bool_or(p.sold or i.ordered), false) as "ordered!"
           from product p left join inventory i on i.product_id = p.id where p.category_id = $1"#,
        id
    )
    .fetch_one(db)
    .await
}
