//! What the middleware of API routes uses.

use super::{auth::ApiKeyAuth, write_limit::WriteLimit};
use crate::{db::Replicas, http::IdempotencyStore};

/// What all API routes share. The middleware around all routes adds it to each request as one extension: a layer for each
/// part would cost every request a boxed future.
#[derive(Debug)]
pub struct ApiServices {
    /// Authentication by API key; `None` if the API is open.
    pub auth: Option<ApiKeyAuth>,
    /// The limit of writes, if there is one.
    pub write_limit: Option<WriteLimit>,
    /// The responses under idempotency keys.
    pub idempotency: IdempotencyStore,
    /// Replicas that serve reads, if there are any.
    pub replicas: Option<Replicas>,
}
