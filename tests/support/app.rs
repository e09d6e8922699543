//! A server for each test, with its own database and Redis. Tests use it over HTTP.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use afforo::{
    audit::AuditContext,
    auth::{
        Scope, Secret, Stores,
        api_key::{self, ApiKey, NewKey},
    },
    check::{self, Checked},
    config::{HttpSettings, RedisSettings},
    db::Database,
    http::{AppState, ScanLimit},
    server::{self, Limits},
    shutdown::Stop,
};
use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{HeaderMap, HeaderName},
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

use super::servers::{self, TestDatabase};
pub use super::settings::{patient, production, redis_at};

/// A running server.
pub struct TestApp {
    pub address: SocketAddr,
    pub pool: PgPool,
    /// All pools of the server.
    pub pools: Arc<Database>,
    pub database_url: String,
    pub redis: RedisSettings,
    pub order_confirmed: Arc<Notify>,
    client: reqwest::Client,
    /// Stops the server, also when it is dropped.
    pub stop: Arc<Stop>,
    _serving: JoinHandle<std::io::Result<()>>,
    pub database: Arc<TestDatabase>,
}

impl TestApp {
    /// Starts a server with production settings.
    pub async fn start() -> Self {
        Self::start_with(production()).await
    }

    /// Starts a server with other settings.
    pub async fn start_with(http: HttpSettings) -> Self {
        Self::start_within(http, patient()).await
    }

    /// Starts a server with other settings and limits.
    pub async fn start_within(http: HttpSettings, limits: Limits) -> Self {
        let redis_url = servers::redis().url(servers::redis_database());
        Self::start_with_redis(&redis_url, http, limits).await
    }

    /// Starts a server on a Redis server of the test.
    pub async fn start_with_redis(redis_url: &str, http: HttpSettings, limits: Limits) -> Self {
        Self::start_with_redis_settings(redis_at(redis_url), http, limits).await
    }

    /// Like `start_with_redis`, with other Redis settings.
    pub async fn start_with_redis_settings(redis: RedisSettings, http: HttpSettings, limits: Limits) -> Self {
        let database = servers::database().await;
        let url = database.url();
        Self::start_on(Arc::new(database), url, None, redis, http, limits).await
    }

    /// Starts a server on other addresses of a database and a Redis. Its own database stays unused.
    pub async fn start_at(database_url: &str, redis_url: &str) -> Self {
        let database = Arc::new(servers::database().await);
        let (url, redis) = (database_url.to_owned(), redis_at(redis_url));
        Self::start_on(database, url, None, redis, production(), Limits::default()).await
    }

    /// Starts a server that reads from a replica.
    pub async fn start_with_replica(database_url: &str, replica_url: &str, redis_url: &str) -> Self {
        let database = Arc::new(servers::database().await);
        let (url, redis) = (database_url.to_owned(), redis_at(redis_url));
        Self::start_on(database, url, Some(replica_url), redis, production(), patient()).await
    }

    /// Starts another server on the same database and Redis.
    pub async fn beside(&self) -> Self {
        self.beside_on(&self.database_url).await
    }

    /// Like `beside`, with another address of the database.
    pub async fn beside_on(&self, database_url: &str) -> Self {
        self.start_beside(database_url, production()).await
    }

    /// The same, with other settings.
    pub async fn beside_with(&self, http: HttpSettings) -> Self {
        self.start_beside(&self.database_url, http).await
    }

    async fn start_beside(&self, database_url: &str, http: HttpSettings) -> Self {
        let (database, redis) = (self.database.clone(), self.redis.clone());
        let limits = patient();
        Self::start_on(database, database_url.to_owned(), None, redis, http, limits).await
    }

    async fn start_on(
        database: Arc<TestDatabase>,
        database_url: String,
        replica_url: Option<&str>,
        redis: RedisSettings,
        http: HttpSettings,
        limits: Limits,
    ) -> Self {
        let mut pools = Database::new(&database_url, 8, 2).unwrap();
        if let Some(replica_url) = replica_url {
            pools = pools
                .with_replicas(replica_url, 2, Duration::from_mins(10))
                .unwrap();
        }
        let state = AppState {
            database: Arc::new(pools),
            order_confirmed: Arc::new(Notify::new()),
            stop: Arc::new(Stop::default()),
            scans: ScanLimit::default(),
        };
        let configuration = Arc::new([("EXAMPLE".to_owned(), "<shown>".to_owned())]);
        let app = server::app(state.clone(), &http, &redis, limits, configuration).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(server::run(listener, app));
        Self {
            address,
            pool: state.database.pool.clone(),
            pools: state.database,
            database_url,
            redis,
            order_confirmed: state.order_confirmed,
            client: client(),
            stop: state.stop,
            _serving: serving,
            database,
        }
    }

