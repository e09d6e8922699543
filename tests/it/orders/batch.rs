//! Several orders in one transaction: decided and written like the same orders one after the other.

use afforo::order::{Batch, NewItem, NewOrder, Outcome, PlacedOrder, place_at};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use sqlx::PgPool;

use crate::support::app::{TestApp, unbalanced};

/// The same shop in every database: ids start at one in each.
async fn shop() -> TestApp {
    let app = TestApp::start().await;
    let category = app.category("All").await;
    let stores = [app.store("One").await, app.store("Two").await];
    for number in 0..8 {
        let product = app.product_in(category, &format!("P{number}"), "2.50").await;
        for store in stores {
            // Only the first store stocks this product.
            if number != 7 || store == stores[0] {
                app.stock(store, product, 60).await;
            }
        }
    }
    sqlx::query("update product set is_active = false where title = 'P6'")
        .execute(&app.pool)
        .await
        .unwrap();
    app
}

fn random_orders(rng: &mut StdRng, count: usize) -> Vec<NewOrder> {
    let orders = (0..count).map(|_| {
        // Most products are available; 7 is inactive, 8 is stocked by one store, 9 is unknown.
        let mut products: Vec<i64> = (1..=if rng.random_bool(0.15) { 9 } else { 6 }).collect();
        products.shuffle(rng);
        products.truncate(rng.random_range(1..=4));
        let items = products.into_iter().map(|product| NewItem {
            product_id: product,
            quantity: rng.random_range(1..=6).into(),
            price: None,
        });
        let items = items.collect();
        let store = if rng.random_bool(0.05) {
            3
        } else {
            rng.random_range(1..=2)
        };
        NewOrder::new(store.into(), items)
    });
    orders.collect()
}

/// The result of an order, without its ids and times.
fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Placed(PlacedOrder {
            store,
            status,
            total_amount,
            rejection_reason,
            items,
            rejections,
            ..
        }) => {
            let items: Vec<String> = items
                .iter()
                .map(|item| {
                    format!(
                        "{} x {} at {} is {}",
                        item.quantity, item.product.id, item.unit_price, item.subtotal
                    )
                })
                .collect();
            format!(
                "{} {status} {total_amount} {rejection_reason:?} {items:?} {rejections:?}",
                store.id
            )
        }
        other => format!("{other:?}"),
    }
}

/// The stored rows, with orders by their position.
async fn books(pool: &PgPool) -> Vec<Vec<String>> {
    let mut books = Vec::new();
    for sql in [
        "select format('%s %s %s %s %s %s', row_number() over (order by id), store_id, status, total_amount, rejection_reason,
             rejections) from orders order by id",
        "select format('%s %s %s %s', dense_rank() over (order by order_id), product_id, quantity, unit_price)
         from order_item order by order_id, id",
        "select format('%s %s %s %s', inventory_id, kind, delta, quantity_after)
         from stock_movement order by inventory_id, id",
        "select format('%s %s %s', id, quantity, ordered) from inventory order by id",
        "select format('%s', (select count(*) from orders o where o.id <= b.order_id)) from (
             select unnest(order_ids) as order_id from outbox) b order by order_id",
    ] {
        books.push(sqlx::query_scalar(sql).fetch_all(pool).await.unwrap());
    }
    books
}

/// Places orders in one transaction.
async fn transact(pool: &PgPool, orders: &[NewOrder]) -> Vec<Outcome> {
    let mut batch = Batch::default();
    for order in orders {
        batch.push(order.clone(), None);
    }
    batch
        .transact(&mut pool.acquire().await.unwrap(), "begin")
        .await
        .unwrap()
}

#[tokio::test]
async fn batch_leaves_the_same_data_as_its_orders_one_by_one() {
    let seed = 41;
    eprintln!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let (together, apart) = (shop().await, shop().await);
    let mut confirmed = 0;
    for size in [1, 2, 17, 60, 100] {
        let orders = random_orders(&mut rng, size);
        let outcomes = transact(&together.pool, &orders).await;
        let mut one_by_one = Vec::new();
        for order in &orders {
            one_by_one.extend(transact(&apart.pool, std::slice::from_ref(order)).await);
        }
        let told_of = |outcomes: &[Outcome]| outcomes.iter().map(told).collect::<Vec<_>>();
        assert_eq!(told_of(&outcomes), told_of(&one_by_one));
        assert_eq!(outcomes.len(), size);
        confirmed += told_of(&outcomes)
            .iter()
            .filter(|told| told.contains("CONFIRMED"))
            .count();
    }
    assert!(
        (40..140).contains(&confirmed),
        "{confirmed} of 180 is a fair mixture"
    );
    assert_eq!(books(&together.pool).await, books(&apart.pool).await);
    assert!(unbalanced(&together.pool).await.is_empty());
}

#[tokio::test]
async fn rolled_back_batch_leaves_nothing() {
    let app = shop().await;
    let before = books(&app.pool).await;
    let mut tx = app.pool.begin().await.unwrap();
    let orders = random_orders(&mut StdRng::seed_from_u64(42), 30);
    assert_eq!(place_at(&mut tx, &orders, None).await.unwrap().outcomes.len(), 30);
    tx.rollback().await.unwrap();
    assert_eq!(books(&app.pool).await, before);
}

#[tokio::test]
async fn empty_batch_has_no_outcomes() {
    let app = shop().await;
    assert!(transact(&app.pool, &[]).await.is_empty());
}
