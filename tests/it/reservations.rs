//! Reservations: made, taken by orders, extended, released.

mod expiry;
mod refused;

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{
    app::{Answer, TestApp, order, send},
    books::no_deadlocks,
};

/// A store with ten lamps at 10.00 and ten chairs at 5.00. The ids of all records are 1 and 2.
async fn shop() -> TestApp {
    let app = TestApp::start().await;
    let store = app.store("Main").await;
    for (title, price) in [("Lamp", "10.00"), ("Chair", "5.00")] {
        let product = app.product(title, price).await;
        app.stock(store, product, 10).await;
    }
    app
}

fn units(items: &[(i64, i64)]) -> Value {
    order(1, items)["items"].clone()
}

async fn reserve(app: &TestApp, items: &[(i64, i64)]) -> i64 {
    let body = json!({ "store_id": 1, "items": units(items) });
    app.post("/api/reservations/", &body).await.created()
}

async fn act(app: &TestApp, id: i64, action: &str, body: Value) -> Answer {
    app.post(&format!("/api/reservations/{id}/{action}/"), &body)
        .await
}

async fn take(app: &TestApp, id: i64, body: Value) -> Answer {
    let mut order = json!({ "reservation_id": id });
    order
        .as_object_mut()
        .unwrap()
        .extend(body.as_object().unwrap().clone());
    app.post("/api/orders/", &order).await
}

async fn reservation(app: &TestApp, id: i64) -> Value {
    app.get(&format!("/api/reservations/{id}/")).await.body
}

/// `quantity`, `reserved` and `available` of the lamps.
async fn lamps(app: &TestApp) -> [i64; 3] {
    let row = app.get("/api/inventory/1/").await.body;
    ["quantity", "reserved", "available"].map(|name| row[name].as_i64().unwrap())
}

/// Moves the time at which a reservation expires.
async fn expire(app: &TestApp, id: i64) {
    let expire = "with expired as (update reservation set expires_at = now() where id = $1)
        update reservation_item set expires_at = now() where reservation_id = $1";
    sqlx::query(expire).bind(id).execute(&app.pool).await.unwrap();
}

