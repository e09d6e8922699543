//! Items that name their product by SKU, and items with a price of their own.

use afforo::{
    auth::{Scope, Stores},
    config::ApiAuth,
    http::AdmissionLimits,
    server::Limits,
};
use futures::future::join;
use reqwest::Method;
use serde_json::{Value, json};

use super::{ORDERS, fill, lamp, shop};
use crate::{
    auth::guarded,
    support::{
        app::{TestApp, patient, production, send},
        locks::waiting_for_locks,
        program::eventually,
    },
};

fn items(items: Value) -> Value {
    let mut order = json!({ "store_id": 1 });
    order["items"] = items;
    order
}

#[tokio::test]
async fn an_item_names_its_product_by_sku() {
    let app = shop().await;
    let placed = app
        .post(
            ORDERS,
            &items(json!([{ "sku": " LAMP ", "product_id": null, "quantity": 2 }])),
        )
        .await;
    placed.created();
    assert_eq!(placed.body["items"][0]["product"]["id"], 1);
    let body = items(json!([{ "sku": "LAMP", "quantity": 2 }]));
    let dry = app.post("/api/orders/?dry_run=true", &body).await;
    assert_eq!(dry.body["items"][0]["product"]["id"], 1, "{}", dry.text);
    // A null SKU names nothing.
    let by_id = items(json!([{ "product_id": 1, "sku": null, "quantity": 1 }]));
    app.post(ORDERS, &by_id).await.created();
    assert_eq!(app.quantity(1).await, 97);
}

#[tokio::test]
async fn an_item_names_exactly_one_product_and_each_product_once() {
    let app = shop().await;
    let good = json!({ "product_id": 2, "quantity": 1 });
    for (item, errors) in [
        (
            json!({ "sku": "NONE", "quantity": 1 }),
            json!({ "sku": ["No product has this SKU."] }),
        ),
        (
            json!({ "quantity": 0 }),
            json!({ "product_id": ["This field is required."], "quantity": ["Ensure this value is greater than or equal to 1."] }),
        ),
        (
            json!({ "product_id": null, "quantity": 1 }),
            json!({ "product_id": ["This field may not be null."] }),
        ),
        (
            json!({ "product_id": 1, "sku": "LAMP", "quantity": 1 }),
            json!({ "sku": ["Send either product_id or sku."] }),
        ),
        (
            json!({ "sku": "Lämp", "quantity": 1 }),
            json!({ "sku": ["Use printable ASCII characters only."] }),
        ),
        (
            json!({ "product_id": "x", "quantity": 1 }),
            json!({ "product_id": ["A valid integer is required."] }),
        ),
    ] {
        app.post(ORDERS, &items(json!([good, item])))
            .await
            .is(400, json!({ "items": [{}, errors] }));
    }
    let twice = json!({ "items": ["Duplicate products in order items"] });
    let by_both = json!([{ "product_id": 1, "quantity": 1 }, { "sku": "LAMP", "quantity": 1 }]);
    app.post(ORDERS, &items(by_both)).await.is(400, twice.clone());
    let by_sku = json!([{ "sku": "LAMP", "quantity": 1 }, { "sku": "LAMP", "quantity": 1 }]);
    app.post(ORDERS, &items(by_sku)).await.is(400, twice);
    assert_eq!(app.quantity(1).await, 100);
}

/// Places an order of two lamps at a price with a key.
async fn at_price(app: &TestApp, key: &str, price: &str) -> crate::support::app::Answer {
    let order =
        items(json!([{ "product_id": 1, "quantity": 2, "price_override": price, "unit_price": "1.00" }]));
    send(app.request(Method::POST, ORDERS).bearer_auth(key).json(&order)).await
}

#[tokio::test]
async fn a_price_override_needs_its_scope_and_sets_the_unit_price() {
    let open = shop().await;
    let app = open.beside_with(guarded(ApiAuth::All)).await;
    let writer = app.key(&[Scope::OrdersWrite], Stores::All).await;
    let refused = at_price(&app, &writer, "7.50").await;
    refused.is(
        403,
        json!({ "detail": "This needs the scope orders:price, which you were not granted." }),
    );
    let pricing = app
        .key(&[Scope::OrdersWrite, Scope::OrdersPrice], Stores::All)
        .await;
    at_price(&app, &pricing, "0.001").await.is(
        400,
        json!({ "items": [{ "price_override": ["Ensure that there are no more than 2 decimal places."] }] }),
    );
    let placed = at_price(&app, &pricing, "7.50").await;
    placed.created();
    let item = &placed.body["items"][0];
    assert_eq!(placed.body["total_amount"], "15.00");
    assert_eq!(
        (&item["unit_price"], &item["subtotal"], &item["product"]["price"]),
        (&json!("7.50"), &json!("15.00"), &json!("10.00"))
    );
    // While the API is open, no client may set prices. `unit_price` is ignored as before.
    assert_eq!(at_price(&open, "none", "7.50").await.status, 403);
    let plain = lamp(json!({ "items": [{ "product_id": 1, "quantity": 1, "unit_price": "1.00" }] }));
    assert_eq!(open.post(ORDERS, &plain).await.body["total_amount"], "10.00");
    assert_eq!(open.unbalanced().await, []);
}

#[tokio::test]
async fn an_order_by_sku_counts_for_the_pool_while_it_is_looked_up() {
    let limits = Limits {
        admission: AdmissionLimits {
            pooled: 1,
            ..AdmissionLimits::default()
        },
        ..patient()
    };
    let app = fill(TestApp::start_within(production(), limits).await).await;
    let mut held = app.pool.begin().await.unwrap();
    sqlx::query("lock table product_code in access exclusive mode")
        .execute(&mut *held)
        .await
        .unwrap();
    let by_sku = items(json!([{ "sku": "LAMP", "quantity": 1 }]));
    let meanwhile = async {
        eventually("the look-up waits", async || {
            waiting_for_locks(&app.pool).await > 0
        })
        .await;
        assert_eq!(app.post(ORDERS, &by_sku).await.status, 503);
        assert_eq!(app.get(ORDERS).await.status, 503);
        app.post(ORDERS, &lamp(json!({}))).await.created();
        held.rollback().await.unwrap();
    };
    let (placed, ()) = join(app.post(ORDERS, &by_sku), meanwhile).await;
    placed.created();
    app.post(ORDERS, &by_sku).await.created();
}
