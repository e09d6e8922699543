//! Idempotency keys in HTTP: runs POSTs under their keys and replays stored responses. `src/idempotency.rs` is the table.
//!
//! The request runs first. If it ends in 4xx and the key has a stored response, that response is sent; a known key of an order
//! arrives here as `IdempotencyConflict`. A refusal stores nothing, so a refused request may succeed later under the same key.
//!
//! Commands store their response by [`IdempotencyKey::store`], orders in `order/transaction.rs`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{FromRequestParts, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use metrics::counter;
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use tokio::{sync::Mutex, time::timeout};
use xxhash_rust::xxh3::Xxh3;

use super::{ApiError, Body, middleware::retry, shared_map::SharedMap};
use crate::idempotency::{self, Answer, KeyedRequest, StoreError, StoredResponse};

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Marks a response that was stored earlier.
pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Runs requests under their keys, one at a time for each key, and finds stored responses. Clones share the locks.
#[derive(Clone, Debug)]
pub struct IdempotencyStore {
    db: PgPool,
    lock_timeout: Duration,
    locks: Arc<SharedMap<String, Mutex<()>>>,
}

impl IdempotencyStore {
    /// Responses are stored in `db`. A request waits at most `lock_timeout` for another one with the same key.
    pub fn new(db: PgPool, lock_timeout: Duration) -> Self {
        Self {
            db,
            lock_timeout,
            locks: Arc::new(SharedMap::new()),
        }
    }

    /// Handles a POST that came with a key.
    pub(super) async fn handle(&self, key: String, request: Request, next: Next) -> Response {
        // Received before the lock is taken: a slow sender delays no other request.
        let mut request = retry::receive_body(request).await;
        let body = request.extensions().get::<Arc<Body>>();
        let Some(received) = body.and_then(|body| body.received()) else {
            // The handler refuses it; without a body the request cannot be compared.
            return next.run(request).await;
        };
        let fingerprint = fingerprint(&request, received);
        let keyed = KeyedRequest { key, fingerprint };
        request.extensions_mut().insert(keyed.clone());
        let is_refusal = |response: &Response| response.status().is_client_error();
        match self.run(&keyed, next.run(request), is_refusal).await {
            Ok(Keyed::Done(response)) => response,
            Ok(Keyed::Repeated(answer)) => replay(answer),
            Err(error) => error.into_response(),
        }
    }

    /// Runs a request under its key. If the result is a refusal and the key has a stored response, returns that response: the
    /// first run may have caused the refusal, for example because it took the name.
    pub async fn run<T>(
        &self,
        request: &KeyedRequest,
        run: impl Future<Output = T>,
        is_refusal: impl FnOnce(&T) -> bool,
    ) -> Result<Keyed<T>, ApiError> {
        let lock = self.locks.get(request.key.clone(), Mutex::default);
        let Ok(_guard) = timeout(self.lock_timeout, lock.lock()).await else {
            counter!("afforo_idempotency_total", "outcome" => "in_use").increment(1);
            return Err(ApiError::IdempotencyConflict);
        };
        let done = run.await;
        if !is_refusal(&done) {
            return Ok(Keyed::Done(done));
        }
        match idempotency::find(&self.db, &request.key).await? {
            Some(answer) if answer.fingerprint == request.fingerprint => {
                counter!("afforo_idempotency_total", "outcome" => "replayed").increment(1);
                Ok(Keyed::Repeated(answer))
            }
            Some(_) => Err(mismatch()),
            None => Ok(Keyed::Done(done)),
        }
    }
}

/// The outcome of a request under a key.
#[derive(Debug)]
pub enum Keyed<T> {
    /// The result of running it.
    Done(T),
    /// The stored response of an earlier run.
    Repeated(Answer),
}

/// The key of a request, if it has one. A command commits by it.
#[derive(Clone, Debug)]
pub struct IdempotencyKey(pub Option<KeyedRequest>);

impl IdempotencyKey {
    /// Refuses a key that has a stored response: for a command of several transactions, of which only the last one stores it.
    pub async fn require_new(&self, db: &PgPool) -> Result<(), ApiError> {
        match &self.0 {
            Some(request) if idempotency::find(db, &request.key).await?.is_some() => {
                Err(ApiError::IdempotencyConflict)
            }
            _ => Ok(()),
        }
    }

    /// Stores the response to a request in its transaction.
    pub async fn store<T: Serialize>(
        &self,
        tx: &mut PgConnection,
        status: StatusCode,
        answer: &T,
    ) -> Result<(), ApiError> {
        let Some(request) = &self.0 else { return Ok(()) };
        let response = StoredResponse {
            request,
            status: status.as_u16(),
            body: serde_json::to_string(answer).map_err(|error| ApiError::Internal(error.into()))?,
        };
        Ok(idempotency::store(tx, vec![response], idempotency::KEY_LOCK_TIMEOUT).await?)
    }
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.remove()))
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            // `IdempotencyStore::run` answers with the stored response instead.
            StoreError::Taken | StoreError::InUse => Self::IdempotencyConflict,
            StoreError::Database(error) => error.into(),
        }
    }
}

/// The key of a request. It may be quoted.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(sent) = keys.next() else { return Ok(None) };
    let key = match sent.as_bytes() {
        [b'"', quoted @ .., b'"'] => quoted,
        [b'"', ..] => &[],
        bare => bare,
    };
    let is_one = keys.next().is_none();
    if is_one && idempotency::is_valid(key) {
        return Ok(Some(String::from_utf8_lossy(key).into_owned()));
    }
    Err(ApiError::detail(
        StatusCode::BAD_REQUEST,
        format!(
            "Idempotency-Key must be one text of 1 to {LONGEST_KEY} visible ASCII characters.",
            LONGEST_KEY = idempotency::LONGEST_KEY
        ),
    ))
}

/// A hash of method, path, query and content: formatting and the sequence of JSON members make no difference.
fn fingerprint(request: &Request, body: &[u8]) -> [u8; 16] {
    let mut hash = Xxh3::new();
    hash.update(request.method().as_str().as_bytes());
    hash.update(b" ");
    hash.update(request.uri().path().as_bytes());
    if let Some(query) = request.uri().query().filter(|query| !query.is_empty()) {
        hash.update(b"?");
        hash.update(query.as_bytes());
    }
    hash.update(b"\n");
    // `Value` sorts members by name. A body that is not JSON, or nested too deeply, is hashed as it is.
    match serde_json::from_slice(body).and_then(|value: serde_json::Value| serde_json::to_vec(&value)) {
        Ok(canonical) => hash.update(&canonical),
        Err(_) => hash.update(body),
    }
    hash.digest128().to_be_bytes()
}

fn replay(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (IDEMPOTENT_REPLAYED, HeaderValue::from_static("true")),
    ];
    (status, headers, answer.body).into_response()
}

fn mismatch() -> ApiError {
    counter!("afforo_idempotency_total", "outcome" => "mismatch").increment(1);
    ApiError::detail(
        StatusCode::UNPROCESSABLE_ENTITY,
        "Idempotency-Key was used for another request.",
    )
}
