//! SKU and barcodes of products.

use afforo::{
    auth::{Scope, Stores},
    config::ApiAuth,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    auth::guarded,
    support::app::{TestApp, send},
};

const LIST: &str = "/api/products/";
const LAMP: &str = "/api/products/1/";

/// A lamp in a store and a chair that the store does not stock.
async fn shop() -> TestApp {
    let app = TestApp::start().await;
    let (store, lamp) = (app.store("Main").await, app.product("Lamp", "10.00").await);
    app.stock(store, lamp, 10).await;
    app.product("Chair", "75.00").await;
    app
}

#[tokio::test]
async fn codes_and_unit_are_written_replaced_and_removed() {
    let app = shop().await;
    let codes = json!({ "sku": " LAMP-1 ", "unit": "pc", "barcodes": [{ "code": "8712" }, { "code": "18712", "pack": 12 }] });
    let written = app.patch(LAMP, &codes).await;
    assert_eq!(written.status, 200, "{}", written.text);
    let barcodes = json!([{ "code": "18712", "pack": 12 }, { "code": "8712", "pack": 1 }]);
    for answer in [written, app.get(LAMP).await] {
        assert_eq!(answer.body["sku"], "LAMP-1");
        assert_eq!(answer.body["unit"], "pc");
        assert_eq!(answer.body["barcodes"], barcodes);
    }
    let listed = app.get(LIST).await;
    assert_eq!(listed.column("sku"), [Value::Null, json!("LAMP-1")]);
    assert_eq!(listed.column("unit"), ["", "pc"]);
    assert!(listed.body["results"][1].get("barcodes").is_none());

    // What is left out stays.
    let kept = app.patch(LAMP, &json!({ "sku": "LAMP-2" })).await;
    assert_eq!(
        (&kept.body["sku"], &kept.body["barcodes"]),
        (&json!("LAMP-2"), &barcodes)
    );
    let swapped = app
        .patch(
            LAMP,
            &json!({ "sku": "8712", "barcodes": [{ "code": "LAMP-2" }] }),
        )
        .await;
    assert_eq!(swapped.body["sku"], "8712");
    let removed = app.patch(LAMP, &json!({ "sku": null, "barcodes": [] })).await;
    assert_eq!(
        (&removed.body["sku"], &removed.body["barcodes"]),
        (&Value::Null, &json!([]))
    );
}

#[tokio::test]
async fn invalid_codes_are_refused_by_field() {
    let app = shop().await;
    for (codes, errors) in [
        (
            json!({ "sku": " " }),
            json!({ "sku": ["This field may not be blank."] }),
        ),
        (
            json!({ "sku": "x".repeat(65) }),
            json!({ "sku": ["Ensure this field has no more than 64 characters."] }),
        ),
        (
            json!({ "sku": "café" }),
            json!({ "sku": ["Use printable ASCII characters only."] }),
        ),
        (
            json!({ "unit": "a very long unit ." }),
            json!({ "unit": ["Ensure this field has no more than 16 characters."] }),
        ),
        (
            json!({ "barcodes": [{ "pack": 0 }] }),
            json!({ "barcodes": [{
            "code": ["This field is required."], "pack": ["Ensure this value is greater than or equal to 1."],
        }] }),
        ),
        (
            json!({ "barcodes": null }),
            json!({ "barcodes": ["This field may not be null."] }),
        ),
        (
            json!({ "sku": "a", "barcodes": [{ "code": "a" }] }),
            json!({ "barcodes": ["Each code may appear once."] }),
        ),
    ] {
        app.patch(LAMP, &codes).await.is(400, errors);
    }
}

#[tokio::test]
async fn a_code_of_another_product_is_refused_by_name() {
    let app = shop().await;
    let codes = json!({ "sku": "LAMP", "barcodes": [{ "code": "8712" }] });
    assert_eq!(app.patch(LAMP, &codes).await.status, 200);
    app.patch("/api/products/2/", &json!({ "sku": "8712" }))
        .await
        .is(400, json!({ "sku": ["The code 8712 names another product."] }));
    app.patch(
        "/api/products/2/",
        &json!({ "barcodes": [{ "code": "1" }, { "code": "LAMP" }] }),
    )
    .await
    .is(
        400,
        json!({ "barcodes": ["The code LAMP names another product."] }),
    );
    let new = json!({ "title": "Desk", "price": 1, "category_id": 1, "sku": "LAMP" });
    app.post(LIST, &new)
        .await
        .is(400, json!({ "sku": ["The code LAMP names another product."] }));
    assert_eq!(app.get(LIST).await.body["count"], 2);
    assert_eq!(app.get("/api/products/2/").await.body["barcodes"], json!([]));
    app.delete(LAMP).await.is_text(204, "");
    assert_eq!(app.post(LIST, &new).await.status, 201, "the code is free");
}