#[tokio::test]
async fn reserved_units_are_sold_only_to_the_order_that_names_the_reservation() {
    let app = shop().await;
    let body = json!({ "store_id": 1, "items": units(&[(1, 6), (2, 1)]), "ttl_seconds": 60, "reference": "cart-7",
        "metadata": { "channel": "web" } });
    let made = app.post("/api/reservations/", &body).await;
    made.created();
    let items = json!([{ "product_id": 1, "quantity": 6, "reserved": 6 }, { "product_id": 2, "quantity": 1, "reserved": 1 }]);
    assert_eq!(made.body["items"], items);
    assert_eq!(made.body["status"], "ACTIVE");
    assert_eq!(
        (&made.body["reference"], &made.body["metadata"]),
        (&json!("cart-7"), &json!({ "channel": "web" }))
    );
    assert_eq!(made.body, reservation(&app, 1).await);
    assert_eq!(lamps(&app).await, [10, 6, 4]);

    let other = app.order(1, &[(1, 5)]).await;
    assert_eq!(
        other.body["rejection_reason"],
        "Insufficient stock: Lamp: requested 5, available 4"
    );
    app.order(1, &[(1, 4)]).await.created();
    assert_eq!(lamps(&app).await, [6, 6, 0]);

    let sold = take(&app, 1, json!({})).await;
    let id = sold.created();
    assert_eq!(sold.body["total_amount"], "65.00");
    assert_eq!(lamps(&app).await, [0, 0, 0]);
    let ended = reservation(&app, 1).await;
    assert_eq!(
        (&ended["status"], &ended["order_id"]),
        (&json!("CONSUMED"), &json!(id))
    );
    assert_eq!(
        ended["items"][0],
        json!({ "product_id": 1, "quantity": 6, "reserved": 0 })
    );
    take(&app, 1, json!({})).await.is(
        409,
        json!({ "detail": "The reservation is CONSUMED.", "code": "reservation_ended", "status": "CONSUMED", "order_id": id }),
    );
    let returned = json!({ "reservation_id": 1, "external_reference": "WEB-1" });
    let repeated = app.post("/api/orders/?on_duplicate=return", &returned).await;
    assert_eq!(
        repeated.body["code"], "reservation_ended",
        "no order has the reference"
    );
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_reservation_reserves_all_items_or_nothing() {
    let app = shop().await;
    let body = json!({ "store_id": 1, "items": units(&[(1, 11), (2, 1)]) });
    app.post("/api/reservations/", &body).await.is(
        409,
        json!({
            "detail": "Insufficient stock: Lamp: requested 11, available 10", "code": "insufficient_stock",
            "rejections": [{ "product_id": 1, "code": "insufficient_stock", "requested": 11, "available": 10 }],
        }),
    );
    let unknown = json!({ "store_id": 1, "items": units(&[(9, 1)]) });
    let refused = app.post("/api/reservations/", &unknown).await;
    assert_eq!(
        (refused.status.as_u16(), &refused.body["code"]),
        (409, &json!("product_not_found"))
    );
    assert_eq!(lamps(&app).await, [10, 0, 10]);
    assert_eq!(app.get("/api/reservations/").await.body["results"], json!([]));
}

#[tokio::test]
async fn what_an_order_leaves_is_released_unless_it_is_kept() {
    let app = shop().await;
    let (released, kept) = (
        reserve(&app, &[(1, 3), (2, 2)]).await,
        reserve(&app, &[(1, 3), (2, 2)]).await,
    );
    take(&app, released, json!({ "items": units(&[(1, 1)]) }))
        .await
        .created();
    assert_eq!(reservation(&app, released).await["status"], "CONSUMED");
    take(
        &app,
        kept,
        json!({ "store_id": 1, "items": units(&[(1, 1)]), "keep_rest": true }),
    )
    .await
    .created();
    let rest = reservation(&app, kept).await;
    assert_eq!(rest["status"], "ACTIVE");
    assert_eq!(rest["items"][0]["reserved"], 2);
    assert_eq!(rest["items"][1]["reserved"], 2);
    assert_eq!(lamps(&app).await, [8, 2, 6]);
    // More than is reserved, as far as it is available.
    let last = take(&app, kept, json!({ "items": units(&[(1, 8)]) })).await;
    last.created();
    assert_eq!(reservation(&app, kept).await["order_id"], last.body["id"]);
    assert_eq!(lamps(&app).await, [0, 0, 0]);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_rejected_order_leaves_its_reservation_active() {
    let app = shop().await;
    let id = reserve(&app, &[(1, 3)]).await;
    let rejected = take(&app, id, json!({ "items": units(&[(1, 3), (2, 11)]) })).await;
    assert_eq!(
        (rejected.status.as_u16(), &rejected.body["status"]),
        (200, &json!("REJECTED"))
    );
    let reservation = reservation(&app, id).await;
    assert_eq!(
        (&reservation["status"], &reservation["order_id"]),
        (&json!("ACTIVE"), &json!(null))
    );
    assert_eq!(lamps(&app).await, [10, 3, 7]);
}

#[tokio::test]
async fn a_reservation_is_extended_and_shortened() {
    let app = shop().await;
    let id = reserve(&app, &[(1, 3)]).await;
    let expires = async || {
        sqlx::query_scalar::<_, f64>("select extract(epoch from expires_at - now())::float8 from reservation")
            .fetch_one(&app.pool)
            .await
            .unwrap()
    };
    act(&app, id, "extend", json!({ "ttl_seconds": 86400 })).await;
    assert!(expires().await > 80_000.0);
    let unchanged = act(&app, id, "extend", json!({ "ttl_seconds": 60 })).await;
    assert_eq!(unchanged.status, 200);
    assert!(expires().await > 80_000.0);
    act(&app, id, "extend", json!({ "ttl_seconds": 60, "shorten": true })).await;
    assert!(expires().await <= 60.0);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn units_are_released_in_parts_and_at_last() {
    let app = shop().await;
    let id = reserve(&app, &[(1, 3), (2, 2)]).await;
    let part = act(&app, id, "release", json!({ "items": units(&[(1, 2)]) })).await;
    assert_eq!(
        part.body["items"][0],
        json!({ "product_id": 1, "quantity": 3, "reserved": 1 })
    );
    assert_eq!(lamps(&app).await, [10, 1, 9]);
    act(&app, id, "release", json!({ "items": units(&[(1, 2), (2, 1)]) })).await.is(
        409,
        json!({ "detail": "Fewer units are reserved.", "code": "exceeds_quantity", "items": [{ "product_id": 1, "left": 1 }] }),
    );
    let all = act(&app, id, "release", json!({ "items": null })).await;
    assert_eq!(
        (&all.body["status"], &all.body["stock_lost"]),
        (&json!("RELEASED"), &json!(false))
    );
    assert_eq!(lamps(&app).await, [10, 0, 10]);
    let again = act(&app, id, "release", json!({})).await;
    assert_eq!(
        (again.status.as_u16(), &again.body["code"]),
        (409, &json!("reservation_ended"))
    );
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_repeated_request_takes_effect_once() {
    let app = shop().await;
    let keyed = async |path: &str, key: &str, body: Value| {
        send(
            app.request(Method::POST, path)
                .header("idempotency-key", key)
                .json(&body),
        )
        .await
    };
    let body = json!({ "store_id": 1, "items": units(&[(1, 3)]) });
    let (first, second) = (
        keyed("/api/reservations/", "a", body.clone()).await,
        keyed("/api/reservations/", "a", body).await,
    );
    assert_eq!((first.created(), &first.text), (second.created(), &second.text));
    assert_eq!(lamps(&app).await, [10, 3, 7]);
    let body = json!({ "reservation_id": 1 });
    let (first, second) = (
        keyed("/api/orders/", "b", body.clone()).await,
        keyed("/api/orders/", "b", body.clone()).await,
    );
    assert_eq!((first.created(), &first.text), (second.created(), &second.text));
    let other = keyed("/api/orders/", "c", body).await;
    assert_eq!(
        (other.status.as_u16(), &other.body["order_id"]),
        (409, &first.body["id"])
    );
    assert_eq!(lamps(&app).await, [7, 0, 7]);
}

/// Each reservation ends once, whoever is first: an order, its owner, its time, or a count.
#[tokio::test]
async fn each_reservation_ends_once() {
    let app = Arc::new(shop().await);
    app.patch("/api/inventory/1/", &json!({ "quantity": 400 })).await;
    for round in 0..12 {
        let id = reserve(&app, &[(1, 20), (2, 1)]).await;
        let mut racing = JoinSet::new();
        for number in 0..8 {
            let app = app.clone();
            racing.spawn(async move {
                let done = match number % 4 {
                    0 => take(&app, id, json!({})).await,
                    1 => act(&app, id, "release", json!({})).await,
                    2 => act(&app, id, "extend", json!({ "ttl_seconds": 600 })).await,
                    _ => {
                        if round % 2 == 0 {
                            expire(&app, id).await;
                        }
                        app.order(1, &[(1, 1)]).await
                    }
                };
                assert!(done.status.is_success() || done.status == 409, "{}", done.text);
                done.status.is_success() && number % 4 < 2
            });
        }
        let ended: Vec<bool> = racing
            .join_all()
            .await
            .into_iter()
            .filter(|ended| *ended)
            .collect();
        let status = reservation(&app, id).await["status"].clone();
        assert!(ended.len() <= 1, "{status}");
        assert_eq!(
            ended.len() == 1,
            status == "CONSUMED" || status == "RELEASED",
            "{status}"
        );
        assert_ne!(status, "ACTIVE");
    }
    assert_eq!(app.unbalanced().await, []);
    let left = app.get("/api/inventory/2/").await.body;
    assert_eq!(
        left["reserved"], 0,
        "units of ended reservations are sold or available"
    );
    no_deadlocks(&app.database_url).await;
}
