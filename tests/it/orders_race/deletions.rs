//! Concurrent deletions and orders: the order of locks guarantees what foreign keys would.

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture, future::join_all};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;

use super::books_balance;
use crate::support::app::{Answer, TestApp};

const ROUNDS: usize = 15;

/// The shop of a round, and its concurrent requests.
#[derive(Clone, Copy)]
struct Round {
    store: i64,
    category: i64,
    products: [i64; 2],
    stock: [i64; 2],
}

impl Round {
    async fn new(app: &TestApp, number: usize) -> Self {
        let (store, category) = (
            app.store("Store").await,
            app.category(&format!("C{number}")).await,
        );
        let products = [
            app.product_in(category, "A", "1.00").await,
            app.product_in(category, "B", "1.00").await,
        ];
        let stock = [
            app.stock(store, products[0], 10).await,
            app.stock(store, products[1], 10).await,
        ];
        Self {
            store,
            category,
            products,
            stock,
        }
    }
}

/// Runs rounds of concurrent requests, each after a random short pause: the requests of `raced` and six orders.
/// Returns the responses to `raced`.
async fn race(
    seed: u64,
    allowed: &[u16],
    raced: for<'a> fn(&'a TestApp, Round) -> Vec<BoxFuture<'a, Answer>>,
) -> (TestApp, Vec<(Round, Vec<Answer>)>) {
    eprintln!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let app = TestApp::start().await;
    let mut rounds = Vec::new();
    for number in 0..ROUNDS {
        let round = Round::new(&app, number).await;
        let [a, b] = round.products;
        let mut requests = raced(&app, round);
        let count = requests.len();
        for items in [
            vec![(a, 1), (b, 1)],
            vec![(b, 2), (a, 2)],
            vec![(a, 1)],
            vec![(b, 3)],
            vec![(a, 20)],
            vec![(4711, 1)],
        ] {
            let app = &app;
            requests.push(async move { app.order(round.store, &items).await }.boxed());
        }
        let requests = requests.into_iter().map(|request| {
            let pause = Duration::from_micros(rng.random_range(0..4_000));
            async move {
                tokio::time::sleep(pause).await;
                request.await
            }
        });
        let mut answers = join_all(requests).await;
        for answer in answers.drain(count..) {
            assert!(
                [200, 201, 400].contains(&answer.status.as_u16()),
                "order: {} {}",
                answer.status,
                answer.text
            );
        }
        for answer in &answers {
            assert!(
                allowed.contains(&answer.status.as_u16()),
                "{} {}",
                answer.status,
                answer.text
            );
        }
        rounds.push((round, answers));
    }
    books_balance(&app.pool).await;
    (app, rounds)
}

async fn count(app: &TestApp, sql: &'static str, id: i64) -> i64 {
    sqlx::query_scalar(sql)
        .bind(id)
        .fetch_one(&app.pool)
        .await
        .unwrap()
}

fn delete<'a>(app: &'a TestApp, what: &'static str, id: i64) -> BoxFuture<'a, Answer> {
    async move { app.delete(&format!("/api/{what}/{id}/")).await }.boxed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn product_is_deleted_or_sold_but_never_both() {
    let (app, rounds) = race(31, &[204, 404, 409], |app, round| {
        vec![
            delete(app, "products", round.products[0]),
            delete(app, "products", round.products[1]),
            delete(app, "products", round.products[0]),
        ]
    })
    .await;
    for (round, answers) in rounds {
        for (answer, product) in answers.iter().zip([0, 1, 0].map(|index| round.products[index])) {
            let items = count(
                &app,
                "select count(*) from order_item where product_id = $1",
                product,
            )
            .await;
            let products = count(&app, "select count(*) from product where id = $1", product).await;
            assert_eq!((answer.status == 409), (items > 0), "{}", answer.text);
            assert_eq!(products, i64::from(answer.status == 409));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn store_is_deleted_or_has_orders_but_never_both() {
    let (app, rounds) = race(32, &[204, 404, 409], |app, round| {
        vec![
            delete(app, "stores", round.store),
            delete(app, "stores", round.store),
        ]
    })
    .await;
    for (round, answers) in rounds {
        let orders = count(
            &app,
            "select count(*) from orders where store_id = $1",
            round.store,
        )
        .await;
        let stock = count(
            &app,
            "select count(*) from inventory where store_id = $1",
            round.store,
        )
        .await;
        let gone = answers.iter().any(|answer| answer.status == 204);
        let stores = count(&app, "select count(*) from store where id = $1", round.store).await;
        assert_eq!(gone, stores == 0, "a deletion that was answered happened");
        assert_eq!(gone, orders == 0, "a store that went has no orders");
        assert_eq!(gone, stock == 0, "a store that went takes its stock along");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn category_is_deleted_with_all_its_products_or_keeps_all() {
    let (app, rounds) = race(33, &[201, 204, 400, 404, 409], |app, round| {
        let create = async move {
            let body = json!({ "title": "New", "price": "1.00", "category_id": round.category });
            app.post("/api/products/", &body).await
        };
        vec![
            delete(app, "categories", round.category),
            delete(app, "categories", round.category),
            create.boxed(),
        ]
    })
    .await;
    for (round, answers) in rounds {
        let gone = answers.iter().any(|answer| answer.status == 204);
        let products = count(
            &app,
            "select count(*) from product where category_id = $1",
            round.category,
        )
        .await;
        let sold = count(
            &app,
            "select count(*) from order_item i join product p on p.id = i.product_id where p.category_id = $1",
            round.category,
        )
        .await;
        assert_eq!(gone, products == 0);
        assert_eq!(gone, sold == 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sold_product_stays_when_its_stock_is_deleted() {
    let (app, rounds) = race(34, &[204, 404, 409], |app, round| {
        vec![
            delete(app, "inventory", round.stock[0]),
            delete(app, "products", round.products[0]),
            delete(app, "inventory", round.stock[1]),
        ]
    })
    .await;
    for (round, _) in rounds {
        for product in round.products {
            let sold = count(
                &app,
                "select count(*) from order_item where product_id = $1",
                product,
            )
            .await;
            let answer = app.delete(&format!("/api/products/{product}/")).await;
            let expected: &[u16] = if sold > 0 { &[409] } else { &[204, 404] };
            assert!(
                expected.contains(&answer.status.as_u16()),
                "{sold} {}",
                answer.text
            );
        }
    }
    books_balance(&app.pool).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_writes_and_deletions_never_fail_a_request() {
    race(35, &[200, 201, 204, 400, 404, 409], |app, round| {
        let [a, b] = round.products;
        let write =
            |path: String, body: serde_json::Value| async move { app.patch(&path, &body).await }.boxed();
        let stock_again = async move {
            app.post(
                "/api/inventory/",
                &json!({ "store_id": round.store, "product_id": a, "quantity": 5 }),
            )
            .await
        };
        vec![
            delete(app, "categories", round.category),
            delete(app, "stores", round.store),
            delete(app, "products", a),
            delete(app, "products", b),
            delete(app, "inventory", round.stock[0]),
            stock_again.boxed(),
            write(
                format!("/api/inventory/{}/", round.stock[0]),
                json!({ "product_id": b }),
            ),
            write(
                format!("/api/inventory/{}/", round.stock[1]),
                json!({ "product_id": a, "quantity": 9 }),
            ),
            write(format!("/api/products/{a}/"), json!({ "price": "2.00" })),
            write(
                format!("/api/stores/{}/", round.store),
                json!({ "is_active": false }),
            ),
        ]
    })
    .await;
}
