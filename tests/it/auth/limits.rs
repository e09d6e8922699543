//! The cost of callers without a valid key, and the limit on writes per caller.

use afforo::{
    auth::{Scope, Stores},
    config::{ApiAuth, HttpSettings, RateSettings},
};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::time::{Duration, Instant, sleep};

use super::{ask, guarded};
use crate::support::{
    app::{Answer, TestApp, production},
    program::eventually,
};

const STORES: &str = "/api/stores/";

async fn get(app: &TestApp, key: &str) -> Answer {
    ask(app, key, Method::GET, STORES, &Value::Null).await
}

async fn execute(app: &TestApp, sql: &str) {
    let sql = AssertSqlSafe(sql.to_owned());
    sqlx::query(sql).execute(&app.pool).await.unwrap();
}

async fn count(app: &TestApp, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&app.pool).await.unwrap()
}

/// Keys with a valid checksum that do not exist.
async fn unissued(app: &TestApp, count: usize) -> Vec<String> {
    let mut keys = Vec::new();
    for _ in 0..count {
        keys.push(app.key(&[Scope::Admin], Stores::All).await);
    }
    execute(app, "delete from api_key").await;
    keys
}

#[tokio::test]
async fn unknown_key_is_looked_up_once() {
    let app = TestApp::start_with(guarded(ApiAuth::All)).await;
    let keys = unissued(&app, 1).await;
    assert_eq!(get(&app, &keys[0]).await.status, 401);
    let connections = join_all((0..8).map(|_| app.pool.acquire())).await;
    assert!(connections.iter().all(Result::is_ok), "the server has none left");
    get(&app, &keys[0])
        .await
        .is(401, json!({ "detail": "Invalid API key." }));
}

#[tokio::test]
async fn new_key_is_accepted_at_once_after_its_id_was_guessed() {
    let app = TestApp::start_with(guarded(ApiAuth::All)).await;
    let servers = [app.beside_with(guarded(ApiAuth::All)).await, app];
    let forged = unissued(&servers[0], 1).await.remove(0);
    execute(
        &servers[0],
        "select setval(pg_get_serial_sequence('api_key', 'id'), 1, false)",
    )
    .await;
    for server in &servers {
        assert_eq!(get(server, &forged).await.status, 401);
    }
    let made = servers[0].key(&[Scope::CatalogRead], Stores::All).await;
    assert_eq!(made.split('_').nth(1), forged.split('_').nth(1));
    for server in &servers {
        assert_eq!(get(server, &made).await.status, 200);
        assert_eq!(get(server, &forged).await.status, 401);
    }
}

#[tokio::test]
async fn throttled_address_has_one_key_lookup_at_a_time() {
    let app = TestApp::start_with(guarded(ApiAuth::All)).await;
    for _ in 0..20 {
        assert_eq!(get(&app, "afk_1_nonsense").await.status, 401);
    }
    assert_eq!(get(&app, "afk_1_nonsense").await.status, 429);
    let exhausted = Instant::now();
    let forged = unissued(&app, 30).await;
    let made = app.key(&[Scope::CatalogRead], Stores::All).await;
    let mut locking = PgConnection::connect(&app.database_url).await.unwrap();
    let mut lock = locking.begin().await.unwrap();
    sqlx::query("lock table api_key in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let asked = async {
        let forged = join_all(forged.iter().map(|key| get(&app, key)));
        tokio::join!(forged, get(&app, &made))
    };
    let looked_on = async {
        let waiting = async || {
            count(
                &app,
                "select count(*) from pg_locks where not granted and relation = 'api_key'::regclass
                     and database = (select oid from pg_database where datname = current_database())",
            )
            .await
        };
        eventually("a look-up waits", async || waiting().await > 0).await;
        for _ in 0..30 {
            assert!(waiting().await <= 1);
            sleep(Duration::from_millis(10)).await;
        }
        lock.rollback().await.unwrap();
    };
    let ((forged, made), ()) = tokio::join!(asked, looked_on);
    // One more failure every three seconds gets 401.
    let most = usize::try_from(exhausted.elapsed().as_secs()).unwrap() / 3 + 1;
    let (looked_up, throttled): (Vec<_>, Vec<_>) = forged.iter().partition(|answer| answer.status == 401);
    assert!(looked_up.len() <= most, "{} in {most} x 3 s", looked_up.len());
    for answer in throttled {
        assert_eq!(answer.status, 429, "{}", answer.text);
    }
    assert_eq!(
        made.status, 200,
        "a key that exists is good from anywhere: {}",
        made.text
    );
}

/// A server on which a caller may write twice a minute.
fn two_writes(auth: ApiAuth) -> HttpSettings {
    HttpSettings {
        rates: RateSettings {
            write_rate_limit: "2".parse().unwrap(),
            ..RateSettings::default()
        },
        trusted_proxies: "127.0.0.1".parse().unwrap(),
        ..guarded(auth)
    }
}

