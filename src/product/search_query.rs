//! The statements of the product search.

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, Postgres, QueryBuilder, Row, postgres::PgRow};
use utoipa::ToSchema;

use super::text::{is_indexed, push_phrase};
use crate::{
    category::CategoryName,
    db::ReadPool,
    http::{Counted, Listed, PageQuery, Rows, push_place},
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
    #[schema(required = true)]
    sku: Option<String>,
    #[serde(skip)]
    rank: i32,
}

/// Sorts the results: products with the text as their SKU, those whose SKU begins with it, and all others by title.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FoundKey {
    /// A product that was found by its SKU.
    Sku(i32, String, i64),
    /// Any other.
    Title(String, i64),
}

/// The rank of products that are not found by their SKU.
const BY_TITLE: i32 = 2;

impl Listed for FoundProduct {
    type Key = FoundKey;

    const LIST: &'static str = "search";
    const START: Self::Key = FoundKey::Sku(0, String::new(), 0);

    fn key(&self) -> Self::Key {
        match self.rank {
            BY_TITLE => FoundKey::Title(self.title.clone(), self.id),
            rank => FoundKey::Sku(rank, self.title.clone(), self.id),
        }
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

    /// Whether a text that an index serves is the only filter.
    fn is_indexed_text(&self) -> bool {
        let others = [&self.min_price, &self.max_price];
        self.how(None) == How::Gather
            && others.iter().all(|price| price.is_none())
            && self.store_id.is_none()
            && self.category_id.is_none()
    }

    /// The beginning of a SKU, in upper case, if the text may be one. The first are looked up in an index of their own.
    fn sku(&self) -> Option<String> {
        let text = self
            .text
            .as_ref()
            .filter(|text| is_indexed(text) && text.len() <= 64)?;
        let is_code = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        is_code.then(|| text.to_ascii_uppercase())
    }

    /// Whether all products have to be read, because no index serves the text.
    pub fn scans(&self) -> bool {
        self.text.as_ref().is_some_and(|text| !is_indexed(text))
    }
}

/// Counters have the numbers of all products and of each category.
pub(super) async fn count(db: &ReadPool, search: &Search) -> sqlx::Result<i64> {
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
    // Planned for each query, as in `read`.
    query.build_query_scalar().persistent(false).fetch_one(db).await
}

/// Reads rows of a list of `count` rows, or those after a key.
pub(super) async fn found(
    db: &ReadPool,
    search: &Search,
    page: &PageQuery<FoundProduct>,
    count: Option<i64>,
) -> sqlx::Result<Rows<FoundProduct>> {
    let mut query = matching(search, search.how(count));
    query.push(", total as (select null::bigint as count)");
    if let PageQuery::After(key) = page {
        push_page_after(&mut query, search, key);
    } else {
        let skipped = page.skipped(count.unwrap_or(0));
        query.push(format!(
            "{PAGE}{} limit 20 offset {skipped})",
            sorted(search, "matching")
        ));
    }
    Ok(Rows {
        count,
        ..read(db, search, query).await?
    })
}

/// Reads a page and counts all matches in one statement: the matches are materialized, and so found once.
pub(super) async fn found_and_counted(
    db: &ReadPool,
    search: &Search,
    page: &PageQuery<FoundProduct>,
) -> sqlx::Result<Rows<FoundProduct>> {
    let mut query = matching(search, How::Gather);
    query.push(", total as (select count(*) from matching)");
    if let PageQuery::Later(skipped) = page {
        push_place(query.push(", "), *skipped);
        query.push(format!(
            "{PAGE} where (select skipped < count from place){} limit 20",
            sorted(search, "matching")
        ));
        query.push(" offset (select skipped from place))");
    } else {
        query.push(format!("{PAGE}{} limit 20)", sorted(search, "matching")));
    }
    read(db, search, query).await
}

/// Selects the products of `page`.
///
/// A search by text alone is a prepared statement: its plan does not depend on the text, and planning takes longer than finding a
/// few hundred matches. Any other is planned for each query, because the best plan depends on filters and page. A generic
/// plan might read whole tables for a first page.
async fn read(
    db: &ReadPool,
    search: &Search,
    mut query: QueryBuilder<Postgres>,
) -> sqlx::Result<Rows<FoundProduct>> {
    // A subquery for the category plans faster than a join.
    query.push(
        " select (select count from total), page.id, page.title, p.description, p.price, p.category_id,
              (select name from category c where c.id = p.category_id), p.is_active,
              (select code from product_code where product_id = p.id and kind = 'SKU'), page.rank
          from page join product p on p.id = page.id",
    );
    query.push(sorted(search, "page"));
    let query = query.build_query_as().persistent(search.is_indexed_text());
    let found: Vec<Counted<FoundProduct>> = query.fetch_all(db).await?;
    Ok(found.into())
}

/// Begins the ids and titles of a page of `matching`.
const PAGE: &str = ", page as (select id, title, rank from matching";

/// Without a SKU, all have the same rank.
fn sorted(search: &Search, table: &str) -> String {
    let rank = if search.sku().is_some() {
        format!("{table}.rank, ")
    } else {
        String::new()
    };
    format!(" order by {rank}{table}.title, {table}.id")
}

/// Adds `page` with the matches after a key.
///
/// The key is compared outside of `matching`: inside, the planner would read the title index from the key on instead of the
/// trigram index. If `matching` is not materialized, the comparison starts the walk of the title index.
fn push_page_after(query: &mut QueryBuilder<Postgres>, search: &Search, key: &FoundKey) {
    let (rank, title, id) = match key {
        FoundKey::Sku(rank, title, id) => (*rank, title, *id),
        FoundKey::Title(title, id) => (BY_TITLE, title, *id),
    };
    query.push(PAGE);
    if search.sku().is_some() {
        query.push(" where (rank, title, id) > (").push_bind(rank);
        query.push(", ");
    } else {
        query.push(" where title >= ").push_bind(title.clone());
        query.push(" and (title, id) > (");
    }
    query.push_bind(title.clone());
    query.push(", ").push_bind(id).push(")");
    query.push(sorted(search, "matching")).push(" limit 21)");
}

/// From the second column on, because the first is the count.
impl FromRow<'_, PgRow> for FoundProduct {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get_unchecked(1)?,
            title: row.try_get_unchecked(2)?,
            description: row.try_get_unchecked(3)?,
            price: row.try_get_unchecked(4)?,
            category: CategoryName {
                id: row.try_get_unchecked(5)?,
                name: row.try_get_unchecked(6)?,
            },
            is_active: row.try_get_unchecked(7)?,
            sku: row.try_get_unchecked(8)?,
            rank: row.try_get_unchecked(9)?,
        })
    }
}

