//! Statements that were prepared before a migration, a database that is read-only for a while, and one without a schema.

use reqwest::Method;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::support::{
    app::{Answer, TestApp, order, send},
    moving::MovingAddress,
    program::eventually,
    servers,
};

/// All requests of a client, in the order of the routes: reads, writes, and repeatable writes.
async fn ask_everything(app: &TestApp, shop: &Shop, round: u32) -> Vec<(String, Answer)> {
    let Shop {
        category,
        product,
        store,
        stock,
    } = shop;
    let mut answers = Vec::new();
    for path in [
        "/api/categories/".to_owned(),
        format!("/api/categories/{category}/"),
        "/api/products/".to_owned(),
        format!("/api/products/{product}/"),
        "/api/products/search/?q=lamp".to_owned(),
        "/api/stores/".to_owned(),
        format!("/api/stores/{store}/"),
        "/api/inventory/".to_owned(),
        format!("/api/inventory/{stock}/"),
        "/api/orders/".to_owned(),
    ] {
        answers.push((path.clone(), app.get(&path).await));
    }
    for (path, change) in [
        (
            format!("/api/categories/{category}/"),
            json!({ "name": format!("Lights {round}") }),
        ),
        (format!("/api/products/{product}/"), json!({ "price": "2.00" })),
        (
            format!("/api/stores/{store}/"),
            json!({ "location": "Main Street 2" }),
        ),
        (format!("/api/inventory/{stock}/"), json!({ "quantity": 100 })),
    ] {
        answers.push((path.clone(), app.patch(&path, &change).await));
    }
    let orders = "/api/orders/";
    answers.push((
        orders.to_owned(),
        app.post(orders, &order(*store, &[(*product, 1)])).await,
    ));
    let categories = "/api/categories/";
    let keyed = app.request(Method::POST, categories);
    let keyed = keyed.header("idempotency-key", format!("key-{round}"));
    let keyed = keyed.json(&json!({ "name": format!("Category {round}") }));
    answers.push((categories.to_owned(), send(keyed).await));
    answers
}

struct Shop {
    category: i64,
    product: i64,
    store: i64,
    stock: i64,
}

impl Shop {
    async fn open(app: &TestApp) -> Self {
        let category = app.category("Lights").await;
        let product = app.product_in(category, "Lamp", "1.50").await;
        let store = app.store("Main Store").await;
        let stock = app.stock(store, product, 100).await;
        Self {
            category,
            product,
            store,
            stock,
        }
    }
}

