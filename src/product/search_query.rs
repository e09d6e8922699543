//! The statements of the product search.

use serde::Serialize;
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder, Row, postgres::PgRow};
use utoipa::ToSchema;

use super::text::{is_indexed, push_phrase};
use crate::{
    category::CategoryName,
    http::{Listed, PageQuery},
    money::Money,
};

/// A product of the search results.
#[derive(Debug, Serialize, ToSchema)]
pub struct FoundProduct {
    id: i64,
    title: String,
    description: String,
    price: Money,
    category: CategoryName,
    is_active: bool,
}

impl Listed for FoundProduct {
    type Key = (String, i64);

    const LIST: &'static str = "search";
    const START: Self::Key = (String::new(), 0);

    fn key(&self) -> Self::Key {
        (self.title.clone(), self.id)
    }
}

/// The filters of a search. Without any, all active products match.
#[derive(Debug)]
pub(super) struct Search {
    /// A phrase in title, description or category name.
    pub text: Option<String>,
    /// Lowest and highest price, both included, as PostgreSQL reads them.
    pub min_price: Option<String>,
    pub max_price: Option<String>,
    /// A store with the product in stock.
    pub store_id: Option<i64>,
    pub category_id: Option<i64>,
}

/// How to find a page of matches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Finds all matches through the index of the text, then takes the page.
    Gather,
    /// Walks an index of titles until the page is full.
    Walk,
}

/// With this many matches, walking the titles fills a page quickly.
const MANY: i64 = 10_000;

impl Search {
    /// Without an index for the text, matches are gathered from the table, unless there are many.
    pub fn how(&self, count: Option<i64>) -> How {
        match &self.text {
            Some(text) if is_indexed(text) => How::Gather,
            Some(_) if count.is_some_and(|count| count < MANY) => How::Gather,
            _ => How::Walk,
        }
    }

    /// Whether all products have to be read, because no index serves the text.
    pub fn scans(&self) -> bool {
        self.text.as_ref().is_some_and(|text| !is_indexed(text))
    }
}

/// Counters have the numbers of all products and of each category.
pub(super) async fn count(db: &mut PgConnection, search: &Search) -> sqlx::Result<i64> {
    if let Search {
        text: None,
        min_price: None,
        max_price: None,
        store_id: None,
        category_id,
    } = search
    {
        return sqlx::query_scalar!(
            r#"select coalesce(sum(active), 0)::bigint as "count!" from product_tally
               where $1::bigint is null or category_id = $1"#,
            *category_id
        )
        .fetch_one(db)
        .await;
    }
    let mut query = matching(search, search.how(None));
    query.push(" select count(*) from matching");
    // Planned for each query, as in `found`.
    query.build_query_scalar().persistent(false).fetch_one(db).await
}

/// Not a prepared statement, so PostgreSQL plans each query: the best plan depends on the text and the page, and a generic plan
/// might read whole tables for a first page.
pub(super) async fn found(
    db: &mut PgConnection,
    search: &Search,
    page: &PageQuery<FoundProduct>,
) -> sqlx::Result<Vec<FoundProduct>> {
    let mut query = matching(search, search.how(page.count()));
    push_page(&mut query, &page.after, page.limit, page.offset);
    query
        .push(" select ")
        .push(FOUND)
        .push(" from page join product p on p.id = page.id order by page.title, page.id");
    query.build_query_as().persistent(false).fetch_all(db).await
}

/// Reads a page and counts all matches in one statement: the matches are materialized, and so found once.
pub(super) async fn found_and_counted(
    db: &mut PgConnection,
    search: &Search,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(i64, Vec<FoundProduct>)> {
    let mut query = matching(search, How::Gather);
    push_page(&mut query, &FoundProduct::START, limit, offset);
    // Beyond the last page the result has one row, with the count and no product.
    query.push(" select total.count, ").push(FOUND).push(
        " from (select count(*) from matching) total left join page on true left join product p on p.id = page.id
         order by page.title, page.id",
    );
    let rows = query.build().persistent(false).fetch_all(db).await?;
    let count = rows.first().map_or(Ok(0), |row| row.try_get("count"))?;
    let rows = match rows.first() {
        Some(row) if row.try_get::<Option<i64>, _>("id")?.is_none() => Vec::new(),
        _ => rows
            .iter()
            .map(FoundProduct::from_row)
            .collect::<sqlx::Result<_>>()?,
    };
    Ok((count, rows))
}

/// Adds the ids and titles of a page of `matching` after a key, as `page`.
///
/// The key is compared outside of `matching`: inside, the planner would read the title index from the key on instead of the
/// trigram index. If `matching` is not materialized, the comparison starts the walk of the title index.
fn push_page(query: &mut QueryBuilder<Postgres>, (title, id): &(String, i64), limit: i64, offset: i64) {
    query
        .push(", page as (select id, title from matching where title >= ")
        .push_bind(title.clone())
        .push(" and (title, id) > (")
        .push_bind(title.clone())
        .push(", ")
        .push_bind(*id);
    query.push(") order by title, id limit ").push_bind(limit);
    query.push(" offset ").push_bind(offset).push(")");
}

/// The columns of a `FoundProduct`, from `page` joined with `product p`. A subquery for the category plans faster than a join.
const FOUND: &str = "page.id, page.title, p.description, p.price, p.category_id,
    (select name from category c where c.id = p.category_id) as category_name, p.is_active";

impl FromRow<'_, PgRow> for FoundProduct {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            title: row.try_get("title")?,
            description: row.try_get("description")?,
            price: row.try_get("price")?,
            category: CategoryName {
                id: row.try_get("category_id")?,
                name: row.try_get("category_name")?,
            },
            is_active: row.try_get("is_active")?,
        })
    }
}

/// Begins a statement with the ids and titles of all matches, as `matching`.
///
/// `How::Gather` materializes it: the matches come from the trigram index. Otherwise the planner might walk the title index in
/// the hope of filling a page early, which reads the whole table for a rare word. `How::Walk` uses the index of the store's
/// stock, if a store is given.
fn matching(search: &Search, how: How) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("with matching as ");
    match (how, search.store_id) {
        (How::Walk, Some(store)) => {
            query.push(
                "(select p.id, i.product_title as title from inventory i join product p on p.id = i.product_id
                  where p.is_active and i.quantity > 0 and i.store_id = ",
            );
            query.push_bind(store);
        }
        (How::Walk, None) => {
            query.push("(select p.id, p.title from product p where p.is_active");
        }
        (How::Gather, store) => {
            query.push("materialized (select p.id, p.title from product p where p.is_active");
            if let Some(store) = store {
                // A subquery for each match: the planner would turn `exists` into a join that reads all stock of the store.
                query.push(" and (select i.quantity > 0 from inventory i where i.product_id = p.id and i.store_id = ");
                query.push_bind(store).push(")");
            }
        }
    }
    if let Some(text) = &search.text {
        query.push(" and ");
        push_phrase(&mut query, text);
    }
    if let Some(price) = &search.min_price {
        query
            .push(" and p.price >= ")
            .push_bind(price.clone())
            .push("::text::numeric");
    }
    if let Some(price) = &search.max_price {
        query
            .push(" and p.price <= ")
            .push_bind(price.clone())
            .push("::text::numeric");
    }
    if let Some(category) = search.category_id {
        query.push(" and p.category_id = ").push_bind(category);
    }
    query.push(")");
    query
}
