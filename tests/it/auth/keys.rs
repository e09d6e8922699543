//! Keys: their display, the responses to invalid keys, and how long these take.

use std::time::Duration;

use afforo::{
    audit::AuditContext,
    auth::{Scope, Stores, api_key, api_key::NewKey},
    config::{ApiAuth, ApiAuthSetting, HttpSettings},
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{ask, guarded};
use crate::support::app::{TestApp, order, production, send};

const STORES: &str = "/api/stores/";

async fn get(app: &TestApp, key: &str) -> crate::support::app::Answer {
    ask(app, key, Method::GET, STORES, &Value::Null).await
}

#[tokio::test]
async fn key_is_accepted_as_bearer_or_x_api_key_and_not_in_a_url() {
    let app = TestApp::start_with(guarded(ApiAuth::All)).await;
    let key = app.key(&[Scope::CatalogRead], Stores::All).await;
    let status = async |name: &str, value: String| {
        send(app.request(Method::GET, STORES).header(name, value))
            .await
            .status
    };
    assert_eq!(status("authorization", format!("Bearer {key}")).await, 200);
    assert_eq!(status("authorization", format!("bEARER {key}")).await, 200);
    assert_eq!(status("x-api-key", key.clone()).await, 200);
    assert_eq!(get(&app, &key).await.header("cache-control"), "private");
    assert_eq!(status("authorization", format!("Token {key}")).await, 401);
    assert_eq!(status("authorization", key.clone()).await, 401);
    assert_eq!(status("x-api-key", format!("{key}x")).await, 401);
    for url in ["?key=", "?api_key=", "?x-api-key=", "?access_token="] {
        assert_eq!(app.get(&format!("{STORES}{url}{key}")).await.status, 401, "{url}");
    }
}

#[tokio::test]
async fn missing_invalid_or_insufficient_key_is_rejected_with_its_reason() {
    let app = TestApp::start_with(guarded(ApiAuth::All)).await;
    let none = app.get(STORES).await;
    none.is(
        401,
        json!({ "detail": "Authentication credentials were not provided." }),
    );
    assert_eq!(none.header("www-authenticate"), "Bearer realm=\"api\"");
    let invalid = get(&app, "afk_1_nonsense").await;
    invalid.is(401, json!({ "detail": "Invalid API key." }));
    assert_eq!(
        invalid.header("www-authenticate"),
        "Bearer realm=\"api\", error=\"invalid_token\""
    );
    let key = app.key(&[Scope::Stats], Stores::All).await;
    let narrow = get(&app, &key).await;
    narrow.is(
        403,
        json!({ "detail": "This needs the scope catalog:read, which you were not granted." }),
    );
    assert_eq!(
        narrow.header("www-authenticate"),
        "Bearer realm=\"api\", error=\"insufficient_scope\", scope=\"catalog:read\""
    );
    assert_eq!(send(app.request(Method::OPTIONS, STORES)).await.status, 200);
    assert_eq!(send(app.request(Method::HEAD, STORES)).await.status, 401);
    assert_eq!(app.get("/health/").await.status, 200);
    assert_eq!(app.get("/api/openapi.json").await.status, 200);
}

#[tokio::test]
async fn key_with_the_id_or_secret_of_another_is_rejected_with_401() {
    let app = TestApp::start_with(guarded(ApiAuth::All)).await;
    let one = app.key(&[Scope::Admin], Stores::All).await;
    let other = app.key(&[Scope::CatalogRead], Stores::All).await;
    let id = |key: &str| key.split('_').nth(1).unwrap().to_owned();
    let forged = format!("afk_{}_{}", id(&one), other.split('_').nth(2).unwrap());
    assert_eq!(get(&app, &forged).await.status, 401);
    let elsewhere = HttpSettings {
        secret_key: Some("another long random text".into()),
        ..guarded(ApiAuth::All)
    };
    let elsewhere = app.beside_with(elsewhere).await;
    assert_eq!(get(&elsewhere, &one).await.status, 401, "keys go with SECRET_KEY");
    assert_eq!(get(&app, &one).await.status, 200);
}

#[tokio::test]
async fn revoked_key_is_rejected_by_every_server_within_five_seconds() {
    let app = TestApp::start_with(guarded(ApiAuth::All)).await;
    let servers = [app.beside_with(guarded(ApiAuth::All)).await, app];
    let new = NewKey {
        name: "Till 7".to_owned(),
        scopes: [Scope::CatalogRead].into_iter().collect(),
        stores: Stores::All,
        expires_at: None,
    };
    let (key, text) = servers[0].key_of(&new).await;
    for server in &servers {
        assert_eq!(get(server, &text).await.status, 200);
    }
    let mut tx = servers[0].pool.begin().await.unwrap();
    api_key::revoke(&mut tx, key.id, &AuditContext::system())
        .await
        .unwrap()
        .unwrap();
    assert!(
        api_key::revoke(&mut tx, key.id, &AuditContext::system())
            .await
            .unwrap()
            .is_none()
    );
    tx.commit().await.unwrap();
    let revoked = Instant::now();
    for server in &servers {
        while get(server, &text).await.status != 401 {
            assert!(revoked.elapsed() < Duration::from_secs(5));
            sleep(Duration::from_millis(50)).await;
        }
        get(server, &text)
            .await
            .is(401, json!({ "detail": "The API key was revoked." }));
    }
}

#[tokio::test]
async fn expired_key_is_rejected_with_401() {
    let app = TestApp::start_with(guarded(ApiAuth::All)).await;
    let expiring = async |when: &str| {
        let at = sqlx::query_scalar(&*format!("select now() + interval '{when}'").leak());
        let new = NewKey {
            name: "Short".to_owned(),
            scopes: [Scope::CatalogRead].into_iter().collect(),
            stores: Stores::All,
            expires_at: Some(at.fetch_one(&app.pool).await.unwrap()),
        };
        app.key_of(&new).await.1
    };
    let (gone, good) = (expiring("-1 second").await, expiring("1 hour").await);
    get(&app, &gone)
        .await
        .is(401, json!({ "detail": "The API key has expired." }));
    assert_eq!(get(&app, &good).await.status, 200);
}

#[tokio::test]
async fn address_with_20_failures_gets_429_but_a_valid_key_is_accepted() {
    let app = TestApp::start_with(HttpSettings {
        trusted_proxies: "127.0.0.1".parse().unwrap(),
        ..guarded(ApiAuth::All)
    })
    .await;
    let key = app.key(&[Scope::CatalogRead], Stores::All).await;
    let from = async |address: &str, key: &str| {
        let request = app.request(Method::GET, STORES).bearer_auth(key);
        send(request.header("x-forwarded-for", address)).await
    };
    let (mut failures, mut held_back) = (0, from("192.0.2.7", "afk_1_guess").await);
    while held_back.status == 401 {
        failures += 1;
        held_back = from("192.0.2.7", "afk_1_guess").await;
    }
    // Another failure is allowed every three seconds.
    assert!((20..40).contains(&failures), "{failures}");
    assert_eq!(held_back.status, 429);
    assert!((1..=4).contains(&held_back.header("retry-after").parse::<u64>().unwrap()));
    assert_eq!(from("192.0.2.8", "afk_1_guess").await.status, 401);
    assert_eq!(from("192.0.2.7", &key).await.status, 200);
}

#[tokio::test]
async fn last_use_of_a_key_is_recorded() {
    let app = TestApp::start_with(guarded(ApiAuth::All)).await;
    let new = NewKey {
        name: "Till 7".to_owned(),
        scopes: [Scope::CatalogRead].into_iter().collect(),
        stores: Stores::All,
        expires_at: None,
    };
    let (key, text) = app.key_of(&new).await;
    assert!(
        api_key::get(&app.pool, key.id)
            .await
            .unwrap()
            .unwrap()
            .last_used_at
            .is_none()
    );
    assert_eq!(get(&app, &text).await.status, 200);
    let noted = loop {
        let key = api_key::get(&app.pool, key.id).await.unwrap().unwrap();
        if key.last_used_at.is_some() {
            break key;
        }
        sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(noted.last_used_from.as_deref(), Some("127.0.0.1"));
}

#[tokio::test]
async fn api_auth_decides_which_requests_need_a_key() {
    let open = TestApp::start().await;
    let (store, product) = (open.store("Main").await, open.product("Lamp", "10.00").await);
    open.stock(store, product, 10).await;
    let body = order(store, &[(product, 1)]);
    let ignored = open
        .request(Method::POST, "/api/orders/")
        .bearer_auth("afk_wrong")
        .json(&body);
    assert_eq!(send(ignored).await.status, 201, "keys are ignored");

    let write = open.beside_with(guarded(ApiAuth::Write)).await;
    assert_eq!(write.get(STORES).await.status, 200);
    let basic = write
        .request(Method::GET, STORES)
        .basic_auth("somebody", Some("something"));
    assert_eq!(send(basic).await.status, 200);
    assert_eq!(
        get(&write, "afk_wrong").await.status,
        401,
        "a wrong key is no better than none"
    );
    assert_eq!(write.post("/api/orders/", &body).await.status, 401);
    let key = write.key(&[Scope::OrdersWrite], Stores::All).await;
    assert_eq!(
        ask(&write, &key, Method::POST, "/api/orders/", &body)
            .await
            .status,
        201
    );
    assert_eq!(
        get(&write, &key).await.status,
        403,
        "a key permits only its scopes"
    );

    let by_default = |debug| HttpSettings {
        debug,
        api_auth: ApiAuthSetting(None),
        ..production()
    };
    assert_eq!(
        open.beside_with(by_default(false)).await.get(STORES).await.status,
        401
    );
    assert_eq!(
        open.beside_with(by_default(true)).await.get(STORES).await.status,
        200
    );
}

#[tokio::test]
async fn idempotency_key_is_separate_per_api_key() {
    let open = TestApp::start().await;
    let (store, product) = (open.store("Main").await, open.product("Lamp", "10.00").await);
    open.stock(store, product, 10).await;
    let app = open.beside_with(guarded(ApiAuth::All)).await;
    let (one, other) = (
        app.key(&[Scope::OrdersWrite], Stores::All).await,
        app.key(&[Scope::OrdersWrite], Stores::All).await,
    );
    let place = async |key: &str| {
        let request = app.request(Method::POST, "/api/orders/").bearer_auth(key);
        let request = request
            .header("idempotency-key", "the-same")
            .json(&order(store, &[(product, 1)]));
        send(request).await
    };
    let (first, again, others) = (place(&one).await, place(&one).await, place(&other).await);
    assert_eq!(first.created(), again.created());
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_ne!(first.created(), others.created());
}

#[tokio::test]
async fn cors_allows_authorization_and_x_api_key() {
    let app = TestApp::start_with(guarded(ApiAuth::All)).await;
    let preflight = app
        .request(Method::OPTIONS, STORES)
        .header("origin", "http://localhost:3000")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization, X-API-Key");
    let answer = send(preflight).await;
    assert_eq!(answer.status, 200);
    let allowed = answer.header("access-control-allow-headers");
    assert!(
        allowed.contains("authorization") && allowed.contains("x-api-key"),
        "{allowed}"
    );
    let refused = send(
        app.request(Method::GET, STORES)
            .header("origin", "http://localhost:3000"),
    )
    .await;
    assert_eq!(refused.status, 401);
    assert_eq!(
        refused.header("access-control-allow-origin"),
        "http://localhost:3000"
    );
}