    /// A request to the server, to be completed and sent with [`send`].
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::PUT, path).json(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::PATCH, path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    /// Sends a body unchanged, as JSON.
    pub async fn post_text(&self, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send_text(Method::POST, path, body).await
    }

    /// Sends a body unchanged, as JSON, with any method.
    pub async fn send_text(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self
            .request(method, path)
            .header("content-type", "application/json");
        send(request.body(body)).await
    }

    /// Creates an API key for this server and returns its text.
    pub async fn key(&self, scopes: &[Scope], stores: Stores) -> String {
        let new = NewKey {
            name: "Key of a test".to_owned(),
            scopes: scopes.iter().copied().collect(),
            stores,
            expires_at: None,
        };
        self.key_of(&new).await.1
    }

    /// Creates an API key from all its fields. Returns the key and its text.
    pub async fn key_of(&self, new: &NewKey) -> (ApiKey, String) {
        let secret = Secret::new(production().secret_key.unwrap());
        let mut tx = self.pool.begin().await.unwrap();
        let made = api_key::create(&mut tx, &secret, new, &AuditContext::system()).await;
        tx.commit().await.unwrap();
        made.unwrap()
    }

    /// Creates a category and returns its id.
    pub async fn category(&self, name: &str) -> i64 {
        self.post("/api/categories/", &json!({ "name": name }))
            .await
            .created()
    }

    /// Creates an active product in a category and returns its id.
    pub async fn product_in(&self, category: i64, title: &str, price: &str) -> i64 {
        let body = json!({ "title": title, "price": price, "category_id": category });
        self.post("/api/products/", &body).await.created()
    }

    /// Creates an active product in a new category and returns its id.
    pub async fn product(&self, title: &str, price: &str) -> i64 {
        let category = self.category(&format!("Category of {title}")).await;
        self.product_in(category, title, price).await
    }

    /// Creates an active store and returns its id.
    pub async fn store(&self, name: &str) -> i64 {
        self.post(
            "/api/stores/",
            &json!({ "name": name, "location": "Main Street 1" }),
        )
        .await
        .created()
    }

    /// Stocks a product, and returns the id of the stock row.
    pub async fn stock(&self, store: i64, product: i64, quantity: i32) -> i64 {
        let body = json!({ "store_id": store, "product_id": product, "quantity": quantity });
        self.post("/api/inventory/", &body).await.created()
    }

    /// Places an order of `(product, quantity)` pairs.
    pub async fn order(&self, store: i64, items: &[(i64, i64)]) -> Answer {
        self.post("/api/orders/", &order(store, items)).await
    }

    /// The quantity of a stock row.
    pub async fn quantity(&self, inventory: i64) -> i64 {
        self.get(&format!("/api/inventory/{inventory}/")).await.body["quantity"]
            .as_i64()
            .unwrap()
    }

    /// The rules of `afforo check` that the data breaks: always none.
    pub async fn unbalanced(&self) -> Vec<Checked> {
        unbalanced(&self.pool).await
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.announced.cancel();
    }
}

/// The body of an order of `(product, quantity)` pairs.
pub fn order(store: i64, items: &[(i64, i64)]) -> Value {
    let items: Vec<Value> = items
        .iter()
        .map(|(product, quantity)| json!({ "product_id": product, "quantity": quantity }))
        .collect();
    json!({ "store_id": store, "items": items })
}

/// The raw HTTP request of an order.
pub fn raw_order(address: SocketAddr, store: i64, items: &[(i64, i64)]) -> String {
    let body = order(store, items).to_string();
    format!(
        "POST /api/orders/ HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The rules of `afforo check` that a database breaks: always none.
pub async fn unbalanced(pool: &PgPool) -> Vec<Checked> {
    let mut connection = pool.acquire().await.unwrap();
    let mut checked = check::run(&mut connection).await.unwrap();
    checked.retain(|checked| checked.broken > 0);
    // The rules are printed here, so that a failed test shows them.
    assert_eq!(checked, []);
    checked
}

/// A client that follows no redirects, so that tests see them.
pub fn client() -> reqwest::Client {
    afforo::http_client::builder().build().unwrap()
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The body as it was sent.
    pub text: String,
    /// The text as JSON, or null if it is not JSON.
    pub body: Value,
}

impl Answer {
    /// A header's text, or blank if it is absent.
    pub fn header(&self, name: impl TryInto<HeaderName>) -> &str {
        let name = name.try_into().ok().unwrap();
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    /// The id of the created record.
    #[track_caller]
    pub fn created(&self) -> i64 {
        assert_eq!(self.status, 201, "{}", self.text);
        self.body["id"].as_i64().unwrap()
    }

    /// The text with `…` for every timestamp. Asserts its format: a fraction of six digits, or none.
    #[track_caller]
    pub fn untimed(&self) -> String {
        let mut parts = self.text.split("_at\":\"");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (timestamp, rest) = part.split_once('"').unwrap();
            let form = timestamp.replace(|c: char| c.is_ascii_digit(), "0");
            let forms = ["0000-00-00T00:00:00.000000Z", "0000-00-00T00:00:00Z"];
            assert!(forms.contains(&form.as_str()), "{timestamp}");
            text += "_at\":\"…\"";
            text += rest;
        }
        text
    }

    /// One field of every row of a page.
    #[track_caller]
    pub fn column(&self, field: &str) -> Vec<Value> {
        let rows = self.body["results"].as_array().expect(&self.text);
        rows.iter().map(|row| row[field].clone()).collect()
    }

    /// Asserts status and body; fields may be in any order.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "the body is written where it is asserted"
    )]
    #[track_caller]
    pub fn is(&self, status: u16, body: Value) {
        assert_eq!(
            (self.status.as_u16(), &self.body),
            (status, &body),
            "{}",
            self.text
        );
    }

    /// Asserts status and body byte by byte.
    #[track_caller]
    pub fn is_text(&self, status: u16, text: &str) {
        assert_eq!((self.status.as_u16(), self.text.as_str()), (status, text));
    }
}

/// Sends a request and reads the whole response.
pub async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Answer {
        status,
        headers,
        text,
        body,
    }
}
