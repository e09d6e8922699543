//! At most one order of a store has a reference, unless it was rejected.

use futures::future::{join, join_all};
use serde_json::{Value, json};

use super::{ORDERS, keyed, lamp, shop};
use crate::support::{
    app::{Answer, TestApp},
    locks::waiting_for_locks,
    program::eventually,
};

const RETURN: &str = "/api/orders/?on_duplicate=return";

fn named(reference: &str, quantity: i64) -> Value {
    lamp(json!({
        "external_reference": reference, "items": [{ "product_id": 1, "quantity": quantity }],
    }))
}

#[track_caller]
fn is_duplicate(answer: &Answer, order: i64) {
    answer.is(
        409,
        json!({
            "detail": format!("Order {order} of this store has this external_reference."),
            "code": "duplicate_reference", "order_id": order,
        }),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_64_concurrent_duplicates_is_placed() {
    let first = shop().await;
    let second = first.beside().await;
    for round in 0..3 {
        let order = named(&format!("WEB-{round}"), 1);
        let answers = join_all((0..64).map(async |number| {
            let app: &TestApp = if number % 2 == 0 { &first } else { &second };
            keyed(app, &format!("{round}-{number}"), ORDERS, &order).await
        }))
        .await;
        let (placed, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
        assert_eq!((placed.len(), refused.len()), (1, 63));
        let id = placed[0].created();
        for answer in refused {
            is_duplicate(answer, id);
        }
    }
    assert_eq!(first.quantity(1).await, 97);
    assert_eq!(first.unbalanced().await, []);
}

#[tokio::test]
async fn a_duplicate_names_or_returns_the_order_and_stores_nothing() {
    let app = shop().await;
    let id = keyed(&app, "a", ORDERS, &named("WEB-1", 1)).await.created();
    is_duplicate(&keyed(&app, "b", ORDERS, &named("WEB-1", 2)).await, id);
    is_duplicate(
        &app.post("/api/orders/?dry_run=true", &named("WEB-1", 1)).await,
        id,
    );
    let returned = app.post(RETURN, &named("WEB-1", 2)).await;
    returned.is(200, app.get(&format!("{ORDERS}{id}/")).await.body);
    let fresh = app.post(RETURN, &named("WEB-2", 1)).await;
    assert_eq!(fresh.status, 201, "{}", fresh.text);
    app.post("/api/orders/?on_duplicate=x", &named("WEB-3", 1))
        .await
        .is(400, json!({ "on_duplicate": ["\"x\" is not a valid choice."] }));
    // The key still has its own response.
    let again = keyed(&app, "a", ORDERS, &named("WEB-1", 1)).await;
    assert_eq!(
        (again.status.as_u16(), again.header("idempotent-replayed")),
        (201, "true")
    );
    assert_eq!(app.get(ORDERS).await.body["count"], 2);
    // Case counts, and another store has references of its own.
    app.post(ORDERS, &named("web-1", 1)).await.created();
    let other = app.store("Other").await;
    app.stock(other, 1, 5).await;
    let mut elsewhere = named("WEB-1", 1);
    elsewhere["store_id"] = json!(other);
    app.post(ORDERS, &elsewhere).await.created();
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_rejected_order_leaves_its_reference_to_the_next() {
    let app = shop().await;
    let rejected = app.post(ORDERS, &named("WEB-1", 101)).await;
    assert_eq!(
        (rejected.status.as_u16(), &rejected.body["external_reference"]),
        (200, &json!("WEB-1"))
    );
    let id = app.post(ORDERS, &named("WEB-1", 1)).await.created();
    is_duplicate(&app.post(ORDERS, &named("WEB-1", 101)).await, id);
    // Both are found.
    let found = app.get("/api/orders/?external_reference=WEB-1").await;
    assert_eq!(found.column("status"), ["CONFIRMED", "REJECTED"]);
    assert_eq!(app.unbalanced().await, []);
}

/// Orders that gather behind a lock are placed in one transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_of_one_batch_compete_for_a_reference_in_sequence() {
    let app = shop().await;
    for round in 0..5 {
        let mut held = app.pool.begin().await.unwrap();
        sqlx::query("select from inventory for update")
            .execute(&mut *held)
            .await
            .unwrap();
        let reference = format!("WEB-{round}");
        let (large, small) = (named(&reference, 1000), named(&reference, 1));
        let orders = [&large, &large, &small, &small, &large, &small];
        let placing = join_all(orders.map(|order| app.post(ORDERS, order)));
        let release = async {
            eventually("the orders wait", async || waiting_for_locks(&app.pool).await > 0).await;
            held.rollback().await.unwrap();
        };
        let (answers, ()) = join(placing, release).await;
        let placed: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
        assert_eq!(placed.len(), 1);
        for answer in &answers {
            match answer.status.as_u16() {
                200 | 201 => {}
                _ => is_duplicate(answer, placed[0].created()),
            }
        }
    }
    assert_eq!(app.quantity(1).await, 95);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn an_order_that_is_rejected_later_frees_its_reference() {
    let app = shop().await;
    sqlx::query(
        "insert into orders (store_id, status, created_at) values (1, 'PENDING', now() - interval '1 hour')",
    )
    .execute(&app.pool)
    .await
    .unwrap();
    let changed = app
        .patch("/api/orders/1/", &json!({ "external_reference": "WEB-1" }))
        .await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    is_duplicate(&app.post(ORDERS, &named("WEB-1", 1)).await, 1);
    assert_eq!(
        afforo::order::maintenance::reject_stuck(&app.pool).await.unwrap(),
        [1]
    );
    app.post(ORDERS, &named("WEB-1", 1)).await.created();
    assert_eq!(app.unbalanced().await, []);
}