#[tokio::test]
async fn statements_prepared_before_a_type_change_are_run_again() {
    let app = TestApp::start().await;
    let shop = Shop::open(&app).await;
    // Every connection of the pool has prepared every statement.
    let warm_up = (0..16).map(|round| ask_everything(&app, &shop, round));
    for (path, answer) in futures::future::join_all(warm_up).await.into_iter().flatten() {
        assert!(answer.status.is_success(), "{path}: {answer:?}");
    }
    for (round, change) in [
        "alter table category alter column updated_at type timestamptz(6)",
        "alter table store alter column updated_at type timestamptz(6)",
        "alter table product alter column updated_at type timestamptz(6)",
        "alter table orders alter column rejection_reason type varchar(9000)",
    ]
    .into_iter()
    .enumerate()
    {
        app.pool.execute(change).await.unwrap();
        for (path, answer) in ask_everything(&app, &shop, 100 + u32::try_from(round).unwrap()).await {
            assert!(answer.status.is_success(), "{path} after {change}: {answer:?}");
        }
    }
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn placing_continues_after_the_prepared_statements_become_invalid() {
    let app = TestApp::start().await;
    let shop = Shop::open(&app).await;
    let place = async |key: &str| {
        let request = app.request(Method::POST, "/api/orders/");
        let request = request.header("idempotency-key", key.to_owned());
        send(request.json(&order(shop.store, &[(shop.product, 1)]))).await
    };
    place("one").await.created();
    // A lane reads known keys within its transaction.
    app.pool
        .execute("alter table idempotency_key alter column key type varchar(1000)")
        .await
        .unwrap();
    let placed = place("two").await;
    assert_eq!(placed.status, 201, "{}", placed.text);
    assert_eq!(app.quantity(shop.stock).await, 98);
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn read_only_database_refuses_writes_with_503_and_is_not_ready() {
    let app = TestApp::start().await;
    let shop = Shop::open(&app).await;
    let name: String = sqlx::query_scalar("select current_database()::text")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    let read_only = AssertSqlSafe(format!(
        "alter database {name} set default_transaction_read_only = on"
    ));
    app.pool.execute(read_only).await.unwrap();
    // The server opens its connections from now on.
    let other = app.beside().await;
    for (path, answer) in ask_everything(&other, &shop, 1).await {
        let is_refused = answer.status == 503 && answer.header("retry-after") == "1";
        assert!(answer.status == 200 || is_refused, "{path}: {answer:?}");
        assert!(!answer.text.contains("taken effect"), "{path}: {answer:?}");
    }
    let placed = other.order(shop.store, &[(shop.product, 1)]).await;
    assert_eq!(placed.status, 503, "{}", placed.text);
    let ready = other.get("/health/ready/").await;
    assert_eq!(ready.status, 503, "{}", ready.text);
    assert_eq!(
        (&ready.body["status"], &ready.body["database"]),
        (&json!("unready"), &json!(false))
    );

    let mut admin = PgConnection::connect(&servers::postgres().url("postgres"))
        .await
        .unwrap();
    let write = format!("alter database {name} reset default_transaction_read_only");
    admin.execute(AssertSqlSafe(write)).await.unwrap();
    eventually("orders are placed again", async || {
        let answer = other.order(shop.store, &[(shop.product, 1)]).await;
        assert!([201, 503].contains(&answer.status.as_u16()), "{}", answer.text);
        answer.status == 201
    })
    .await;
    eventually("stores are changed again", async || {
        let path = format!("/api/stores/{}/", shop.store);
        let answer = other.patch(&path, &json!({ "location": "Main Street 3" })).await;
        assert!([200, 503].contains(&answer.status.as_u16()), "{}", answer.text);
        answer.status == 200
    })
    .await;
    eventually("the server is ready", async || {
        other.get("/health/ready/").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn requests_without_a_schema_get_503() {
    let app = TestApp::start().await;
    let empty = servers::empty_database().await;
    let other = app.beside_on(&empty.url()).await;
    let shop = Shop {
        category: 1,
        product: 1,
        store: 1,
        stock: 1,
    };
    for (path, answer) in ask_everything(&other, &shop, 1).await {
        assert_eq!(answer.status, 503, "{path}: {}", answer.text);
        assert_eq!(answer.header("retry-after"), "1", "{path}");
    }
    assert_eq!(other.get("/health/ready/").await.body["schema"], "behind");
}

#[tokio::test]
async fn stopped_database_gives_503_saying_nothing_was_done() {
    let app = TestApp::start().await;
    let socket = servers::postgres().socket_dir().join(".s.PGSQL.5432");
    let address = MovingAddress::of(socket.clone()).await;
    let name: String = sqlx::query_scalar("select current_database()::text")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    let url = format!(
        "postgres://postgres@127.0.0.1:{}/{name}?sslmode=disable",
        address.port
    );
    for request in 0..4 {
        address.move_to(socket.clone());
        let other = app.beside_on(&url).await;
        let store = other.store(&format!("Store {request}")).await;
        // The idle connections have not noticed the end.
        address.move_to("/nowhere".into());
        address.cut();
        let path = format!("/api/stores/{store}/");
        let answer = match request {
            0 => other.order(store, &[(1, 1)]).await,
            1 => other.post("/api/categories/", &json!({ "name": "Lights" })).await,
            2 => other.patch(&path, &json!({ "location": "Main Street 2" })).await,
            _ => other.delete(&path).await,
        };
        answer.is_text(
            503,
            r#"{"detail":"Service temporarily unavailable, try again later."}"#,
        );
        assert_eq!(answer.header("retry-after"), "1");
    }
}
