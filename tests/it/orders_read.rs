//! `/api/orders/`: reading them.

use reqwest::Method;
use serde_json::json;

use crate::{
    console::{Desk, text_of},
    support::{
        app::{TestApp, send},
        walk::{column, walk},
    },
};

const LIST: &str = "/api/orders/";
const NOTHING: &str = r#"{"total_orders":0,"confirmed_orders":0,"rejected_orders":0,"pending_orders":0,"total_revenue":"0.00","avg_order_value":"0","cancelled_orders":0,"refunded_amount":"0.00","net_revenue":"0.00"}"#;

/// Two stores, a product at 10.00 stocked in the first. Orders: 1 confirmed, 2 rejected, 3 rejected in the other store,
/// 4 confirmed.
async fn with_orders() -> TestApp {
    let app = TestApp::start().await;
    let (main, north) = (app.store("Main").await, app.store("North").await);
    let lamp = app.product("Lamp", "10.00").await;
    app.stock(main, lamp, 10).await;
    app.order(main, &[(lamp, 2)]).await.created();
    assert_eq!(app.order(main, &[(lamp, 99)]).await.status, 200);
    assert_eq!(app.order(north, &[(lamp, 1)]).await.status, 200);
    app.order(main, &[(lamp, 1)]).await.created();
    app
}

#[tokio::test]
async fn list_rows_are_flat_with_the_newest_order_first() {
    let app = with_orders().await;
    let list = app.get(LIST).await;
    assert_eq!(list.status, 200);
    assert_eq!(
        list.untimed(),
        concat!(
            r#"{"count":4,"next":null,"previous":null,"results":["#,
            r#"{"id":4,"store_name":"Main","store_location":"Main Street 1","status":"CONFIRMED","total_amount":"10.00","item_count":1,"created_at":"…"},"#,
            r#"{"id":3,"store_name":"North","store_location":"Main Street 1","status":"REJECTED","total_amount":"0.00","item_count":0,"created_at":"…"},"#,
            r#"{"id":2,"store_name":"Main","store_location":"Main Street 1","status":"REJECTED","total_amount":"0.00","item_count":0,"created_at":"…"},"#,
            r#"{"id":1,"store_name":"Main","store_location":"Main Street 1","status":"CONFIRMED","total_amount":"20.00","item_count":1,"created_at":"…"}]}"#
        )
    );
}

