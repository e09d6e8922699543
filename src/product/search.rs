//! `GET /api/products/search/`

use axum::extract::State;

use super::search_query::{FoundProduct, How, Search, count, found, found_and_counted};
use crate::{
    auth::Stores,
    db::ReadPool,
    http::{
        ApiError, BUSY_SEARCH, InvalidParameter, Json, ListParams, ListRequest, Listing, NotFound, PageQuery,
        Params, Reads, ScanLimit,
    },
};
use redis_rate_limit::Exceeded;

/// Active products that match all filters, by title.
#[utoipa::path(get, path = "/api/products/search/", tag = "Products",
    params(
        ("q" = Option<String>, Query, description = "Part of the title, description or category name, in any case"),
        ("min_price" = Option<String>, Query, description = "Minimum price. Ignored if it is not a number"),
        ("max_price" = Option<String>, Query, description = "Maximum price. Ignored if it is not a number"),
        ("store_id" = Option<i64>, Query, description = "Only products that this store has in stock"),
        ("category_id" = Option<i64>, Query, description = "Only products of this category"),
        ListParams,
    ),
    responses((status = 200, body = Listing<FoundProduct>), (status = 400, response = InvalidParameter), (status = 404, response = NotFound),
        (status = 429, description = "The rate limit is exceeded, if one is configured.", body = Exceeded)))]
pub async fn search(
    Reads(db): Reads,
    State(scans): State<ScanLimit>,
    stores: Stores,
    mut params: Params,
    list: ListRequest<FoundProduct>,
) -> Result<Json<Listing<FoundProduct>>, ApiError> {
    let search = Search {
        text: params.text("q"),
        min_price: params.amount("min_price"),
        max_price: params.amount("max_price"),
        // A store that is not granted has no stock.
        store_id: params
            .id("store_id")
            .map(|id| if stores.contains(id) { id } else { 0 }),
        category_id: params.id("category_id"),
    };
    let search = params.finish(search)?;
    if !search.scans() {
        return part(&db, &search, &list).await.map(Json);
    }
    let scan = async move { part(&db, &search, &list).await };
    scans.run(BUSY_SEARCH, scan).await.map(Json)
}

/// The requested page of the matches.
async fn part(
    db: &ReadPool,
    search: &Search,
    list: &ListRequest<FoundProduct>,
) -> Result<Listing<FoundProduct>, ApiError> {
    let page = list.query()?;
    let found = match page {
        PageQuery::After(_) => found(db, search, &page, None).await?,
        _ if search.how(None) == How::Gather => found_and_counted(db, search, &page).await?,
        _ => {
            let count = count(db, search).await?;
            found(db, search, &page, Some(count)).await?
        }
    };
    list.answer(found)
}
