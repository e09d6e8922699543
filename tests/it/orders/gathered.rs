//! Group commit: orders that arrive during a transaction share the next one.
//!
//! The tests hold the lock of a stock row, so that a lane's first transaction waits and everything else gathers.

use std::{pin::pin, time::Duration};

use afforo::{
    db::Database,
    idempotency::KeyedRequest,
    order::{GroupCommit, Limits, NewItem, NewOrder, Outcome, PlaceError, PlacedOrder},
};
use futures::future::{join_all, poll_immediate};
use sqlx::{Executor, Postgres, Transaction};

use crate::support::{app::TestApp, locks::waiting_for_locks};

#[tokio::test]
async fn orders_arriving_during_a_transaction_share_the_next_one() {
    let shop = Shop::open(100).await;
    shop.gather(limits(128, 1000), &[1; 49])
        .await
        .into_iter()
        .for_each(|decision| drop(confirmed(decision)));
    assert_eq!(shop.transactions().await, [1, 49]);
    assert_eq!(shop.app.quantity(shop.stock).await, 50);
    assert!(shop.app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn batch_has_at_most_the_configured_number_of_orders() {
    let shop = Shop::open(100).await;
    shop.gather(limits(4, 1000), &[1; 10])
        .await
        .into_iter()
        .for_each(|decision| drop(confirmed(decision)));
    assert_eq!(shop.transactions().await, [1, 4, 4, 2]);
}

#[tokio::test]
async fn orders_of_one_store_are_served_first_come_first_served() {
    let shop = Shop::open(10).await;
    let lanes = shop.lanes(limits(128, 1000));
    let held = shop.hold().await;
    let mut rest = pin!(join_all((0..30).map(|_| lanes.place(shop.order(1), None))));
    assert!(poll_immediate(rest.as_mut()).await.is_none());
    held.rollback().await.unwrap();
    let placed: Vec<PlacedOrder> = rest.await.into_iter().map(placed).collect();
    assert!(placed.is_sorted_by_key(|order| order.id));
    let got: Vec<bool> = placed.iter().map(|order| order.rejections.is_none()).collect();
    assert_eq!(got, [vec![true; 10], vec![false; 20]].concat());
}

#[tokio::test]
async fn only_the_failing_order_of_a_batch_fails() {
    let shop = Shop::open(100).await;
    // PostgreSQL refuses an item with quantity 13.
    shop.app
        .pool
        .execute("alter table order_item add constraint poison check (quantity <> 13)")
        .await
        .unwrap();
    let quantities = [1, 2, 13, 3, 4];
    let decisions = shop.gather(limits(128, 1000), &quantities).await;
    for (quantity, decision) in quantities.into_iter().zip(decisions) {
        if quantity == 13 {
            assert!(matches!(decision, Err(PlaceError::Database(_))), "{decision:?}");
        } else {
            confirmed(decision);
        }
    }
    assert_eq!(shop.app.quantity(shop.stock).await, 100 - 1 - 1 - 2 - 3 - 4);
    assert!(shop.app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn orders_of_locked_stock_are_deferred_and_others_of_the_lane_placed() {
    let shop = Shop::open(100).await;
    let free = shop.app.product("Chair", "75.00").await;
    let chairs = shop.app.stock(shop.store, free, 100).await;
    let lanes = shop.lanes(Limits {
        lock_wait_timeout: Duration::from_mins(10),
        ..limits(128, 1000)
    });
    let held = shop.hold().await;
    // All orders are queued before the lane checks.
    let lamps = join_all((0..8).map(|_| lanes.place(shop.order(1), None)));
    let mut lamps = pin!(lamps);
    assert!(poll_immediate(lamps.as_mut()).await.is_none());
    let chair = || lanes.place(order(shop.store, free, 1), None);
    for decision in join_all((0..8).map(|_| chair())).await {
        confirmed(decision);
    }
    // Later orders do not wait either.
    for _ in 0..10 {
        confirmed(chair().await);
    }
    assert_eq!(shop.app.quantity(chairs).await, 82);
    assert_eq!(shop.transactions().await[0], 8, "the orders share a transaction");
    assert!(
        poll_immediate(lamps.as_mut()).await.is_none(),
        "their stock is locked"
    );
    held.rollback().await.unwrap();
    let lamps: Vec<PlacedOrder> = lamps.await.into_iter().map(confirmed).collect();
    assert!(
        lamps.is_sorted_by_key(|order| order.id),
        "first come, first served"
    );
    assert_eq!(shop.app.quantity(shop.stock).await, 92);
    assert!(shop.app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn orders_of_a_locked_store_are_deferred_and_other_stores_placed() {
    let shop = Shop::open(100).await;
    let other = shop.app.store("Other").await;
    shop.app.stock(other, shop.product, 100).await;
    let lanes = shop.lanes(Limits {
        lock_wait_timeout: Duration::from_mins(10),
        ..limits(128, 1000)
    });
    let mut held = shop.app.pool.begin().await.unwrap();
    let lock = sqlx::query("select from store where id = $1 for update").bind(shop.store);
    lock.execute(&mut *held).await.unwrap();
    let mut blocked = pin!(lanes.place(shop.order(1), None));
    assert!(poll_immediate(blocked.as_mut()).await.is_none());
    for _ in 0..3 {
        confirmed(lanes.place(order(other, shop.product, 1), None).await);
    }
    assert!(poll_immediate(blocked.as_mut()).await.is_none());
    held.rollback().await.unwrap();
    confirmed(blocked.await);
}

#[tokio::test]
async fn order_of_stock_that_stays_locked_fails_with_locked() {
    let shop = Shop::open(100).await;
    let lanes = shop.lanes(Limits {
        lock_wait_timeout: Duration::ZERO,
        ..limits(128, 1000)
    });
    let held = shop.hold().await;
    let decision = lanes.place(shop.order(1), None).await;
    assert!(matches!(decision, Err(PlaceError::Locked)), "{decision:?}");
    held.rollback().await.unwrap();
    // Later orders wait for locks as usual.
    confirmed(lanes.place(shop.order(1), None).await);
}

#[tokio::test]
async fn order_whose_key_is_in_use_elsewhere_does_not_block_others() {
    let shop = Shop::open(100).await;
    let lanes = shop.lanes(limits(128, 1000));
    let mut elsewhere = shop.app.pool.begin().await.unwrap();
    elsewhere
        .execute("insert into idempotency_key (key, fingerprint, status, body) values ('key', '', 201, '')")
        .await
        .unwrap();
    let key = KeyedRequest {
        key: "key".to_owned(),
        fingerprint: [0; 16],
    };
    let (keyed, plain) = tokio::join!(
        lanes.place(shop.order(1), Some(key)),
        lanes.place(shop.order(1), None)
    );
    assert!(matches!(keyed, Err(PlaceError::KeyInUse)), "{keyed:?}");
    confirmed(plain);
    elsewhere.rollback().await.unwrap();
    assert_eq!(shop.app.quantity(shop.stock).await, 99);
}

#[tokio::test]
async fn full_lane_refuses_orders_and_one_store_fills_at_most_half() {
    let shop = Shop::open(100).await;
    let other = shop.app.store("Other").await;
    shop.app.stock(other, shop.product, 100).await;
    let lanes = shop.lanes(limits(128, 4));
    let held = shop.hold().await;
    let mut admitted = pin!(join_all([
        lanes.place(shop.order(1), None),
        lanes.place(shop.order(1), None),
        lanes.place(order(other, shop.product, 1), None),
        lanes.place(order(other, shop.product, 1), None),
    ]));
    let mut one_more = pin!(lanes.place(shop.order(1), None));
    shop.until_blocked(admitted.as_mut()).await;
    let refused = poll_immediate(one_more.as_mut()).await;
    assert!(matches!(refused, Some(Err(PlaceError::Busy))), "{refused:?}");
    let refused = lanes.place(order(other, shop.product, 1), None).await;
    assert!(matches!(refused, Err(PlaceError::Busy)), "{refused:?}");
    held.rollback().await.unwrap();
    admitted
        .await
        .into_iter()
        .for_each(|decision| drop(confirmed(decision)));
    assert_eq!(shop.transactions().await.iter().sum::<i64>(), 4);
    // Decided orders free their places in the lane.
    confirmed(lanes.place(shop.order(1), None).await);
}

#[tokio::test]
async fn stores_of_a_lane_take_turns() {
    let shop = Shop::open(100).await;
    let other = shop.app.store("Other").await;
    shop.app.stock(other, shop.product, 100).await;
    let lanes = shop.lanes(limits(2, 1000));
    let held = shop.hold().await;
    let mut first = pin!(lanes.place(shop.order(1), None));
    shop.until_blocked(first.as_mut()).await;
    let mut many = pin!(join_all((0..6).map(|_| lanes.place(shop.order(1), None))));
    assert!(poll_immediate(many.as_mut()).await.is_none());
    let mut one = pin!(lanes.place(order(other, shop.product, 1), None));
    assert!(poll_immediate(one.as_mut()).await.is_none());
    held.rollback().await.unwrap();
    confirmed(first.await);
    let one = confirmed(one.await);
    let many: Vec<PlacedOrder> = many.await.into_iter().map(confirmed).collect();
    assert!(many[0].id < one.id && one.id < many[1].id);
}

#[tokio::test]
async fn order_of_a_caller_that_left_is_still_decided() {
    let shop = Shop::open(100).await;
    let lanes = shop.lanes(limits(128, 1000));
    let held = shop.hold().await;
    {
        let mut disconnected = pin!(join_all([
            lanes.place(shop.order(3), None),
            lanes.place(shop.order(4), None)
        ]));
        shop.until_blocked(disconnected.as_mut()).await;
    }
    held.rollback().await.unwrap();
    // This order comes after them.
    confirmed(lanes.place(shop.order(1), None).await);
    assert_eq!(shop.app.quantity(shop.stock).await, 100 - 3 - 4 - 1);
}

/// A store with one product.
struct Shop {
    app: TestApp,
    store: i64,
    product: i64,
    stock: i64,
}

impl Shop {
    async fn open(quantity: i32) -> Self {
        let app = TestApp::start().await;
        let (store, product) = (app.store("Main Store").await, app.product("Lamp", "10.00").await);
        let stock = app.stock(store, product, quantity).await;
        Self {
            app,
            store,
            product,
            stock,
        }
    }

    fn lanes(&self, limits: Limits) -> GroupCommit {
        let database = Database::new(&self.app.database_url, 1, 2).unwrap();
        GroupCommit::start(&database.placement, limits)
    }

    fn order(&self, quantity: i64) -> NewOrder {
        order(self.store, self.product, quantity)
    }

    /// Makes an order of one unit wait for the lock and orders of `quantities` gather behind it, then releases the lock.
    /// Returns the results of the gathered orders.
    async fn gather(&self, limits: Limits, quantities: &[i64]) -> Vec<Result<Outcome, PlaceError>> {
        let lanes = self.lanes(limits);
        let held = self.hold().await;
        let mut first = pin!(lanes.place(self.order(1), None));
        self.until_blocked(first.as_mut()).await;
        let gathering = quantities
            .iter()
            .map(|quantity| lanes.place(self.order(*quantity), None));
        let mut gathering = pin!(join_all(gathering));
        assert!(poll_immediate(gathering.as_mut()).await.is_none());
        held.rollback().await.unwrap();
        confirmed(first.await);
        gathering.await
    }

    /// Takes the lock that every order of the product needs.
    async fn hold(&self) -> Transaction<'static, Postgres> {
        let mut tx = self.app.pool.begin().await.unwrap();
        sqlx::query("select from inventory where product_id = $1 for update")
            .bind(self.product)
            .execute(&mut *tx)
            .await
            .unwrap();
        tx
    }

    /// Polls `placing` until a transaction waits for the lock.
    async fn until_blocked<F: Future>(&self, mut placing: std::pin::Pin<&mut F>) {
        loop {
            assert!(
                poll_immediate(placing.as_mut()).await.is_none(),
                "the lock is held"
            );
            if waiting_for_locks(&self.app.pool).await > 0 {
                return;
            }
        }
    }

    /// How many orders each transaction placed, in the order of the transactions.
    async fn transactions(&self) -> Vec<i64> {
        sqlx::query_scalar("select count(*) from orders group by xmin::text order by min(id)")
            .fetch_all(&self.app.pool)
            .await
            .unwrap()
    }
}

/// A single lane, so that all orders meet in it.
fn limits(together: usize, waiting: usize) -> Limits {
    Limits {
        batch_size: together,
        queue_size: waiting,
        ..Limits::with_lanes(1)
    }
}

fn order(store: i64, product: i64, quantity: i64) -> NewOrder {
    let item = NewItem {
        product_id: product,
        quantity,
        price: None,
    };
    NewOrder::new(store, vec![item])
}

#[track_caller]
fn placed(decision: Result<Outcome, PlaceError>) -> PlacedOrder {
    match decision {
        Ok(Outcome::Placed(order)) => order,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn confirmed(decision: Result<Outcome, PlaceError>) -> PlacedOrder {
    let order = placed(decision);
    assert!(order.rejections.is_none(), "{order:?}");
    order
}
