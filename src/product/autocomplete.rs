//! `GET /api/products/autocomplete/`

use super::spellings::{Suggestion, suggestions};
use crate::http::{ApiError, InvalidPrefix, Json, Params, Reads};
use redis_rate_limit::Exceeded;

/// Autocomplete product titles.
///
/// Returns the first ten active products whose title begins with `q`, sorted by title. Each client may send 20 requests per minute.
#[utoipa::path(get, path = "/api/products/autocomplete/", tag = "Products",
    params(("q" = String, Query, description = "The beginning of a title: at least three characters, in any case")),
    responses((status = 200, body = Vec<Suggestion>,
            headers(
                ("X-RateLimit-Limit" = u32, description = "Requests that a client may send per minute"),
                ("X-RateLimit-Remaining" = u32, description = "Remaining requests"),
                ("X-RateLimit-Reset" = u64, description = "Seconds until the oldest request no longer counts"))),
        (status = 400, response = InvalidPrefix),
        (status = 429, description = "The rate limit is exceeded.", body = Exceeded,
            headers(("Retry-After" = u64, description = "Seconds until the next request is allowed")))))]
pub async fn autocomplete(Reads(db): Reads, mut params: Params) -> Result<Json<Vec<Suggestion>>, ApiError> {
    let text = params.text("q");
    let prefix = params.finish(text)?.filter(|prefix| prefix.chars().count() >= 3);
    let Some(prefix) = prefix else {
        return Err(ApiError::ErrorDetail {
            error: "Query must be at least 3 characters",
            detail: None,
        });
    };
    Ok(Json(suggestions(&db, &prefix).await?))
}
