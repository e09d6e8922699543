//! Concurrent orders: no unit is sold twice, no order is lost, and no transactions deadlock.

mod crashes;
mod deletions;
mod disconnects;
mod duplicates;
mod stock;

use std::collections::HashMap;

use futures::{StreamExt, future::join_all, stream};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use reqwest::Method;
use rustix::process::Signal;
use sqlx::PgPool;

use crate::support::{
    app::{self, TestApp, order, send},
    books::{books_balance, no_deadlocks},
    program::{Running, afforo, on},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_10_of_24_concurrent_orders_for_10_units_are_confirmed() {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "10.00").await);
    let stock = app.stock(store, product, 10).await;
    let statuses = join_all((0..24).map(async |_| app.order(store, &[(product, 1)]).await)).await;
    let count = |status| statuses.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(201), count(200)), (10, 14));
    for rejected in statuses.iter().filter(|answer| answer.status == 200) {
        assert_eq!(
            rejected.body["rejection_reason"],
            "Insufficient stock: Lamp: requested 1, available 0"
        );
    }
    assert_eq!(app.quantity(stock).await, 0);
    books_balance(&app.pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_orders_for_exactly_the_stock_are_all_confirmed() {
    let app = TestApp::start().await;
    let orders = shuffled_orders(1);
    let mut demand = HashMap::new();
    for (product, quantity) in orders.iter().flatten() {
        *demand.entry(*product).or_insert(0) += quantity;
    }
    let shop = Shop::open(&app, |product| demand[&product]).await;
    let placed = join_all(
        orders
            .iter()
            .map(async |items| app.order(shop.store, &shop.items(items)).await),
    )
    .await;
    assert!(
        placed.iter().all(|answer| answer.status == 201),
        "every order is confirmed"
    );
    assert_eq!(shop.left(&app.pool).await, vec![0; PRODUCTS]);
    books_balance(&app.pool).await;
    no_deadlocks(&app.database_url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_decreases_by_the_units_of_confirmed_orders() {
    let app = TestApp::start().await;
    let orders = shuffled_orders(2);
    let shop = Shop::open(&app, |_| 150).await;
    let placed = join_all(
        orders
            .iter()
            .map(async |items| app.order(shop.store, &shop.items(items)).await),
    )
    .await;
    let mut sold = [0; PRODUCTS];
    for (answer, items) in placed.iter().zip(&orders) {
        assert!([200, 201].contains(&answer.status.as_u16()), "{}", answer.text);
        if answer.status == 201 {
            for (product, quantity) in items {
                sold[*product] += quantity;
            }
        }
    }
    let left: Vec<i64> = sold.iter().map(|sold| 150 - sold).collect();
    assert_eq!(shop.left(&app.pool).await, left);
    assert!(
        placed.iter().any(|answer| answer.status == 200),
        "there is too little for all"
    );
    books_balance(&app.pool).await;
    no_deadlocks(&app.database_url).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_on_one_database_sell_each_unit_once() {
    let app = TestApp::start().await;
    let mut servers = [server(&app), server(&app)];
    let mut addresses = Vec::new();
    for server in &mut servers {
        addresses.push(server.address().await);
    }
    let orders = shuffled_orders(3);
    let shop = Shop::open(&app, |_| 150).await;
    let client = app::client();
    let placed = join_all(
        orders
            .iter()
            .zip(addresses.iter().cycle())
            .map(|(items, address)| {
                let request = client.request(Method::POST, format!("http://{address}/api/orders/"));
                send(request.json(&order(shop.store, &shop.items(items))))
            }),
    )
    .await;
    let mut left = vec![150; PRODUCTS];
    for (answer, items) in placed.iter().zip(&orders) {
        assert!([200, 201].contains(&answer.status.as_u16()), "{}", answer.text);
        if answer.status == 201 {
            for (product, quantity) in items {
                left[*product] -= quantity;
            }
        }
    }
    assert_eq!(shop.left(&app.pool).await, left);
    books_balance(&app.pool).await;
    for server in &mut servers {
        server.signal(Signal::TERM);
        assert_eq!(server.ends().await.code(), Some(0));
    }
    no_deadlocks(&app.database_url).await;
}

fn server(app: &TestApp) -> Running {
    let mut command = afforo(&["serve", "127.0.0.1:0"]);
    on(&mut command, &app.database_url, app.redis.url());
    Running::start(&mut command)
}

const PRODUCTS: usize = 10;

/// 200 orders of 1 to 10 of the products, in random order.
fn shuffled_orders(seed: u64) -> Vec<Vec<(usize, i64)>> {
    eprintln!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let orders = (0..200).map(|_| {
        let mut products: Vec<usize> = (0..PRODUCTS).collect();
        products.shuffle(&mut rng);
        products.truncate(rng.random_range(1..=PRODUCTS));
        products
            .into_iter()
            .map(|product| (product, rng.random_range(1..=3)))
            .collect()
    });
    orders.collect()
}

/// A store that stocks some products.
struct Shop {
    store: i64,
    products: Vec<i64>,
}

impl Shop {
    async fn open(app: &TestApp, quantity: impl Fn(usize) -> i64) -> Self {
        let (store, category) = (app.store("Main Store").await, app.category("All").await);
        let mut products = Vec::new();
        for number in 0..PRODUCTS {
            let product = app.product_in(category, &format!("P{number}"), "1.50").await;
            app.stock(store, product, quantity(number).try_into().unwrap())
                .await;
            products.push(product);
        }
        Self { store, products }
    }

    fn items(&self, items: &[(usize, i64)]) -> Vec<(i64, i64)> {
        items
            .iter()
            .map(|(product, quantity)| (self.products[*product], *quantity))
            .collect()
    }

    async fn left(&self, pool: &PgPool) -> Vec<i64> {
        let left = "select quantity::bigint from inventory where store_id = $1 order by product_id";
        sqlx::query_scalar(left)
            .bind(self.store)
            .fetch_all(pool)
            .await
            .unwrap()
    }
}

/// Runs many futures, `count` at a time.
async fn at_a_time<T>(count: usize, futures: impl IntoIterator<Item = impl Future<Output = T>>) -> Vec<T> {
    stream::iter(futures).buffer_unordered(count).collect().await
}
