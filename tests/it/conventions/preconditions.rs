//! `If-Match`: a write succeeds only if the record has not changed since the client read it.

use afforo::{
    auth::{Scope, Stores},
    config::{ApiAuth, ApiAuthSetting, HttpSettings},
};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use crate::support::{
    app::{Answer, TestApp, production, send},
    locks::waiting_for_locks,
    program::eventually,
};

const KINDS: [&str; 4] = ["categories", "products", "stores", "inventory"];
const CHANGED: &str = "This was changed since it was read: If-Match names another ETag. Read it again.";

/// Creates a record without references, and returns its path and a body for PUT.
async fn record(app: &TestApp, kind: &str, number: usize) -> (String, Value) {
    let name = format!("{kind} {number}");
    let (id, body) = match kind {
        "categories" => (app.category(&name).await, json!({ "name": name })),
        "products" => {
            let category = app.category(&name).await;
            let body = json!({ "title": name, "price": "5.00", "category_id": category });
            (app.product_in(category, &name, "5.00").await, body)
        }
        "stores" => (
            app.store(&name).await,
            json!({ "name": name, "location": "Here" }),
        ),
        _ => {
            let (store, product) = (app.store(&name).await, app.product(&name, "5.00").await);
            let body = json!({ "store_id": store, "product_id": product, "quantity": 7 });
            (app.stock(store, product, 5).await, body)
        }
    };
    (format!("/api/{kind}/{id}/"), body)
}

/// Sends a write with these `If-Match` headers.
async fn write(app: &TestApp, method: &str, path: &str, body: &Value, lines: &[&str]) -> Answer {
    let mut request = app.request(method.parse().unwrap(), path);
    for line in lines {
        request = request.header("if-match", *line);
    }
    send(match method {
        "DELETE" => request,
        _ => request.json(body),
    })
    .await
}

#[tokio::test]
async fn write_with_a_stale_if_match_is_rejected_with_412() {
    let app = TestApp::start().await;
    let mut number = 0;
    for kind in KINDS {
        for method in ["PUT", "PATCH", "DELETE"] {
            number += 1;
            let (mut path, mut body) = record(&app, kind, number).await;
            let tag = app.get(&path).await.header("etag").to_owned();
            let strong = tag.trim_start_matches("W/");
            for other in [
                "\"nope\"",
                "W/\"nope\"",
                "",
                ",",
                "garbage",
                strong.trim_matches('"'),
                &strong[..strong.len() - 1],
                &strong.to_ascii_uppercase(),
                "W/*",
                "\"*\"",
                "\"a\", W/\"b\"",
                &"x,".repeat(15_000),
            ] {
                let answer = write(&app, method, &path, &body, &[other]).await;
                answer.is(412, json!({ "detail": CHANGED }));
                assert_eq!(answer.header("etag"), "");
            }
            assert_eq!(app.get(&path).await.header("etag"), tag, "nothing was written");
            for lines in [
                vec![],
                vec!["TAG"],
                vec!["STRONG"],
                vec!["*"],
                vec!["\"a\",TAG , \"b\""],
                vec!["\"a\"", "STRONG"],
            ] {
                let tag = app.get(&path).await.header("etag").to_owned();
                let strong = tag.trim_start_matches("W/").to_owned();
                let lines: Vec<String> = lines
                    .iter()
                    .map(|line| line.replace("TAG", &tag).replace("STRONG", &strong))
                    .collect();
                let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
                let answer = write(&app, method, &path, &body, &lines).await;
                if method == "DELETE" {
                    assert_eq!(answer.status, 204, "{path} {lines:?}: {}", answer.text);
                    number += 1;
                    (path, body) = record(&app, kind, number).await;
                } else {
                    assert_eq!(answer.status, 200, "{path} {lines:?}: {}", answer.text);
                    assert_eq!(answer.header("etag"), app.get(&path).await.header("etag"));
                    assert_ne!(answer.header("etag"), tag, "updated_at has moved");
                }
            }
        }
    }
}

#[tokio::test]
async fn if_match_is_checked_after_existence_and_before_the_body() {
    let app = TestApp::start().await;
    for (number, kind) in KINDS.into_iter().enumerate() {
        let (path, _) = record(&app, kind, number).await;
        let missing = format!("/api/{kind}/999/");
        for method in ["PUT", "PATCH"] {
            let wrong = json!({ "name": [], "title": [], "quantity": "x" });
            let answer = write(&app, method, &path, &wrong, &["\"nope\""]).await;
            assert_eq!(answer.status, 412, "{method} {path}");
            let answer = write(&app, method, &path, &wrong, &["*"]).await;
            assert_eq!(answer.status, 400, "{method} {path}");
            let garbage = app.request(method.parse().unwrap(), &path);
            let garbage = garbage.header("if-match", "\"nope\"").body("{");
            assert_eq!(send(garbage).await.status, 412, "{method} {path}");
        }
        for method in ["PUT", "PATCH", "DELETE"] {
            for lines in ["*", "\"nope\""] {
                let answer = write(&app, method, &missing, &json!({}), &[lines]).await;
                assert_eq!(answer.status, 404, "{method} {missing}");
            }
        }
        let read = app.request(Method::GET, &path).header("if-match", "\"nope\"");
        assert_eq!(send(read).await.status, 200);
    }
    // A POST creates a record, which no client has read.
    let post = app
        .request(Method::POST, "/api/categories/")
        .header("if-match", "\"nope\"");
    assert_eq!(send(post.json(&json!({ "name": "New" }))).await.status, 201);
}

