//! The number of SQL statements of a page does not depend on its rows.

use serde_json::json;
use sqlx::PgPool;

use crate::support::app::TestApp;

/// Resets the statement counts.
async fn forget(pool: &PgPool) {
    sqlx::query("select pg_stat_statements_reset(0, (select oid from pg_database where datname = current_database()), 0)")
        .execute(pool)
        .await
        .unwrap();
}

/// The statements since the reset, without those that begin or end transactions or check a connection.
async fn counted(pool: &PgPool) -> i64 {
    sqlx::query_scalar(
        "select coalesce(sum(calls), 0)::bigint from pg_stat_statements s join pg_database d on d.oid = s.dbid
         where d.datname = current_database() and query not in ('BEGIN', 'COMMIT', 'ROLLBACK') and query not like '%pg_stat_statements%'
             and query not like '%pg_is_in_recovery%' and query not like '%pg_settings%'",
    )
    .fetch_one(pool)
    .await
    .unwrap()
}

async fn with_counter() -> TestApp {
    let app = TestApp::start().await;
    sqlx::query("create extension pg_stat_statements")
        .execute(&app.pool)
        .await
        .unwrap();
    app
}

/// Paths and their numbers of statements.
const READS: &[(&str, i64)] = &[
    ("/api/categories/", 1),
    ("/api/categories/1/", 1),
    ("/api/products/", 1),
    ("/api/products/1/", 1),
    ("/api/products/autocomplete/?q=lamp", 1),
    ("/api/products/search/", 2),
    ("/api/products/search/?q=lamp", 1),
    ("/api/products/search/?q=la", 2),
    ("/api/products/search/?q=lamp&page=last", 1),
    (
        "/api/products/search/?q=lamp&store_id=1&category_id=1&min_price=1&max_price=99",
        1,
    ),
    ("/api/stores/", 1),
    // A walk counts nothing.
    ("/api/categories/?cursor=", 1),
    ("/api/products/?cursor=", 1),
    ("/api/products/search/?cursor=", 1),
    ("/api/products/search/?q=lamp&cursor=", 1),
    ("/api/stores/?cursor=", 1),
    ("/api/stores/1/", 1),
    ("/api/inventory/", 1),
    ("/api/inventory/?store_id=1&low_stock=true", 1),
    ("/api/inventory/?product_id=1", 1),
    ("/api/inventory/1/", 1),
    // A list that counts nothing; the last statement refuses times of detached history.
    ("/api/inventory/as-of/?at=2030-01-01T00:00:00Z", 2),
    ("/api/orders/", 1),
    ("/api/orders/?store_id=1&status=confirmed", 1),
    ("/api/orders/?expand=items", 2),
    ("/api/orders/?ordering=oldest&status=confirmed&status=rejected", 1),
    (
        "/api/orders/?customer=ada@example.com&external_reference=WEB-1",
        1,
    ),
    (
        "/api/orders/?created_from=2020-01-01T00:00:00Z&total_min=1&expand=items",
        4,
    ),
    ("/api/orders/1/", 2),
    ("/api/orders/stats/", 1),
    ("/api/orders/stats/?store_id=1", 1),
];

#[tokio::test]
async fn full_page_runs_as_many_statements_as_a_page_of_one_row() {
    let app = with_counter().await;
    let (store, lamp) = (app.store("Main").await, app.product("Lamp 0", "10.00").await);
    app.stock(store, lamp, 5).await;
    app.order(store, &[(lamp, 1)]).await.created();
    let read = async || {
        for (path, statements) in READS {
            forget(&app.pool).await;
            assert_eq!(app.get(path).await.status, 200, "{path}");
            assert_eq!(counted(&app.pool).await, *statements, "{path}");
        }
    };
    read().await;
    for number in 1..25 {
        let store = app.store(&format!("Store {number}")).await;
        let product = app.product(&format!("Lamp {number}"), "10.00").await;
        app.stock(1, product, 5).await;
        app.stock(store, 1, 5).await;
        app.order(1, &[(product, 1), (lamp, 1)]).await;
    }
    read().await;
}

/// PostgreSQL plans a statement five times before it decides to keep a plan, and once for that plan. Requests in sequence use
/// the same connection.
const MOST_PLANS: i64 = 6;

