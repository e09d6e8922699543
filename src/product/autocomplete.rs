//! `GET /api/products/autocomplete/`

use axum::{Json, extract::State};
use sqlx::PgPool;

use super::spellings::{Suggestion, suggestions};
use crate::http::{ApiError, InvalidPrefix, Params};
use redis_rate_limit::Exceeded;

/// The first ten active products whose title begins with `q`, by title. Limited to 20 requests a minute and client.
#[utoipa::path(get, path = "/api/products/autocomplete/", tag = "Products",
    params(("q" = String, Query, description = "At least three characters, in any case")),
    responses((status = 200, body = Vec<Suggestion>,
            headers(
                ("X-RateLimit-Limit" = u32, description = "Requests a client may make in any minute"),
                ("X-RateLimit-Remaining" = u32, description = "How many of them are left"),
                ("X-RateLimit-Reset" = u64, description = "Seconds until the oldest of them counts no more"))),
        (status = 400, response = InvalidPrefix),
        (status = 429, description = "The limit is used up.", body = Exceeded,
            headers(("Retry-After" = u64, description = "Seconds until a request may pass")))))]
pub async fn autocomplete(
    State(db): State<PgPool>,
    mut params: Params,
) -> Result<Json<Vec<Suggestion>>, ApiError> {
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