#[tokio::test]
async fn write_limit_applies_per_key() {
    let app = TestApp::start_with(two_writes(ApiAuth::All)).await;
    let scopes = [Scope::CatalogRead, Scope::CatalogWrite];
    let one = app.key(&scopes, Stores::All).await;
    let other = app.key(&scopes, Stores::All).await;
    let store = json!({ "name": "Main Store", "location": "Main Street 1" });
    // A write with an invalid body counts too.
    assert_eq!(ask(&app, &one, Method::POST, STORES, &store).await.status, 201);
    assert_eq!(
        ask(&app, &one, Method::POST, STORES, &json!({})).await.status,
        400
    );
    let refused = ask(&app, &one, Method::PATCH, "/api/stores/1/", &json!({})).await;
    assert_eq!(refused.status, 429, "{}", refused.text);
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=31).contains(&wait), "{wait}");
    let detail = format!("At most 2 writes a minute are allowed. Try again in {wait} seconds.");
    refused.is(429, json!({ "detail": detail }));
    for _ in 0..3 {
        assert_eq!(get(&app, &one).await.status, 200);
    }
    assert_eq!(ask(&app, &other, Method::POST, STORES, &store).await.status, 201);
    assert_eq!(count(&app, "select count(*) from store").await, 2);
}

#[tokio::test]
async fn write_limit_without_a_key_applies_per_address() {
    let app = TestApp::start_with(two_writes(ApiAuth::Off)).await;
    let order = json!({ "store_id": 1, "items": [{ "product_id": 1, "quantity": 1 }] });
    let place = async |address: &str| {
        let request = app.request(Method::POST, "/api/orders/").json(&order);
        let answer = crate::support::app::send(request.header("x-forwarded-for", address)).await;
        answer.status.as_u16()
    };
    assert_eq!(place("2001:db8::1").await, 400);
    assert_eq!(place("2001:db8::2").await, 400);
    assert_eq!(place("2001:db8::3").await, 429);
    assert_eq!(place("192.0.2.1").await, 400);
}

#[tokio::test]
async fn writes_are_unlimited_by_default() {
    let app = TestApp::start().await;
    for number in 0..30 {
        let store = json!({ "name": format!("Store {number}"), "location": "Main Street 1" });
        app.post(STORES, &store).await.created();
    }
}

#[tokio::test]
async fn write_that_changes_nothing_leaves_no_audit_entry() {
    let app = TestApp::start().await;
    let category = app.category("Lamps").await;
    let product = app.product_in(category, "Lamp", "1.50").await;
    let store = app.store("Main Store").await;
    let stock = app.stock(store, product, 10).await;
    let entries = count(&app, "select count(*) from audit_log").await;
    for (path, same) in [
        (format!("/api/categories/{category}/"), json!({ "name": "Lamps" })),
        (format!("/api/products/{product}/"), json!({ "price": "1.50" })),
        (format!("/api/stores/{store}/"), json!({ "name": "Main Store" })),
        (format!("/api/inventory/{stock}/"), json!({ "quantity": 10 })),
    ] {
        for body in [json!({}), same] {
            let before = app.get(&path).await;
            let after = app.patch(&path, &body).await;
            assert_eq!(after.status, 200, "{}", after.text);
            assert_ne!(after.body["updated_at"], before.body["updated_at"], "{path}");
        }
    }
    assert_eq!(count(&app, "select count(*) from audit_log").await, entries);
    app.patch(&format!("/api/inventory/{stock}/"), &json!({ "quantity": 9 }))
        .await;
    assert_eq!(count(&app, "select count(*) from audit_log").await, entries + 1);
}

#[tokio::test]
async fn search_limit_applies_where_configured() {
    let limited = HttpSettings {
        rate_limit_enabled: true,
        rates: RateSettings {
            search_rate_limit: "2".parse().unwrap(),
            ..RateSettings::default()
        },
        ..production()
    };
    let app = TestApp::start_with(limited).await;
    let search = "/api/products/search/?q=lamp";
    let (mut counted, mut refused) = (0, app.get(search).await);
    while refused.status == 200 {
        // While Redis is slow, searches pass uncounted.
        counted += usize::from(refused.header("x-ratelimit-limit") == "2");
        refused = app.get(search).await;
    }
    assert!(counted <= 2, "{counted}");
    assert_eq!(
        (refused.status.as_u16(), refused.body["error"].as_str()),
        (429, Some("Rate limit exceeded"))
    );
    assert_ne!(refused.header("retry-after"), "");
    let unlimited = app
        .beside_with(HttpSettings {
            rate_limit_enabled: true,
            ..production()
        })
        .await;
    let found = unlimited.get(search).await;
    assert_eq!(
        (found.status.as_u16(), found.header("x-ratelimit-limit")),
        (200, "")
    );
}
