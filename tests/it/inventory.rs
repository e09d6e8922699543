//! `/api/inventory/`

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::TestApp;

const LIST: &str = "/api/inventory/";
const TAKEN: &str = r#"{"non_field_errors":["The fields store_id, product_id must make a unique set."]}"#;

#[tokio::test]
async fn stock_is_created_read_changed_and_deleted() {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main").await, app.product("Lamp", "4.5").await);
    let created = app
        .post(
            LIST,
            &json!({ "store_id": store, "product_id": product.to_string(), "is_low_stock": false }),
        )
        .await;
    assert_eq!(created.status, 201);
    assert_eq!(
        created.untimed(),
        r#"{"id":1,"store":{"id":1,"name":"Main","location":"Main Street 1"},"product":{"id":1,"title":"Lamp","price":"4.50"},"quantity":0,"reserved":0,"available":0,"committed":0,"on_hand":0,"incoming":0,"low_stock_threshold":10,"is_low_stock":true,"is_out_of_stock":true,"counted_at":null,"created_at":"…","updated_at":"…"}"#
    );
    app.get("/api/inventory/1/").await.is_text(200, &created.text);

    let pair = json!({ "store_id": store, "product_id": product });
    let put = app
        .put(
            "/api/inventory/1/",
            &json!({ "store_id": 1, "product_id": 1, "quantity": "11", "low_stock_threshold": 5.0 }),
        )
        .await;
    assert_eq!(
        put.untimed(),
        r#"{"id":1,"store":{"id":1,"name":"Main","location":"Main Street 1"},"product":{"id":1,"title":"Lamp","price":"4.50"},"quantity":11,"reserved":0,"available":11,"committed":0,"on_hand":11,"incoming":0,"low_stock_threshold":5,"is_low_stock":false,"is_out_of_stock":false,"counted_at":"…","created_at":"…","updated_at":"…"}"#
    );
    let kept = app.put("/api/inventory/1/", &pair).await;
    assert_eq!(
        (&kept.body["quantity"], &kept.body["low_stock_threshold"]),
        (&json!(11), &json!(5))
    );
    let patched = app.patch("/api/inventory/1/", &json!({ "quantity": 5 })).await;
    assert_eq!(patched.body["is_low_stock"], true, "at the threshold");
    assert!(patched.body["updated_at"].as_str() > kept.body["updated_at"].as_str());
    let empty = app.patch("/api/inventory/1/", &json!({})).await;
    assert!(empty.body["updated_at"].as_str() > patched.body["updated_at"].as_str());
    assert!(app.unbalanced().await.is_empty());

    app.delete("/api/inventory/1/").await.is_text(204, "");
    app.get("/api/inventory/1/")
        .await
        .is_text(404, r#"{"detail":"No Inventory matches the given query."}"#);
}

#[tokio::test]
async fn list_rows_are_flat_and_sorted_by_store_and_title() {
    let app = TestApp::start().await;
    let category = app.category("Lights").await;
    let (south, north) = (app.store("South").await, app.store("North").await);
    let (rug, lamp) = (
        app.product_in(category, "Rug", "4.5").await,
        app.product_in(category, "Lamp", "4.5").await,
    );
    for (store, product, quantity) in [
        (south, rug, 11),
        (south, lamp, 10),
        (north, rug, 0),
        (north, lamp, 99),
    ] {
        app.stock(store, product, quantity).await;
    }
    let list = app.get(LIST).await;
    assert_eq!(list.column("id"), [4, 3, 2, 1]);
    assert_eq!(list.column("is_low_stock"), [false, true, true, false]);
    assert!(
        list.untimed().starts_with(
            r#"{"count":4,"next":null,"previous":null,"results":[{"id":4,"store_name":"North","store_location":"Main Street 1","product_title":"Lamp","product_price":"4.50","category_name":"Lights","quantity":99,"is_low_stock":false,"updated_at":"…","incoming":0,"counted_at":"…"},"#
        ),
        "{}",
        list.text
    );
    let none: &[i64] = &[];
    let cases: &[(&str, &[i64])] = &[
        ("store_id=1", &[2, 1]),
        ("product_id=1", &[3, 1]),
        ("store_id=%2B02&product_id=%201", &[3]),
        ("store_id=2&store_id=1", &[2, 1]),
        ("store_id=&product_id=", &[4, 3, 2, 1]),
        ("low_stock=true", &[3, 2]),
        ("low_stock=TrUe&store_id=2", &[3]),
        ("low_stock=1", &[4, 3, 2, 1]),
        ("low_stock=+true", &[4, 3, 2, 1]),
        ("low_stock=false", &[4, 3, 2, 1]),
        ("low_stock=%00", &[4, 3, 2, 1]),
        ("store_id=9", none),
        ("store_id=0", none),
        ("product_id=-1", none),
        ("product_id=9223372036854775808", none),
    ];
    for (query, ids) in cases {
        let list = app.get(&format!("{LIST}?{query}")).await;
        assert_eq!(
            (list.status.as_u16(), json!(list.column("id"))),
            (200, json!(ids)),
            "{query}"
        );
    }
    for name in ["store_id", "product_id"] {
        for id in ["abc", "1.0", "%00", "%20"] {
            app.get(&format!("{LIST}?{name}={id}"))
                .await
                .is_text(400, &format!(r#"{{"{name}":["A valid integer is required."]}}"#));
        }
    }
}

#[tokio::test]
async fn inactive_stores_and_products_can_be_stocked() {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main").await, app.product("Lamp", "1").await);
    app.patch(&format!("/api/stores/{store}/"), &json!({ "is_active": false }))
        .await;
    app.patch(
        &format!("/api/products/{product}/"),
        &json!({ "is_active": false }),
    )
    .await;
    app.stock(store, product, 3).await;
    assert_eq!(app.get(LIST).await.body["count"], 1);
}

#[tokio::test]
async fn invalid_stock_fields_are_reported_in_field_order() {
    let app = TestApp::start().await;
    let required = r#"{"store_id":["This field is required."],"product_id":["This field is required."]}"#;
    app.post(LIST, &json!({})).await.is_text(400, required);
    let (store, product) = (app.store("Main").await, app.product("Lamp", "1").await);
    let path = format!("{LIST}{}/", app.stock(store, product, 5).await);
    app.put(&path, &json!({ "quantity": 5 }))
        .await
        .is_text(400, required);
    app.post_text(LIST, r#"{"low_stock_threshold":null,"quantity":-1,"product_id":"x","store_id":99}"#)
        .await
        .is_text(
            400,
            r#"{"store_id":["Invalid pk \"99\" - object does not exist."],"product_id":["Incorrect type. Expected pk value, received str."],"quantity":["Ensure this value is greater than or equal to 0."],"low_stock_threshold":["This field may not be null."]}"#,
        );

    let (number, least, most) = (
        "A valid integer is required.",
        "Ensure this value is greater than or equal to 0.",
        "Ensure this value is less than or equal to 2147483647.",
    );
    let huge = "9".repeat(4000);
    let long = format!("\"{}\"", "1".repeat(1001));
    let cases = [
        ("1.5", number),
        (r#""5e0""#, number),
        (r#""1.5""#, number),
        (r#""""#, number),
        (r#"" ""#, number),
        (r#""abc""#, number),
        ("true", number),
        ("[5]", number),
        ("{}", number),
        ("1e300", number),
        ("1e16", number),
        ("-1", least),
        (r#""-1.0""#, least),
        ("2147483648", most),
        ("1e15", most),
        (&huge, most),
        (&long, "String value too large."),
        ("null", "This field may not be null."),
    ];
    for field in ["quantity", "low_stock_threshold"] {
        for (value, message) in cases {
            let answer = app
                .send_text(Method::PATCH, &path, format!(r#"{{"{field}":{value}}}"#))
                .await;
            answer.is_text(400, &format!(r#"{{"{field}":["{message}"]}}"#));
        }
    }
    assert_eq!(app.get(&path).await.body["quantity"], 5);
}

#[tokio::test]
async fn quantity_accepts_every_spelling_of_an_integer() {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main").await, app.product("Lamp", "1").await);
    let path = format!("{LIST}{}/", app.stock(store, product, 5).await);
    for (value, kept) in [
        ("7", 7),
        ("1.0", 1),
        ("1e3", 1000),
        ("-0", 0),
        ("-0.0", 0),
        (r#""5""#, 5),
        (r#""\t5 ""#, 5),
        (r#""+5""#, 5),
        (r#""0005""#, 5),
        (r#""1.0""#, 1),
        (r#""1.""#, 1),
        ("2147483647", 2_147_483_647),
    ] {
        for field in ["quantity", "low_stock_threshold"] {
            let answer = app
                .send_text(Method::PATCH, &path, format!(r#"{{"{field}":{value}}}"#))
                .await;
            assert_eq!(
                (answer.status.as_u16(), &answer.body[field]),
                (200, &Value::from(kept)),
                "{field}: {value}"
            );
        }
    }
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn store_and_product_pair_is_unique() {
    let app = TestApp::start().await;
    let (store, other) = (app.store("Main").await, app.store("North").await);
    let (lamp, rug) = (app.product("Lamp", "1").await, app.product("Rug", "1").await);
    let first = app.stock(store, lamp, 5).await;
    let second = format!("{LIST}{}/", app.stock(store, rug, 5).await);
    let pair = json!({ "store_id": store, "product_id": lamp, "quantity": 9 });
    app.post(LIST, &pair).await.is_text(400, TAKEN);
    app.put(&second, &pair).await.is_text(400, TAKEN);
    app.patch(&second, &json!({ "product_id": lamp }))
        .await
        .is_text(400, TAKEN);
    app.post(
        LIST,
        &json!({ "store_id": store, "product_id": lamp, "quantity": "x" }),
    )
    .await
    .is_text(400, r#"{"quantity":["A valid integer is required."]}"#);
    assert_eq!(
        app.put(&format!("{LIST}{first}/"), &pair).await.status,
        200,
        "its own"
    );
    let moved = app
        .patch(&second, &json!({ "store_id": other, "product_id": lamp }))
        .await;
    assert_eq!(
        (&moved.body["store"]["id"], &moved.body["product"]["id"]),
        (&json!(other), &json!(lamp))
    );
    assert_eq!(
        (app.quantity(first).await, moved.body["quantity"].as_i64()),
        (9, Some(5))
    );
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn one_of_several_concurrent_creations_of_a_pair_succeeds() {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main").await, app.product("Lamp", "1").await);
    let body = json!({ "store_id": store, "product_id": product, "quantity": 3 });
    let answers = futures::future::join_all((0..12).map(|_| app.post(LIST, &body))).await;
    let (created, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!((created.len(), refused.len()), (1, 11));
    for answer in refused {
        answer.is_text(400, TAKEN);
    }
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn patching_the_threshold_keeps_the_quantity_of_concurrent_orders() {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main").await, app.product("Lamp", "1").await);
    let stock = app.stock(store, product, 20).await;
    let path = format!("{LIST}{stock}/");
    let orders = futures::future::join_all((0..15).map(async |_| app.order(store, &[(product, 1)]).await));
    let threshold = json!({ "low_stock_threshold": 3 });
    let patches = futures::future::join_all((0..15).map(|_| app.patch(&path, &threshold)));
    let (orders, patches) = tokio::join!(orders, patches);
    assert!(orders.iter().all(|order| order.status == 201));
    assert!(patches.iter().all(|patch| patch.status == 200));
    assert_eq!(app.quantity(stock).await, 5);
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn unknown_stock_is_404_before_the_body_is_parsed() {
    let app = TestApp::start().await;
    for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE] {
        app.send_text(method, "/api/inventory/5/", "[")
            .await
            .is_text(404, r#"{"detail":"No Inventory matches the given query."}"#);
    }
}
