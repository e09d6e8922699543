//! POSTs that may be repeated. Under an `Idempotency-Key`, a request is done once: whoever repeats it gets the same answer,
//! to the byte.
//!
//! A handler is given [`IdempotencyKey`] and keeps its answer with what it does, in one transaction. What refuses a request keeps
//! nothing, so a request that was refused may be done later under the same key.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    extract::{FromRequestParts, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use metrics::{counter, describe_counter};
use serde::Serialize;
use sqlx::{PgPool, Postgres, Transaction};
use tokio::sync::OwnedMutexGuard;
use xxhash_rust::xxh3::Xxh3;

use super::{ApiError, Body, middleware::retry};
use crate::{
    db,
    idempotency::{self, Answer, KeyedRequest, StoreError, StoredResponse},
};

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is one that was given before.
pub const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The longest key.
const LONGEST_KEY: usize = 255;

/// What the POSTs of a server share: the answers that were kept, and who is at it under which key. Clones share it.
#[derive(Clone, Debug)]
pub struct IdempotencyStore {
    db: PgPool,
    patience: Duration,
    under_way: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

impl IdempotencyStore {
    /// Answers are kept in `db`. A request waits for another of the same key as long as `patience`.
    #[must_use]
    pub fn new(db: PgPool, patience: Duration) -> Self {
        Self {
            db,
            patience,
            under_way: Arc::default(),
        }
    }

    /// Handles a POST that came with a key.
    pub(super) async fn handle(&self, key: String, request: Request, next: Next) -> Response {
        // Received before its turn comes: a client that sends slowly holds up nobody.
        let mut request = retry::receive_body(request).await;
        let body = request.extensions().get::<Arc<Body>>();
        let Some(received) = body.and_then(|body| body.received()) else {
            // It is refused for that, and says nothing about the request that it might have been.
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

    /// Runs a request under its key, one at a time. A refusal is replaced by the response that is stored under the key: the
    /// request was done before, and may be in its own way the second time.
    pub async fn run<T>(
        &self,
        request: &KeyedRequest,
        run: impl Future<Output = T>,
        is_refusal: impl FnOnce(&T) -> bool,
    ) -> Result<Keyed<T>, ApiError> {
        let mut turn = self.queue(request.key.clone());
        if !turn.comes_within(self.patience).await {
            counter!("afforo_idempotency_total", "outcome" => "in_use").increment(1);
            return Err(ApiError::IdempotencyConflict);
        }
        let done = run.await;
        if !is_refusal(&done) {
            return Ok(Keyed::Done(done));
        }
        match idempotency::find(&self.db, &request.key).await? {
            Some(answer) if answer.fingerprint == request.fingerprint => Ok(Keyed::Repeated(answer)),
            Some(_) => Err(mismatch()),
            None => Ok(Keyed::Done(done)),
        }
    }

    fn queue(&self, key: String) -> KeyLock {
        let place = self.lock().entry(key.clone()).or_default().clone();
        KeyLock {
            repeats: self.clone(),
            key,
            place,
            held: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<()>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of a request under a key.
#[derive(Debug)]
pub enum Keyed<T> {
    /// It was run.
    Done(T),
    /// It was done before: the stored response.
    Repeated(Answer),
}

/// A request's place among those of its key in this process.
struct KeyLock {
    repeats: IdempotencyStore,
    key: String,
    place: Arc<tokio::sync::Mutex<()>>,
    held: Option<OwnedMutexGuard<()>>,
}

impl KeyLock {
    async fn comes_within(&mut self, patience: Duration) -> bool {
        let turn = tokio::time::timeout(patience, self.place.clone().lock_owned()).await;
        self.held = turn.ok();
        self.held.is_some()
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        self.held = None;
        let mut under_way = self.repeats.lock();
        // Given up while nobody else can count.
        let place = std::mem::take(&mut self.place);
        // The map's and this one: nobody else waits.
        if Arc::strong_count(&place) == 2 {
            under_way.remove(&self.key);
        }
    }
}

/// Says what is counted here.
pub fn describe_metrics() {
    describe_counter!(
        "afforo_idempotency_total",
        "Requests under a key that was used before: `replayed`, `mismatch` for another request, `in_use` for one under way."
    );
}

/// What a POST's handler is given: it keeps its answer, if there is a key to keep it under.
#[derive(Clone, Debug)]
pub struct IdempotencyKey(pub Option<KeyedRequest>);

impl IdempotencyKey {
    /// Stores the response of a request that created something, and commits its transaction.
    pub async fn commit<T: Serialize>(
        &self,
        mut tx: Transaction<'_, Postgres>,
        created: &T,
    ) -> Result<(), ApiError> {
        if let Some(request) = &self.0 {
            let kept = StoredResponse {
                request,
                status: StatusCode::CREATED.as_u16(),
                body: serde_json::to_string(created).map_err(|error| ApiError::Internal(error.into()))?,
            };
            idempotency::store(&mut tx, vec![kept], idempotency::KEY_LOCK_TIMEOUT).await?;
        }
        Ok(db::commit(tx).await?)
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
            // The other one's answer is given instead.
            StoreError::Taken | StoreError::InUse => Self::IdempotencyConflict,
            StoreError::Database(error) => error.into(),
        }
    }
}

/// The key that a request is done under. It may stand in quotes.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(sent) = keys.next() else { return Ok(None) };
    let key = match sent.as_bytes() {
        [b'"', quoted @ .., b'"'] => quoted,
        [b'"', ..] => &[],
        bare => bare,
    };
    let is_one = keys.next().is_none();
    if is_one && (1..=LONGEST_KEY).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic) {
        return Ok(Some(String::from_utf8_lossy(key).into_owned()));
    }
    Err(ApiError::detail(
        StatusCode::BAD_REQUEST,
        format!("Idempotency-Key must be one text of 1 to {LONGEST_KEY} visible ASCII characters."),
    ))
}

/// What tells a request from others: where it goes, and what its body says, however that is written down.
fn fingerprint(request: &Request, body: &[u8]) -> [u8; 16] {
    let mut hash = Xxh3::new();
    hash.update(request.method().as_str().as_bytes());
    hash.update(b" ");
    hash.update(request.uri().path().as_bytes());
    hash.update(b"\n");
    // A value has its members in the order of their names. What is no JSON, or too deep for it, is taken as it is.
    match serde_json::from_slice(body).and_then(|value: serde_json::Value| serde_json::to_vec(&value)) {
        Ok(canonical) => hash.update(&canonical),
        Err(_) => hash.update(body),
    }
    hash.digest128().to_be_bytes()
}

fn replay(answer: Answer) -> Response {
    counter!("afforo_idempotency_total", "outcome" => "replayed").increment(1);
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
