//! `/health/`: that the process answers. It asks nothing of the database, so that an orchestrator does not kill a server
//! for a database that is away.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
};

use utoipa::ToSchema;

use crate::http::ApiError;

/// With a space after `:` and `,`, which clients know it by.
const HEALTHY: &str = r#"{"status": "healthy", "service": "inventory-api"}"#;

#[derive(ToSchema)]
pub(super) struct Healthy {
    #[allow(dead_code, reason = "described, never made")]
    #[schema(example = "healthy")]
    status: String,
    #[allow(dead_code, reason = "described, never made")]
    #[schema(example = "inventory-api")]
    service: String,
}

/// Whether the server answers.
#[utoipa::path(get, path = "/health/", tag = "Health",
    responses((status = 200, description = "It does. Nothing is said of the database.", body = Healthy)))]
pub(super) async fn health() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        HEALTHY,
    )
}

/// Any method that could change something: clients know the refusal as 403.
pub(super) async fn refused() -> ApiError {
    ApiError::detail(
        StatusCode::FORBIDDEN,
        "Only GET, HEAD and OPTIONS are allowed here.",
    )
}