#[tokio::test]
async fn stale_delete_gets_412_before_409() {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main").await, app.product("Lamp", "1.00").await);
    app.stock(store, product, 5).await;
    app.order(store, &[(product, 1)]).await.created();
    for path in ["/api/categories/1/", "/api/products/1/", "/api/stores/1/"] {
        let stale = write(&app, "DELETE", path, &Value::Null, &["\"nope\""]).await;
        assert_eq!(stale.status, 412, "{path}");
        let ordered = write(&app, "DELETE", path, &Value::Null, &["*"]).await;
        assert_eq!(ordered.status, 409, "{path}");
    }
}

#[tokio::test]
async fn bound_key_sees_the_same_tags_of_its_own_store_only() {
    let app = TestApp::start().await;
    for number in 1..=2 {
        record(&app, "inventory", number).await;
    }
    let guarded = app
        .beside_with(HttpSettings {
            api_auth: ApiAuthSetting(Some(ApiAuth::All)),
            ..production()
        })
        .await;
    let scopes = [Scope::CatalogWrite, Scope::InventoryWrite];
    let key = guarded.key(&scopes, Stores::Only([1].into())).await;
    let sent = async |path: &str, tag: &str| {
        let request = guarded.request(Method::PATCH, path).header("x-api-key", &key);
        let request = request.header("if-match", tag).json(&json!({}));
        send(request).await.status.as_u16()
    };
    for kind in ["stores", "inventory"] {
        let path = format!("/api/{kind}/1/");
        let tag = app.get(&path).await.header("etag").to_owned();
        assert_eq!(sent(&path, "\"nope\"").await, 412);
        assert_eq!(sent(&path, &tag).await, 200);
        assert_eq!(sent(&format!("/api/{kind}/2/"), "\"nope\"").await, 404);
    }
    assert_eq!(sent("/api/categories/1/", "\"nope\"").await, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_writers_with_the_same_etag_gets_412() {
    let app = TestApp::start().await;
    let mut number = 0;
    for kind in KINDS {
        for methods in [["PATCH", "PATCH"], ["PUT", "PATCH"], ["PATCH", "DELETE"]] {
            for _ in 0..8 {
                number += 1;
                let (path, body) = record(&app, kind, number).await;
                let tag = app.get(&path).await.header("etag").to_owned();
                let lines = [tag.as_str()];
                let writes = methods.map(|method| write(&app, method, &path, &body, &lines));
                let answers = join_all(writes).await;
                let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
                statuses.sort_unstable();
                let expected: &[[u16; 2]] = match methods {
                    [_, "DELETE"] => &[[200, 412], [204, 404]],
                    _ => &[[200, 412]],
                };
                assert!(
                    expected.iter().any(|expected| expected[..] == statuses),
                    "{methods:?} {path}: {statuses:?}"
                );
            }
        }
    }
}

/// For each kind of record its table, and SQL that changes a related row while a write waits for the record `$`.
const MEANWHILE: [(&str, &str, &str); 4] = [
    (
        "categories",
        "category",
        "insert into product (title, price, category_id) values ('New', 1, $)",
    ),
    (
        "products",
        "product",
        "update category set name = 'Renamed $' where id = (select category_id from product where id = $)",
    ),
    (
        "stores",
        "store",
        "insert into inventory (store_id, product_id) select $, min(id) from product",
    ),
    (
        "inventory",
        "inventory",
        "update store set location = 'Moved' where id = (select store_id from inventory where id = $)",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_write_compares_the_record_after_the_lock() {
    let app = TestApp::start().await;
    app.product("Lamp", "1.00").await;
    let mut blocker = PgConnection::connect(&app.database_url).await.unwrap();
    let mut number = 0;
    for (kind, table, meanwhile) in MEANWHILE {
        for method in ["PUT", "PATCH", "DELETE"] {
            number += 1;
            let (path, body) = record(&app, kind, number).await;
            let tag = app.get(&path).await.header("etag").to_owned();
            let id = path.trim_end_matches('/').rsplit('/').next().unwrap();
            let lock = format!("select from {table} where id = {id} for update");
            let mut held = blocker.begin().await.unwrap();
            for sql in [lock, meanwhile.replace('$', id)] {
                held.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
            }
            let lines = [tag.as_str()];
            let writing = write(&app, method, &path, &body, &lines);
            let releasing = async {
                eventually("the write waits for the lock", async || {
                    waiting_for_locks(&app.pool).await > 0
                })
                .await;
                held.commit().await.unwrap();
            };
            let (answer, ()) = tokio::join!(writing, releasing);
            assert_eq!(answer.status, 412, "{method} {path}: {}", answer.text);
            assert_eq!(app.get(&path).await.status, 200, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn cors_allows_if_match_and_exposes_etag() {
    let origin = "http://localhost:3000";
    let app = TestApp::start().await;
    let (path, _) = record(&app, "categories", 1).await;
    let preflight = app.request(Method::OPTIONS, &path).header("origin", origin);
    let preflight = preflight
        .header("access-control-request-method", "PATCH")
        .header("access-control-request-headers", "content-type, if-match");
    let allowed = send(preflight).await;
    let headers = allowed.header("access-control-allow-headers");
    assert!(headers.contains("if-match"), "{headers}");
    let read = send(app.request(Method::GET, &path).header("origin", origin)).await;
    assert!(read.header("access-control-expose-headers").contains("etag"));
}