/// Another server on the same database, in which PostgreSQL counts plans.
async fn with_counted_plans(app: &TestApp) -> TestApp {
    sqlx::raw_sql(
        "do $$ begin execute format('alter database %I set pg_stat_statements.track_planning = on', current_database()); end $$",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    app.beside().await
}

/// How often PostgreSQL has planned and run statements like this.
async fn plans_and_calls(app: &TestApp, like: &str) -> (i64, i64) {
    sqlx::query_as(
        "select coalesce(sum(plans), 0)::bigint, coalesce(sum(calls), 0)::bigint
         from pg_stat_statements s join pg_database d on d.oid = s.dbid
         where d.datname = current_database() and query like $1",
    )
    .bind(like)
    .fetch_one(&app.pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn statements_of_documents_keep_their_plans() {
    let app = with_counter().await;
    let (store, lamp) = (app.store("Main").await, app.product("Lamp", "10.00").await);
    app.stock(store, lamp, 500).await;
    let order = app.order(store, &[(lamp, 100)]).await.created();
    let app = with_counted_plans(&app).await;
    let cancel = async || {
        let one = json!({ "items": [{ "product_id": lamp, "quantity": 1 }], "reason": "Late" });
        let path = format!("/api/orders/{order}/cancellations/");
        app.post(&path, &one).await.created();
    };
    // Until each connection has decided.
    for _ in 0..10 * MOST_PLANS {
        cancel().await;
    }
    forget(&app.pool).await;
    for _ in 0..MOST_PLANS {
        cancel().await;
    }
    // Those that lock and that write stock rows have lists, on whose length the best plan could depend.
    for like in ["with wanted as%for update of i", "with change as%"] {
        assert_eq!(plans_and_calls(&app, like).await, (0, MOST_PLANS), "{like}");
    }
}

#[tokio::test]
async fn statements_of_reads_keep_their_plans() {
    let app = with_counter().await;
    let (store, lamp) = (app.store("Main").await, app.product("Lamp 0", "10.00").await);
    app.stock(store, lamp, 500).await;
    for number in 1..25 {
        let product = app.product(&format!("Lamp {number}"), "10.00").await;
        app.category(&format!("Lamps {number}")).await;
        let other = app.store(&format!("Store {number}")).await;
        app.stock(store, product, 5).await;
        app.stock(other, lamp, 5).await;
        app.order(store, &[(lamp, 1)]).await;
    }
    let app = with_counted_plans(&app).await;
    let mut replanned: Vec<(String, i64)> = Vec::new();
    for list in [
        "/api/categories/?",
        "/api/products/?",
        "/api/products/search/?q=lamp&",
        "/api/stores/?",
        "/api/inventory/?",
        "/api/inventory/?store_id=1&low_stock=true&",
        "/api/inventory/?product_id=1&",
        "/api/orders/?",
        "/api/orders/?status=confirmed&",
        "/api/orders/?store_id=1&",
    ] {
        for part in ["page=1", "page=2", "cursor="] {
            let path = format!("{list}{part}");
            forget(&app.pool).await;
            for _ in 0..2 * MOST_PLANS {
                assert_eq!(app.get(&path).await.status, 200, "{path}");
            }
            let (plans, _) = plans_and_calls(&app, "%limit%").await;
            if !(1..=MOST_PLANS).contains(&plans) {
                replanned.push((path, plans));
            }
        }
    }
    assert_eq!(replanned, []);
}

#[tokio::test]
async fn order_of_many_items_runs_as_many_statements_as_one_of_one() {
    let app = with_counter().await;
    let store = app.store("Main").await;
    let mut products = Vec::new();
    for number in 0..20 {
        let product = app.product(&format!("Lamp {number}"), "10.00").await;
        app.stock(store, product, 100).await;
        products.push((product, 1));
    }
    for items in [&products[..1], &products[..2], &products] {
        forget(&app.pool).await;
        app.order(store, items).await.created();
        // To lock, and to write.
        assert_eq!(counted(&app.pool).await, 2, "{} items", items.len());
    }
    app.patch("/api/products/1/", &json!({ "sku": "LAMP" })).await;
    let by_sku = json!({ "store_id": store, "items": [{ "sku": "LAMP", "quantity": 1 }] });
    let by_id = json!([{ "product_id": 1, "quantity": 1 }]);
    let with_note = json!({ "store_id": store, "items": by_id, "note": "n", "customer": { "name": "Ada" } });
    let with_reference = json!({ "store_id": store, "items": by_id, "external_reference": "WEB-1" });
    for (order, statements) in [(by_sku, 3), (with_note, 2), (with_reference, 3)] {
        forget(&app.pool).await;
        app.post("/api/orders/", &order).await.created();
        assert_eq!(counted(&app.pool).await, statements, "{order}");
    }
    forget(&app.pool).await;
    app.post("/api/orders/", &json!({ "store_id": store, "items": [] }))
        .await;
    assert_eq!(
        counted(&app.pool).await,
        0,
        "an invalid request runs no statement"
    );
}

#[tokio::test]
async fn requests_of_many_items_run_as_many_statements_as_those_of_two() {
    let app = with_counter().await;
    app.category("Lights").await;
    let store = app.store("Main").await;
    let bulk = async |skus: std::ops::Range<u32>| {
        let products = skus.map(|sku| {
            json!({ "sku": format!("S-{sku}"), "title": "Lamp", "price": 1, "category_id": 1, "barcodes": [{ "code": format!("B-{sku}") }] })
        });
        let products: Vec<_> = products.collect();
        forget(&app.pool).await;
        let answer = app
            .post("/api/products/bulk/", &json!({ "products": products }))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        counted(&app.pool).await
    };
    let (few, many) = (bulk(0..2).await, bulk(2..200).await);
    assert_eq!(few, many, "new products");
    assert_eq!(bulk(0..2).await, bulk(2..200).await, "the same products again");

    let adjust = async |skus: std::ops::Range<u32>| {
        let items: Vec<_> = skus
            .map(|sku| json!({ "store_id": store, "sku": format!("S-{sku}"), "delta": 1 }))
            .collect();
        forget(&app.pool).await;
        let body = json!({ "reason_code": "FOUND", "create_missing": true, "adjustments": items });
        let answer = app.post("/api/inventory/adjustments/", &body).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        counted(&app.pool).await
    };
    assert_eq!(adjust(0..2).await, adjust(0..200).await, "adjustments");
}