/// Begins a statement with the ids, titles and ranks of all matches, as `matching`.
///
/// `How::Gather` materializes it: the matches come from the trigram index. Otherwise the planner might walk the title index in
/// the hope of filling a page early, which reads the whole table for a rare word. `How::Walk` uses the index of the store's
/// stock, if a store is given.
fn matching(search: &Search, how: How) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("with ");
    let sku = search.sku();
    if let Some(sku) = &sku {
        push_skus(&mut query, sku);
    }
    query.push("matching as ");
    match (how, search.store_id) {
        (How::Walk, Some(store)) => {
            query.push(
                "(select p.id, i.product_title as title, 2 as rank from inventory i join product p on p.id = i.product_id
                  where p.is_active and i.quantity > 0 and i.store_id = ",
            );
            query.push_bind(store);
        }
        (How::Walk, None) => {
            query.push("(select p.id, p.title, 2 as rank from product p where p.is_active");
        }
        (How::Gather, store) => {
            query.push("materialized (select p.id, p.title, 2 as rank from product p where p.is_active");
            push_stocked(&mut query, store);
        }
    }
    if let Some(text) = &search.text {
        query.push(" and ");
        push_phrase(&mut query, text, !search.is_indexed_text());
    }
    push_filters(&mut query, search);
    if sku.is_some() {
        query.push(
            " and p.id <> all(array(select id from sku))
              union all select p.id, p.title, sku.rank from sku join product p on p.id = sku.id where p.is_active",
        );
        push_stocked(&mut query, search.store_id);
        push_filters(&mut query, search);
    }
    query.push(")");
    query
}

/// Adds `sku`: the first products whose SKU begins with a text, the one that is equal to it before the others. Its plan does
/// not depend on the text.
fn push_skus(query: &mut QueryBuilder<Postgres>, sku: &str) {
    // The end of the range: no character of a code is greater.
    let end = format!("{sku}\x7f");
    query
        .push("sku as materialized (select product_id as id, (upper(code) <> ")
        .push_bind(sku.to_owned());
    query.push(")::integer as rank from product_code where kind = 'SKU' and upper(code) >= (select ");
    query
        .push_bind(sku.to_owned())
        .push(") and upper(code) < (select ")
        .push_bind(end);
    query.push(") order by upper(code) limit 100), ");
}

/// Adds the condition that a store has the product in stock. A subquery for each match: the planner would turn `exists` into a
/// join that reads all stock of the store.
fn push_stocked(query: &mut QueryBuilder<Postgres>, store: Option<i64>) {
    if let Some(store) = store {
        query
            .push(" and (select i.quantity > 0 from inventory i where i.product_id = p.id and i.store_id = ");
        query.push_bind(store).push(")");
    }
}

/// Adds the conditions on price and category.
fn push_filters(query: &mut QueryBuilder<Postgres>, search: &Search) {
    for (price, comparison) in [(&search.min_price, ">="), (&search.max_price, "<=")] {
        if let Some(price) = price {
            query
                .push(format!(" and p.price {comparison} "))
                .push_bind(price.clone());
            query.push("::text::numeric");
        }
    }
    if let Some(category) = search.category_id {
        query.push(" and p.category_id = ").push_bind(category);
    }
}
