//! Finding products: the search.
//!
//! Case is ignored as Unicode has it, by `fold`, on both sides of a comparison. What is searched for is taken literally.

use axum::{Json, extract::State};
use serde::Serialize;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder, Row, postgres::PgRow};
use utoipa::ToSchema;

use crate::{
    category::CategoryName,
    money::Money,
    web::{InvalidParameter, NotFound, Page, PageRequest, Params, Problem, Window},
};

/// What stands between title and description in the text that is searched.
const BETWEEN: char = char::MAX;

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

/// Active products that match all that is asked for, by title.
#[utoipa::path(get, path = "/api/products/search/", tag = "Products",
    params(
        ("q" = Option<String>, Query, description = "A part of title, description or category name, in any case"),
        ("min_price" = Option<String>, Query, description = "Lowest price; ignored if it is no number"),
        ("max_price" = Option<String>, Query, description = "Highest price; ignored if it is no number"),
        ("store_id" = Option<i64>, Query, description = "Only what this store has in stock"),
        ("category_id" = Option<i64>, Query, description = "Only this category"),
        ("page" = Option<String>, Query, description = "A number from 1, or `last`"),
    ),
    responses((status = 200, body = Page<FoundProduct>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound)))]
pub async fn search(
    State(db): State<PgPool>,
    mut params: Params,
    page: PageRequest,
) -> Result<Json<Page<FoundProduct>>, Problem> {
    let search = Search {
        text: params.text("q"),
        min_price: params.amount("min_price"),
        max_price: params.amount("max_price"),
        store_id: params.id("store_id"),
        category_id: params.id("category_id"),
    };
    let search = params.finish(search)?;
    let window = page.window(count(&db, &search).await?)?;
    Ok(Json(page.answer(window, found(&db, &search, window).await?)))
}

async fn count(db: &PgPool, search: &Search) -> sqlx::Result<i64> {
    let mut query = matching(search);
    query.push(" select count(*) from matching");
    query.build_query_scalar().fetch_one(db).await
}

async fn found(db: &PgPool, search: &Search, window: Window) -> sqlx::Result<Vec<FoundProduct>> {
    let mut query = matching(search);
    query.push(", page as (select id, title from matching order by title, id limit ");
    query.push_bind(window.limit).push(" offset ").push_bind(window.offset).push(
        ") select p.id, p.title, p.description, p.price, c.id as category_id, c.name as category_name, p.is_active
           from page join product p on p.id = page.id join category c on c.id = p.category_id
           order by page.title, page.id",
    );
    query.build_query_as().fetch_all(db).await
}

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
/// With a text to find, the matches are materialized: they come out of the trigram indexes through a bitmap, and the
/// planner is kept from walking the title index in the hope that a page of matches comes soon, which for a rare word
/// reads the whole table. Without one, walking that index is right.
fn matching(search: &Search) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("with matching as ");
    if search.text.is_some() {
        query.push("materialized ");
    }
    query.push("(select p.id, p.title from product p where p.is_active");
    if let Some(text) = &search.text {
        let pattern = format!("%{}%", escape_like(text));
        query
            .push(" and (p.search_text like fold(")
            .push_bind(pattern.clone());
        query.push(") or p.category_id = any(array(select id from category where fold(name) like fold(");
        query.push_bind(pattern.clone()).push("))))");
        if text.contains(BETWEEN) {
            // It could match the end of a title and the beginning of its description.
            query
                .push(" and (fold(p.title) like fold(")
                .push_bind(pattern.clone());
            query
                .push(") or fold(p.description) like fold(")
                .push_bind(pattern.clone());
            query.push(") or p.category_id = any(array(select id from category where fold(name) like fold(");
            query.push_bind(pattern).push("))))");
        }
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
    if let Some(store) = search.store_id {
        query.push(" and exists (select from inventory i where i.product_id = p.id and i.quantity > 0 and i.store_id = ");
        query.push_bind(store).push(")");
    }
    query.push(")");
    query
}

/// Makes a text that `like` takes literally.
fn escape_like(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut escaped, c| {
            if matches!(c, '\\' | '%' | '_') {
                escaped.push('\\');
            }
            escaped.push(c);
            escaped
        })
}
