//! `/health/`: liveness. It does not check the database, so that an orchestrator does not kill a server because its database is
//! unavailable.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
};

use utoipa::ToSchema;

use crate::http::ApiError;

/// With spaces after `:` and `,`, as in the kept contract.
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

/// Check that the server is alive.
#[utoipa::path(get, path = "/health/", tag = "Health",
    responses((status = 200, description = "The server is alive. The database is not checked.", body = Healthy)))]
pub(super) async fn health() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
        HEALTHY,
    )
}

/// Refuses methods that change something, with 403 as in the kept contract.
pub(super) async fn refused() -> ApiError {
    ApiError::detail(
        StatusCode::FORBIDDEN,
        "Only GET, HEAD and OPTIONS are allowed here.",
    )
}