#[tokio::test]
async fn one_of_many_concurrent_products_gets_a_code() {
    let app = std::sync::Arc::new(shop().await);
    let mut requests = JoinSet::new();
    for number in 0..16 {
        let app = app.clone();
        // Both directions, so that unsorted writes would deadlock.
        let barcodes = if number % 2 == 0 { ["a", "b"] } else { ["b", "a"] };
        let barcodes = barcodes.map(|code| json!({ "code": code }));
        let new =
            json!({ "title": format!("Lamp {number}"), "price": 1, "category_id": 1, "barcodes": barcodes });
        requests.spawn(async move { app.post(LIST, &new).await.status.as_u16() });
    }
    let mut statuses = requests.join_all().await;
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert!(statuses[1..].iter().all(|status| *status == 400), "{statuses:?}");
}

#[tokio::test]
async fn lookup_finds_the_product_and_its_stock() {
    let app = shop().await;
    let codes = json!({ "sku": "LAMP", "barcodes": [{ "code": "18712", "pack": 12 }] });
    let lamp = app.patch(LAMP, &codes).await.body;
    let path = "/api/products/lookup/";
    app.get(&format!("{path}?code=LAMP")).await.is(
        200,
        json!({ "product": lamp, "pack": 1, "matched": "sku", "inventory": null }),
    );
    let stock = app.get("/api/inventory/1/").await.body;
    app.get(&format!("{path}?code=18712&store_id=1")).await.is(
        200,
        json!({ "product": lamp, "pack": 12, "matched": "barcode", "inventory": stock }),
    );
    assert_eq!(
        app.get(&format!("{path}?code=LAMP&store_id=9")).await.body["inventory"],
        Value::Null
    );
    app.get(&format!("{path}?code=lamp"))
        .await
        .is(404, json!({ "detail": "No Product matches the given query." }));
    app.get(&format!("{path}?code=+"))
        .await
        .is(400, json!({ "code": ["This field is required."] }));

    let guarded = app.beside_with(guarded(ApiAuth::All)).await;
    let key = guarded.key(&[Scope::CatalogRead], Stores::All).await;
    let ask = |query: &str| {
        send(
            guarded
                .request(Method::GET, &format!("{path}?code=LAMP{query}"))
                .bearer_auth(&key),
        )
    };
    assert_eq!(ask("").await.status, 200);
    let refused = ask("&store_id=1").await;
    assert_eq!(refused.status, 403);
    assert!(refused.text.contains("inventory:read"), "{}", refused.text);
    let bound = guarded
        .key(
            &[Scope::CatalogRead, Scope::InventoryRead],
            Stores::Only([9].into()),
        )
        .await;
    let request = guarded.request(Method::GET, &format!("{path}?code=LAMP&store_id=1"));
    assert_eq!(
        send(request.bearer_auth(bound)).await.body["inventory"],
        Value::Null
    );
}

#[tokio::test]
async fn adjustments_name_products_by_sku() {
    let app = shop().await;
    assert_eq!(app.patch(LAMP, &json!({ "sku": "LAMP" })).await.status, 200);
    let adjust = async |items: Value| {
        let body = json!({ "reason_code": "FOUND", "adjustments": items });
        app.post("/api/inventory/adjustments/", &body).await
    };
    let item = json!({ "store_id": 1, "sku": "LAMP", "delta": 2 });
    assert_eq!(
        adjust(json!([item])).await.body["results"][0]["quantity_after"],
        12
    );
    adjust(json!([item, { "store_id": 1, "sku": "DESK", "delta": 2 }]))
        .await
        .is(
            400,
            json!({ "adjustments": [{}, { "sku": ["No product has this SKU."] }] }),
        );
    let both = json!({ "store_id": 1, "product_id": 1, "sku": "LAMP", "delta": 2 });
    assert_eq!(adjust(json!([both])).await.status, 400);
    assert_eq!(app.quantity(1).await, 12);
}
