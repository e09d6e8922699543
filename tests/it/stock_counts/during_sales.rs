//! Counting and applying while orders, cancellations and fulfilments go on.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use afforo::timestamp::Timestamp;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::begin;
use crate::support::{app::TestApp, books::no_deadlocks};

const PRODUCTS: i64 = 4;
/// Units that are there beyond those in the books.
const FOUND: [i64; 4] = [-3, 0, 1, 5];

/// Store 1 with 10,000 units of each product in the books.
async fn shop(fulfillment: &str) -> Arc<TestApp> {
    let app = TestApp::start().await;
    let store = json!({ "name": "Main", "location": "Here", "fulfillment": fulfillment });
    app.post("/api/stores/", &store).await.created();
    for number in 1..=PRODUCTS {
        let product = app.product(&format!("Product {number}"), "1.00").await;
        app.stock(1, product, 10_000).await;
    }
    Arc::new(app)
}

/// Sells, cancels and hands over until it is told to stop.
async fn trade(app: Arc<TestApp>, seed: u64, is_over: Arc<AtomicBool>) -> usize {
    let (mut rng, mut orders) = (StdRng::seed_from_u64(seed), Vec::new());
    while !is_over.load(Ordering::Relaxed) {
        let items = [(rng.random_range(1..=PRODUCTS), rng.random_range(1..=3))];
        orders.push(app.order(1, &items).await.created());
        let order = orders[rng.random_range(0..orders.len())];
        let (kind, body) = match rng.random_range(0..4) {
            0 => (
                "cancellations",
                json!({ "items": null, "reason": "Changed mind" }),
            ),
            1 => ("fulfillments", json!({})),
            _ => continue,
        };
        // Those that are cancelled or handed over already are refused.
        let answer = app.post(&format!("/api/orders/{order}/{kind}/"), &body).await;
        assert!(
            [201, 400, 409].contains(&answer.status.as_u16()),
            "{}",
            answer.text
        );
    }
    orders.len()
}

/// Units of each product that are in the store at a time, or now.
async fn in_the_store(app: &TestApp, time: Option<Timestamp>) -> HashMap<i64, i64> {
    let moved: Vec<(i64, i64)> = sqlx::query_as(
        "select product_id, sum(coalesce(on_hand_delta, delta))::bigint
         from stock_movement m join inventory i on i.id = m.inventory_id
         where kind <> 'COUNT' and ($1 is null or m.created_at <= $1) group by product_id",
    )
    .bind(time)
    .fetch_all(&app.pool)
    .await
    .unwrap();
    let found = |product: i64| FOUND[usize::try_from(product - 1).unwrap()];
    moved
        .into_iter()
        .map(|(product, units)| (product, units + found(product)))
        .collect()
}

async fn now(app: &TestApp) -> Timestamp {
    sqlx::query_scalar("select clock_timestamp()")
        .fetch_one(&app.pool)
        .await
        .unwrap()
}

/// Counts each product at times while `traders` sell, and applies that while others sell.
async fn count_during_sales(fulfillment: &str) {
    let app = shop(fulfillment).await;
    begin(&app).await;
    let trade_until = |is_over: &Arc<AtomicBool>| {
        let mut traders = JoinSet::new();
        for seed in 0..6 {
            traders.spawn(trade(app.clone(), seed, is_over.clone()));
        }
        traders
    };
    let is_over = Arc::new(AtomicBool::new(false));
    let traders = trade_until(&is_over);
    let mut times = Vec::new();
    for _ in 0..2 * PRODUCTS {
        // Orders are placed between the times.
        for _ in 0..5 {
            app.order(1, &[(1, 1)]).await.created();
        }
        times.push(now(&app).await);
    }
    is_over.store(true, Ordering::Relaxed);
    assert!(traders.join_all().await.iter().all(|orders| *orders > 0));
    let mut lines: Vec<Value> = Vec::new();
    for (number, time) in (0..).zip(&times) {
        let product = 1 + number % PRODUCTS;
        let counted = in_the_store(&app, Some(*time)).await[&product];
        lines.push(json!({ "product_id": product, "counted": counted, "counted_at": time }));
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let traders = trade_until(&is_over);
    super::entered(&app, json!(lines)).await;
    assert_eq!(super::apply(&app, json!({})).await, (PRODUCTS, 0, 0, false));
    is_over.store(true, Ordering::Relaxed);
    traders.join_all().await;
    let on_hand: Vec<(i64, i64)> =
        sqlx::query_as("select product_id, quantity::bigint + committed from inventory order by product_id")
            .fetch_all(&app.pool)
            .await
            .unwrap();
    assert_eq!(HashMap::from_iter(on_hand), in_the_store(&app, None).await);
    let variances: Vec<i64> = sqlx::query_scalar("select variance from stock_count_line order by product_id")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    assert_eq!(variances, FOUND);
    assert_eq!(app.unbalanced().await, []);
    no_deadlocks(&app.database_url).await;
}

#[tokio::test]
async fn units_on_hand_are_those_in_the_store_whatever_is_sold_meanwhile() {
    count_during_sales("IMMEDIATE").await;
}

#[tokio::test]
async fn the_same_holds_where_orders_are_handed_over_later() {
    count_during_sales("TRACKED").await;
}

#[tokio::test]
async fn two_requests_at_once_apply_each_line_once() {
    let app = shop("IMMEDIATE").await;
    begin(&app).await;
    let lines = (1..=PRODUCTS).map(|product| super::line(product, 9_990));
    super::entered(&app, json!(lines.collect::<Vec<_>>())).await;
    let mut requests = JoinSet::new();
    for _ in 0..8 {
        let app = app.clone();
        requests.spawn(async move { super::apply(&app, json!({})).await });
    }
    for applied in requests.join_all().await {
        assert_eq!(applied, (PRODUCTS, 0, 0, false));
    }
    let moved = (1..=PRODUCTS).map(|product| (product, -10, 9_990));
    assert_eq!(super::movements(&app).await, moved.collect::<Vec<_>>());
    assert_eq!(app.unbalanced().await, []);
    no_deadlocks(&app.database_url).await;
}
