//! The SQL of the pages of products.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use sqlx::{FromRow, PgExecutor, Postgres, QueryBuilder};

use crate::{
    console::query::{PAGE_SIZE, Query},
    db::ReadPool,
    money::Money,
    product::text::{has_indexed_word, push_words},
    timestamp::Timestamp,
};

/// What the list can be sorted by.
pub const COLUMNS: [&str; 3] = ["title", "price", "created"];

/// The most stock rows of a product that are read; few products are in more stores.
pub const MOST_STORES: i64 = 500;

/// A product in a list.
#[derive(Debug, FromRow)]
pub struct Row {
    pub id: i64,
    pub title: String,
    pub sku: Option<String>,
    pub price: Money,
    pub is_active: bool,
    pub category_id: i64,
    pub category_name: String,
    /// Units in the first [`MOST_STORES`] of the granted stores.
    pub units: i64,
    /// Stores that sell it.
    pub stores: i64,
    pub created_at: DateTime<Utc>,
}

/// The filters of the list.
#[derive(Debug)]
pub struct Filter {
    pub text: Option<String>,
    pub category: Option<i64>,
    pub is_active: Option<bool>,
    pub min_price: Option<Decimal>,
    pub max_price: Option<Decimal>,
}

impl Filter {
    /// Reads the filters of a query.
    pub fn read(query: &mut Query) -> Self {
        Self {
            text: query.get("q").map(str::to_owned),
            category: query.read_id("category"),
            is_active: query.read_activity(),
            min_price: query.read_price("min_price"),
            max_price: query.read_price("max_price"),
        }
    }

    /// Whether the search reads all products, because no index has any of its words.
    pub fn scans(&self) -> bool {
        self.text.as_ref().is_some_and(|text| !has_indexed_word(text))
    }

    /// The number of matching products, if it is known without reading them.
    pub async fn count(&self, db: impl PgExecutor<'_>) -> sqlx::Result<Option<i64>> {
        if self.text.is_some() || self.min_price.is_some() || self.max_price.is_some() {
            return Ok(None);
        }
        sqlx::query_scalar!(
            r#"select coalesce(sum(case when $2 then active when not $2 then products - active else products end), 0)::bigint
                   as "count!"
               from product_tally where $1::bigint is null or category_id = $1"#,
            self.category,
            self.is_active
        )
        .fetch_one(db)
        .await
        .map(Some)
    }
}

/// A page of products, and one row more if there are more. Active and inactive products have indexes of their own, which
/// are merged. The statement is planned each time: the best plan depends on the filters.
pub async fn list(
    db: &ReadPool,
    filter: &Filter,
    query: &Query,
    granted: Option<&[i64]>,
) -> sqlx::Result<Vec<Row>> {
    let (column, downwards) = query.sorted();
    let order = match (column, downwards) {
        ("price", false) => "price, title, id",
        ("price", true) => "price desc, title desc, id desc",
        ("created", false) => "id",
        ("created", true) => "id desc",
        (_, false) => "title, id",
        (_, true) => "title desc, id desc",
    };
    let mut sql = QueryBuilder::new("with page as (select * from (");
    for is_active in [true, false] {
        if filter.is_active.is_some_and(|wanted| wanted != is_active) {
            continue;
        }
        if filter.is_active.is_none() && !is_active {
            sql.push(" union all ");
        }
        push_matching(&mut sql, filter, is_active);
        sql.push(format!(" order by {order} limit "))
            .push_bind(query.offset() + PAGE_SIZE + 1);
        sql.push(")");
    }
    sql.push(format!(") both_kinds order by {order} limit "))
        .push_bind(PAGE_SIZE + 1);
    sql.push(" offset ").push_bind(query.offset());
    sql.push(
        ") select page.id, page.title, page.price, p.is_active, c.id as category_id, c.name as category_name,
             stock.units, stock.stores, p.created_at,
             (select code from product_code where product_id = page.id and kind = 'SKU') as sku
         from page join product p on p.id = page.id join category c on c.id = p.category_id cross join lateral (
             select coalesce(sum(quantity), 0)::bigint as units, count(*) as stores from (
                 select quantity from inventory i where i.product_id = page.id and (",
    );
    sql.push_bind(granted.map(<[i64]>::to_vec));
    sql.push("::bigint[] is null or i.store_id = any(")
        .push_bind(granted.map(<[i64]>::to_vec));
    sql.push(")) limit ").push_bind(MOST_STORES);
    sql.push(") rows) stock order by ").push(
        order
            .replace("price", "page.price")
            .replace("title", "page.title")
            .replace("id", "page.id"),
    );
    sql.build_query_as().persistent(false).fetch_all(db).await
}

/// Begins a `(select …` of the matching products. `offset 0` keeps the search in its index: otherwise the planner would read
/// all titles in their order until a page is full.
fn push_matching(sql: &mut QueryBuilder<Postgres>, filter: &Filter, is_active: bool) {
    sql.push("(select id, title, price from (select p.id, p.title, p.price from product p where ");
    sql.push(if is_active {
        "p.is_active"
    } else {
        "not p.is_active"
    });
    if let Some(text) = &filter.text {
        sql.push(" and ");
        push_words(sql, text);
    }
    if let Some(category) = filter.category {
        sql.push(" and p.category_id = ").push_bind(category);
    }
    if let Some(price) = filter.min_price {
        sql.push(" and p.price >= ").push_bind(price);
    }
    if let Some(price) = filter.max_price {
        sql.push(" and p.price <= ").push_bind(price);
    }
    let is_indexed = filter.text.is_some() && !filter.scans();
    sql.push(if is_indexed {
        " offset 0) matching"
    } else {
        ") matching"
    });
}

/// The stock of a product in a store.
#[derive(Debug)]
pub struct Stock {
    pub id: i64,
    pub store_id: i64,
    pub store_name: String,
    pub quantity: i64,
    pub is_low: bool,
    pub updated_at: Timestamp,
}

/// The stock of a product in the granted stores, by name: at most one more than [`MOST_STORES`].
pub async fn stock(
    db: impl PgExecutor<'_>,
    product: i64,
    granted: Option<&[i64]>,
) -> sqlx::Result<Vec<Stock>> {
    sqlx::query_as!(
        Stock,
        r#"select i.id, i.store_id, s.name as store_name, i.quantity::bigint as "quantity!", i.is_low as "is_low!",
               i.updated_at as "updated_at: Timestamp"
           from inventory i join store s on s.id = i.store_id
           where i.product_id = $1 and ($2::bigint[] is null or i.store_id = any($2))
           order by s.name, i.id limit $3"#,
        product,
        granted,
        MOST_STORES + 1
    )
    .fetch_all(db)
    .await
}

/// What a deletion also removes.
#[derive(Debug)]
pub struct Takes {
    pub stores: i64,
    pub units: i64,
    /// Whether it has orders: then it cannot be deleted.
    pub ordered: bool,
}

/// Reads what a deletion of a product also removes.
pub async fn takes(db: impl PgExecutor<'_>, id: i64) -> sqlx::Result<Takes> {
    sqlx::query_as!(
        Takes,
        r#"select count(i.id) as "stores!", coalesce(sum(i.quantity), 0)::bigint as "units!",
               coalesce(bool_or(p.sold or i.ordered), false) as "ordered!"
           from product p left join inventory i on i.product_id = p.id where p.id = $1"#,
        id
    )
    .fetch_one(db)
    .await
}
