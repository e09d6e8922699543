//! Finding products: the search.

use axum::{Json, extract::State};
use serde::Serialize;
use sqlx::{FromRow, PgConnection, PgPool, Postgres, QueryBuilder, Row, postgres::PgRow};
use tracing::Instrument;
use utoipa::ToSchema;

use super::text::{is_indexed, push_phrase};

use crate::{
    auth::Stores,
    category::CategoryName,
    http::{
        ApiError, InvalidParameter, ListParams, ListRequest, Listed, Listing, NotFound, Params, ScanLimit,
        Slice,
    },
    money::Money,
};
use redis_rate_limit::Exceeded;

/// A product that was found.
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

/// What to search for. Nothing given finds every active product.
#[derive(Debug)]
struct Search {
    /// A part of title, description or category name.
    text: Option<String>,
    /// Lowest and highest price, both included, as PostgreSQL reads them.
    min_price: Option<String>,
    max_price: Option<String>,
    /// A store that has the product in stock.
    store_id: Option<i64>,
    category_id: Option<i64>,
}

/// How to come by a page of matches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// All of them through the index of the text, then the page of those.
    Gather,
    /// Through an index of titles, until there are enough.
    Walk,
}

/// Among so many matches, a page of them is soon walked together.
const MANY: i64 = 10_000;

impl Search {
    /// Matches that no index knows are gathered from the table itself, unless they turn out to be many.
    fn how(&self, count: Option<i64>) -> How {
        match &self.text {
            Some(text) if is_indexed(text) => How::Gather,
            Some(_) if count.is_some_and(|count| count < MANY) => How::Gather,
            _ => How::Walk,
        }
    }

    /// Whether all products have to be read, because no index knows the text.
    fn scans(&self) -> bool {
        self.text.as_ref().is_some_and(|text| !is_indexed(text))
    }
}

/// Active products that match all that is asked for, by title.
#[utoipa::path(get, path = "/api/products/search/", tag = "Products",
    params(
        ("q" = Option<String>, Query, description = "A part of title, description or category name, in any case"),
        ("min_price" = Option<String>, Query, description = "Lowest price; ignored if it is no number"),
        ("max_price" = Option<String>, Query, description = "Highest price; ignored if it is no number"),
        ("store_id" = Option<i64>, Query, description = "Only what this store has in stock"),
        ("category_id" = Option<i64>, Query, description = "Only this category"),
        ListParams,
    ),
    responses((status = 200, body = Listing<FoundProduct>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound),
        (status = 429, description = "The limit is used up, where one is set.", body = Exceeded)))]
pub async fn search(
    State(db): State<PgPool>,
    State(scans): State<ScanLimit>,
    stores: Stores,
    mut params: Params,
    list: ListRequest<FoundProduct>,
) -> Result<Json<Listing<FoundProduct>>, ApiError> {
    let search = Search {
        text: params.text("q"),
        min_price: params.amount("min_price"),
        max_price: params.amount("max_price"),
        // Of a store that is not granted, nothing is in stock.
        store_id: params
            .id("store_id")
            .map(|id| if stores.contains(id) { id } else { 0 }),
        category_id: params.id("category_id"),
    };
    let search = params.finish(search)?;
    if !search.scans() {
        return part(&mut *db.acquire().await?, &search, &list).await.map(Json);
    }
    let permit = scans.permit().await?;
    // The permit is held for as long as PostgreSQL reads, also where the client has gone.
    let scan = async move {
        let _permit = permit;
        part(&mut *db.acquire().await?, &search, &list).await
    };
    match tokio::spawn(scan.in_current_span()).await {
        Ok(listing) => listing.map(Json),
        Err(error) => Err(ApiError::Internal(error.into())),
    }
}

/// The part of the matches that was asked for.
async fn part(
    db: &mut PgConnection,
    search: &Search,
    list: &ListRequest<FoundProduct>,
) -> Result<Listing<FoundProduct>, ApiError> {
    let (slice, rows) = match list.ahead()? {
        Some((limit, offset)) if search.how(None) == How::Gather => {
            let (count, rows) = found_and_counted(db, search, limit, offset).await?;
            (list.page_of(count)?, rows)
        }
        _ => {
            let slice = list.slice(count(db, search)).await?;
            let rows = found(db, search, &slice).await?;
            (slice, rows)
        }
    };
    Ok(list.answer(&slice, rows))
}

/// All products, and those of a category, are counted already.
async fn count(db: &mut PgConnection, search: &Search) -> sqlx::Result<i64> {
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
    // Planned anew each time, as below.
    query.build_query_scalar().persistent(false).fetch_one(db).await
}

/// Planned anew each time, as it is not kept as a prepared statement: what is the best plan depends on what is searched for
/// and how far in. PostgreSQL might settle on one for all, which reads whole tables for a first page.
async fn found(
    db: &mut PgConnection,
    search: &Search,
    slice: &Slice<FoundProduct>,
) -> sqlx::Result<Vec<FoundProduct>> {
    let mut query = matching(search, search.how(slice.count()));
    push_page(&mut query, &slice.after, slice.limit, slice.offset);
    query
        .push(" select ")
        .push(FOUND)
        .push(" from page join product p on p.id = page.id order by page.title, page.id");
    query.build_query_as().persistent(false).fetch_all(db).await
}

/// Reads a page and counts all that match, in one statement: the matches of a text are materialized, and so found once.
async fn found_and_counted(
    db: &mut PgConnection,
    search: &Search,
    limit: i64,
    offset: i64,
) -> sqlx::Result<(i64, Vec<FoundProduct>)> {
    let mut query = matching(search, How::Gather);
    push_page(&mut query, &FoundProduct::START, limit, offset);
    // Beyond the last page there is a row still, with the count and no product.
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
/// The key is compared out here, so that a materialized search looks for its text and for nothing else: the planner would
/// sooner read the title index from the key on. Where nothing is materialized, the comparison begins the walk of that index.
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

/// The columns of a `FoundProduct`, of a `page` joined with `product p`. One join less is planned sooner.
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

/// Begins a statement with the ids and titles that match, as `matching`.
///
/// What is gathered is materialized: the matches come out of the trigram index through a bitmap, and the planner is kept
/// from walking the title index in the hope that a page of matches comes soon, which for a rare word reads the whole table.
/// The index that is walked is that of the store's stock, where one is given.
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
                // Asked for each match, however many: `exists` would be joined, and all stock of the store read for that.
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