#[tokio::test]
async fn list_filters_by_store_and_by_known_status() {
    let app = with_orders().await;
    let cases: &[(&str, &[i64])] = &[
        ("store_id=1", &[4, 2, 1]),
        ("store_id=2&status=rejected", &[3]),
        ("status=CONFIRMED", &[4, 1]),
        ("status=rEjEcTeD", &[3, 2]),
        ("status=pending", &[]),
        ("status=CONFIRMED&status=REJECTED", &[4, 3, 2, 1]),
        ("status=", &[4, 3, 2, 1]),
        ("status=+CONFIRMED", &[4, 3, 2, 1]),
        ("status=shipped", &[4, 3, 2, 1]),
        ("status=%00", &[4, 3, 2, 1]),
        ("store_id=", &[4, 3, 2, 1]),
        ("store_id=9", &[]),
        ("store_id=0", &[]),
        ("store_id=-1", &[]),
        ("store_id=9223372036854775808", &[]),
    ];
    for (query, ids) in cases {
        let list = app.get(&format!("{LIST}?{query}")).await;
        assert_eq!(
            (list.status.as_u16(), json!(list.column("id"))),
            (200, json!(ids)),
            "{query}"
        );
    }
    for id in ["abc", "1.0", "%00"] {
        for path in [LIST, "/api/orders/stats/"] {
            app.get(&format!("{path}?store_id={id}"))
                .await
                .is_text(400, r#"{"store_id":["A valid integer is required."]}"#);
        }
    }
}

#[tokio::test]
async fn detail_has_the_price_at_order_and_the_current_product() {
    let app = with_orders().await;
    let change = json!({ "title": "Lamp II", "price": "12" });
    app.patch("/api/products/1/", &change).await;
    let confirmed = app.get("/api/orders/1/").await;
    assert_eq!(confirmed.status, 200);
    assert_eq!(
        confirmed.untimed(),
        concat!(
            r#"{"id":1,"store":{"id":1,"name":"Main","location":"Main Street 1"},"status":"CONFIRMED","total_amount":"20.00","rejection_reason":"","#,
            r#""items":[{"id":1,"product":{"id":1,"title":"Lamp II","price":"12.00"},"quantity":2,"unit_price":"10.00","subtotal":"20.00","title_at_order":"Lamp"}],"#,
            r#""item_count":1,"is_confirmed":true,"is_rejected":false,"created_at":"…","updated_at":"…","version":1,"fulfillment":"NOT_TRACKED","returned":"NONE","refunded_amount":"0.00"}"#
        )
    );
    let rejected = app.get("/api/orders/2/").await;
    assert_eq!(
        rejected.untimed(),
        concat!(
            r#"{"id":2,"store":{"id":1,"name":"Main","location":"Main Street 1"},"status":"REJECTED","total_amount":"0.00","#,
            r#""rejection_reason":"Insufficient stock: Lamp: requested 99, available 8","items":[],"item_count":0,"is_confirmed":false,"is_rejected":true,"#,
            r#""created_at":"…","updated_at":"…","version":1,"fulfillment":"NOT_TRACKED","returned":"NONE","refunded_amount":"0.00","rejections":[{"product_id":1,"code":"insufficient_stock","requested":99,"available":8}]}"#
        )
    );
}

#[tokio::test]
async fn pending_order_is_neither_confirmed_nor_rejected() {
    let app = with_orders().await;
    sqlx::query("insert into orders (store_id, status) values (1, 'PENDING')")
        .execute(&app.pool)
        .await
        .unwrap();
    let pending = app.get("/api/orders/5/").await;
    assert_eq!(
        pending.untimed(),
        r#"{"id":5,"store":{"id":1,"name":"Main","location":"Main Street 1"},"status":"PENDING","total_amount":"0.00","rejection_reason":"","items":[],"item_count":0,"is_confirmed":false,"is_rejected":false,"created_at":"…","updated_at":"…","version":1,"fulfillment":"NOT_TRACKED","returned":"NONE","refunded_amount":"0.00"}"#
    );
    assert_eq!(app.get(&format!("{LIST}?status=Pending")).await.column("id"), [5]);
    assert_eq!(app.get("/api/orders/stats/").await.body["pending_orders"], 1);
}

#[tokio::test]
async fn replacing_or_deleting_an_order_is_rejected_with_405() {
    let app = with_orders().await;
    for (path, allow) in [
        ("/api/orders/1/", "GET, PATCH, HEAD, OPTIONS"),
        ("/api/orders/99/", "GET, PATCH, HEAD, OPTIONS"),
        ("/api/orders/stats/", "GET, HEAD, OPTIONS"),
    ] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::TRACE] {
            let answer = send(app.request(method.clone(), path)).await;
            answer.is_text(
                405,
                &format!(r#"{{"detail":"Method \"{method}\" not allowed."}}"#),
            );
            assert_eq!(answer.header("allow"), allow);
        }
    }
    for id in ["0", "99", "9223372036854775808"] {
        app.get(&format!("{LIST}{id}/"))
            .await
            .is_text(404, r#"{"detail":"No Order matches the given query."}"#);
    }
}

#[tokio::test]
async fn stats_count_all_orders_and_sum_confirmed_ones() {
    let app = TestApp::start().await;
    app.get("/api/orders/stats/").await.is_text(200, NOTHING);
    let app = with_orders().await;
    let all = r#"{"total_orders":4,"confirmed_orders":2,"rejected_orders":2,"pending_orders":0,"total_revenue":"30.00","avg_order_value":"15.00","cancelled_orders":0,"refunded_amount":"0.00","net_revenue":"30.00"}"#;
    let main = r#"{"total_orders":3,"confirmed_orders":2,"rejected_orders":1,"pending_orders":0,"total_revenue":"30.00","avg_order_value":"15.00","cancelled_orders":0,"refunded_amount":"0.00","net_revenue":"30.00"}"#;
    let rejected_only = r#"{"total_orders":1,"confirmed_orders":0,"rejected_orders":1,"pending_orders":0,"total_revenue":"0.00","avg_order_value":"0","cancelled_orders":0,"refunded_amount":"0.00","net_revenue":"0.00"}"#;
    for (query, stats) in [
        ("", all),
        ("?store_id=", all),
        ("?status=REJECTED&page=9", all),
        ("?store_id=1", main),
        ("?store_id=2", rejected_only),
        ("?store_id=9", NOTHING),
        ("?store_id=-1", NOTHING),
        ("?store_id=9223372036854775808", NOTHING),
    ] {
        app.get(&format!("/api/orders/stats/{query}"))
            .await
            .is_text(200, stats);
    }
}

#[tokio::test]
async fn average_order_value_is_rounded_half_to_even() {
    for (amounts, revenue, average) in [
        (["10.00", "10.01"], "20.01", "10.00"),
        (["10.01", "10.02"], "20.03", "10.02"),
        (["0.01", "9999999999.99"], "10000000000.00", "5000000000.00"),
    ] {
        let app = TestApp::start().await;
        app.store("Main").await;
        for amount in amounts {
            let insert = "insert into orders (store_id, status, total_amount) values (1, 'CONFIRMED', $1::text::numeric)";
            sqlx::query(insert).bind(amount).execute(&app.pool).await.unwrap();
        }
        let stats = app.get("/api/orders/stats/").await;
        assert_eq!(
            (&stats.body["total_revenue"], &stats.body["avg_order_value"]),
            (&json!(revenue), &json!(average))
        );
    }
}

#[tokio::test]
async fn pages_and_cursors_of_every_filter_list_newest_orders_first() {
    let app = TestApp::start().await;
    app.store("Main").await;
    app.store("North").await;
    sqlx::query(
        "insert into orders (store_id, status)
         select 1 + n % 2, (array['CONFIRMED', 'CONFIRMED', 'REJECTED', 'PENDING', 'CONFIRMED'])[1 + n % 5]
         from generate_series(1, 230) n",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    for (filter, condition) in [
        ("", "true"),
        ("store_id=1", "store_id = 1"),
        ("status=confirmed", "status = 'CONFIRMED'"),
        ("status=pending", "status = 'PENDING'"),
        (
            "store_id=2&status=rejected",
            "store_id = 2 and status = 'REJECTED'",
        ),
    ] {
        let sql = format!("select id from orders where {condition} order by id desc");
        let expected: Vec<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_all(&app.pool)
            .await
            .unwrap();
        let mut paged = Vec::new();
        for page in 1..=expected.len().div_ceil(20) {
            let answer = app.get(&format!("{LIST}?{filter}&page={page}")).await;
            assert_eq!(answer.body["count"], expected.len(), "{filter}");
            paged.extend(answer.column("id"));
        }
        assert_eq!(json!(paged), json!(expected), "{filter}");
        let walked = walk(&app, &format!("{LIST}?{filter}")).await;
        assert_eq!(json!(column(&walked, "id")), json!(expected), "{filter}");
    }
}

#[tokio::test]
async fn order_keeps_the_product_titles_at_order() {
    let app = TestApp::start().await;
    let desk = Desk::of(&app, "viewer", None).await;
    let (store, other) = (app.store("Main").await, app.store("North").await);
    let (lamp, chair) = (
        app.product("Lamp", "10.00").await,
        app.product("Chair", "5.00").await,
    );
    for product in [lamp, chair] {
        app.stock(store, product, 10).await;
    }
    let path = format!("/api/products/{lamp}/");
    let mut orders = Vec::new();
    for title in ["Lamp", "Lamp II", "Lamp III"] {
        app.patch(&path, &json!({ "title": title })).await;
        app.patch(&path, &json!({ "title": title, "description": "as before" }))
            .await;
        let placed = app.order(store, &[(chair, 1), (lamp, 1)]).await;
        assert_eq!(placed.body["items"][1]["title_at_order"], title);
        orders.push((placed.created(), title));
    }
    let rejected = app.order(other, &[(lamp, 1)]).await;
    assert_eq!(rejected.status, 200);
    // The name changes without Afforo, directly in the database.
    sqlx::query("update product set title = 'Light' where id = $1")
        .bind(lamp)
        .execute(&app.pool)
        .await
        .unwrap();
    for (order, title) in orders {
        let items = app.get(&format!("/api/orders/{order}/")).await.body["items"].clone();
        assert_eq!(
            (&items[1]["product"]["title"], &items[1]["title_at_order"]),
            (&json!("Light"), &json!(title))
        );
        assert_eq!(
            (&items[0]["product"]["title"], &items[0]["title_at_order"]),
            (&json!("Chair"), &json!("Chair"))
        );
        let page = text_of(&desk.html(&format!("/admin/orders/{order}/")).await);
        assert!(page.contains(&format!("{title} now Light ")), "{page}");
        assert!(!page.contains("now Chair"), "{page}");
    }
    let id = rejected.body["id"].as_i64().unwrap();
    let page = text_of(&desk.html(&format!("/admin/orders/{id}/")).await);
    assert!(page.contains("Lamp III") && !page.contains("Light"), "{page}");

    let kept = "select count(*) from product_title";
    assert_eq!(
        sqlx::query_scalar::<_, i64>(kept)
            .fetch_one(&app.pool)
            .await
            .unwrap(),
        3
    );
    let unsold = app.product("Rug", "1").await;
    let path = format!("/api/products/{unsold}/");
    app.patch(&path, &json!({ "title": "Carpet" })).await;
    assert_eq!(app.delete(&path).await.status, 204);
    assert_eq!(
        sqlx::query_scalar::<_, i64>(kept)
            .fetch_one(&app.pool)
            .await
            .unwrap(),
        3
    );
}
