//! Periodic jobs, pushed by the tests.

use afforo::{
    partitions,
    worker::{PeriodicJob, Queues},
};
use apalis_redis_queue::Pushed;
use chrono::NaiveDate;
use serde_json::json;

use super::{Worker, execute, ids, owed, queues};
use crate::support::{app::TestApp, program::eventually};

/// Runs a job.
async fn done(queues: &Queues, id: &str, job: PeriodicJob) {
    assert_eq!(queues.periodic.push(id, &job).await.unwrap(), Pushed::Queued);
    eventually("the job is done", async || {
        let counts = queues.periodic.counts().await.unwrap();
        assert_eq!((counts.dead, counts.delayed), (0, 0));
        counts.ready + counts.running == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stuck_pending_orders_are_rejected_and_their_stock_restored() {
    let app = TestApp::start().await;
    let (store, category) = (app.store("Main Store").await, app.category("All").await);
    let (lamp, chair) = (
        app.product_in(category, "Lamp", "10.00").await,
        app.product_in(category, "Chair", "75.00").await,
    );
    let (lamps, chairs) = (
        app.stock(store, lamp, 100).await,
        app.stock(store, chair, 100).await,
    );
    // Three old orders, two of which hold lamps; an old order that holds nothing; and a new order.
    execute(
        &app.pool,
        "insert into orders (store_id, status, created_at)
         select 1, 'PENDING', now() - age from unnest(array[interval '5 min 1 s', '1 h', '1 d', '6 min', '4 min 30 s']) age;
         create temp table held as values (1, 1, 3), (2, 1, 4), (2, 2, 1), (3, 2, 6), (5, 1, 5), (5, 2, 7);
         insert into order_item (order_id, product_id, quantity, unit_price) select column1, column2, column3, 10 from held;
         insert into stock_movement (inventory_id, order_id, kind, delta, quantity_after)
         select column2, column1, 'ORDER', -column3, 100 - sum(column3) over (partition by column2 order by column1) from held;
         update inventory set quantity = 100 - (select sum(column3) from held where column2 = inventory.id), ordered = true;
         drop table held",
    )
    .await;
    assert_eq!((lamps, chairs, lamp, chair), (1, 2, 1, 2));
    assert_eq!((app.quantity(lamps).await, app.quantity(chairs).await), (88, 86));
    let (worker, queues) = (Worker::start(&app), queues(&app));
    // Orders are placed meanwhile.
    let ((), confirmed) = tokio::join!(done(&queues, "now", PeriodicJob::RejectStuckOrders), async {
        for _ in 0..10 {
            app.order(store, &[(chair, 1), (lamp, 1)]).await.created();
        }
        10
    });
    assert_eq!(
        (app.quantity(lamps).await, app.quantity(chairs).await),
        (95 - confirmed, 93 - confirmed)
    );
    for order in 1..=4 {
        let order = app.get(&format!("/api/orders/{order}/")).await.body;
        assert_eq!(order["status"], "REJECTED");
        assert_eq!(order["rejection_reason"], "Order processing timeout");
        assert_ne!(order["updated_at"], order["created_at"]);
        assert_eq!(
            (&order["total_amount"], &order["items"]),
            (&json!("0.00"), &json!([]))
        );
    }
    let kept: Vec<serde_json::Value> = sqlx::query_scalar(
        "select before from audit_log where action = 'order.rejected' and actor = 'system' order by subject",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap();
    let held = |product: i64, quantity: i64| json!({ "product_id": product, "quantity": quantity, "unit_price": "10.00" });
    let items: Vec<_> = kept.iter().map(|before| before["items"].clone()).collect();
    assert_eq!(
        items,
        [
            json!([held(lamp, 3)]),
            json!([held(lamp, 4), held(chair, 1)]),
            json!([held(chair, 6)]),
            json!([]),
        ]
    );
    assert_eq!(app.get("/api/orders/5/").await.body["status"], "PENDING");
    assert!(app.unbalanced().await.is_empty());
    let wrong = "select id from (select id, quantity_after, sum(delta) over (partition by inventory_id order by id) as sum
                 from stock_movement) m where quantity_after <> sum";
    assert_eq!(ids(&app.pool, wrong).await, Vec::<i64>::new());
    let returned: Vec<(i64, i64, i32)> = sqlx::query_as(
        "select order_id, inventory_id, delta from stock_movement where kind = 'RETURN' order by order_id, inventory_id",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap();
    assert_eq!(returned, [(1, 1, 3), (2, 1, 4), (2, 2, 1), (3, 2, 6)]);

    // A second run has nothing to give back.
    done(&queues, "later", PeriodicJob::RejectStuckOrders).await;
    assert_eq!(app.quantity(lamps).await, 95 - confirmed);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_whose_stock_cannot_be_restored_does_not_block_others() {
    let app = TestApp::start().await;
    let (store, lamp, chair) = (
        app.store("Main Store").await,
        app.product("Lamp", "10.00").await,
        app.product("Chair", "75.00").await,
    );
    let (lamps, chairs) = (
        app.stock(store, lamp, 100).await,
        app.stock(store, chair, 100).await,
    );
    execute(
        &app.pool,
        "insert into orders (store_id, status, created_at)
         select 1, 'PENDING', now() - interval '1 h' from generate_series(1, 2);
         insert into order_item (order_id, product_id, quantity, unit_price) values (1, 1, 30, 10), (2, 2, 30, 75);
         insert into stock_movement (inventory_id, order_id, kind, delta, quantity_after)
         values (1, 1, 'ORDER', -30, 70), (2, 2, 'ORDER', -30, 70);
         update inventory set quantity = 70, ordered = true",
    )
    .await;
    let most = json!({ "quantity": i32::MAX });
    assert_eq!(
        app.patch(&format!("/api/inventory/{lamps}/"), &most).await.status,
        200
    );
    let (worker, queues) = (Worker::start(&app), queues(&app));
    done(&queues, "now", PeriodicJob::RejectStuckOrders).await;
    assert_eq!(app.get("/api/orders/1/").await.body["status"], "PENDING");
    assert_eq!(app.get("/api/orders/2/").await.body["status"], "REJECTED");
    assert_eq!(app.quantity(chairs).await, 100);
    assert!(app.unbalanced().await.is_empty());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stuck_order_of_deleted_stock_is_rejected() {
    let app = TestApp::start().await;
    let (store, lamp) = (app.store("Main Store").await, app.product("Lamp", "10.00").await);
    app.stock(store, lamp, 100).await;
    execute(
        &app.pool,
        "insert into orders (store_id, status, created_at) values (1, 'PENDING', now() - interval '1 h');
         insert into order_item (order_id, product_id, quantity, unit_price) values (1, 1, 30, 10);
         insert into stock_movement (inventory_id, order_id, kind, delta, quantity_after) values (1, 1, 'ORDER', -30, 70);
         update inventory set quantity = 70, ordered = true",
    )
    .await;
    assert_eq!(app.delete("/api/inventory/1/").await.status, 204);
    let again = app.stock(store, lamp, 5).await;
    let (worker, queues) = (Worker::start(&app), queues(&app));
    done(&queues, "now", PeriodicJob::RejectStuckOrders).await;
    assert_eq!(app.get("/api/orders/1/").await.body["status"], "REJECTED");
    assert_eq!(app.quantity(again).await, 5, "the new row never held this stock");
    assert!(app.unbalanced().await.is_empty());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stock_of_rejected_stuck_orders_can_be_moved_again() {
    let app = TestApp::start().await;
    let (store, lamp, chair) = (
        app.store("Main Store").await,
        app.product("Lamp", "10.00").await,
        app.product("Chair", "10.00").await,
    );
    let stock = app.stock(store, lamp, 100).await;
    execute(
        &app.pool,
        "insert into orders (store_id, status, created_at) values (1, 'PENDING', now() - interval '1 h');
         insert into order_item (order_id, product_id, quantity, unit_price) values (1, 1, 30, 10);
         insert into stock_movement (inventory_id, order_id, kind, delta, quantity_after) values (1, 1, 'ORDER', -30, 70);
         update inventory set quantity = 70, ordered = true",
    )
    .await;
    let path = format!("/api/inventory/{stock}/");
    let moved = json!({ "product_id": chair });
    assert_eq!(app.patch(&path, &moved).await.status, 409);
    let (worker, queues) = (Worker::start(&app), queues(&app));
    done(&queues, "now", PeriodicJob::RejectStuckOrders).await;
    assert_eq!(app.get("/api/orders/1/").await.body["status"], "REJECTED");
    assert_eq!(app.quantity(stock).await, 100);
    assert!(app.unbalanced().await.is_empty());
    assert_eq!(
        app.patch(&path, &moved).await.status,
        200,
        "no order refers to the row"
    );
    assert_eq!(app.delete(&format!("/api/products/{lamp}/")).await.status, 204);
    assert!(app.unbalanced().await.is_empty());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_unrejectable_stuck_orders_do_not_block_later_ones() {
    let app = TestApp::start().await;
    let store = app.store("Main Store").await;
    for product in ["Lamp", "Chair"] {
        app.stock(store, app.product(product, "10.00").await, 1000).await;
    }
    // 300 orders of a lamp each, and one of a chair. The stock of lamps is at its maximum, so no lamp can be given back.
    execute(
        &app.pool,
        "insert into orders (store_id, status, created_at)
         select 1, 'PENDING', now() - interval '1 h' from generate_series(1, 301);
         insert into order_item (order_id, product_id, quantity, unit_price) select n, 1 + n / 301, 1, 10 from generate_series(1, 301) n;
         insert into stock_movement (inventory_id, order_id, kind, delta, quantity_after)
         select 1, n, 'ORDER', -1, 1000 - n from generate_series(1, 300) n union all select 2, 301, 'ORDER', -1, 999;
         insert into stock_movement (inventory_id, kind, delta, quantity_after) values (1, 'ADJUSTMENT', 2147483647 - 700, 2147483647);
         update inventory set quantity = case id when 1 then 2147483647 else 999 end, ordered = true",
    )
    .await;
    let (worker, queues) = (Worker::start(&app), queues(&app));
    done(&queues, "now", PeriodicJob::RejectStuckOrders).await;
    assert_eq!(app.get("/api/orders/301/").await.body["status"], "REJECTED");
    assert_eq!(app.get("/api/orders/?status=pending").await.body["count"], 300);
    assert!(app.unbalanced().await.is_empty());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missed_daily_reports_are_written_up_to_a_month_back() {
    let app = TestApp::start().await;
    app.store("Main Store").await;
    execute(
        &app.pool,
        "insert into orders (store_id, status, created_at)
         select 1, 'REJECTED', day from unnest(array['2020-05-05Z', '2026-01-07Z', '2026-01-09Z']::timestamptz[]) day",
    )
    .await;
    let (worker, queues) = (Worker::start(&app), queues(&app));
    let reports = async || {
        let sql = "select format('%s: %s', day, total_orders) from daily_order_report order by day";
        sqlx::query_scalar::<_, String>(sql)
            .fetch_all(&app.pool)
            .await
            .unwrap()
    };
    let day = NaiveDate::from_ymd_opt(2026, 1, 10).unwrap();
    done(&queues, "first", PeriodicJob::DailyOrderReport { day }).await;
    let written = reports().await;
    assert_eq!(written.len(), 32, "a month back, and no further: {written:?}");
    assert_eq!(
        written[28..],
        ["2026-01-07: 1", "2026-01-08: 0", "2026-01-09: 1", "2026-01-10: 0"]
    );
    let day = NaiveDate::from_ymd_opt(2026, 1, 12).unwrap();
    done(&queues, "second", PeriodicJob::DailyOrderReport { day }).await;
    assert_eq!(reports().await[32..], ["2026-01-11: 0", "2026-01-12: 0"]);
    assert!(app.unbalanced().await.is_empty());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn day_is_reported_once_from_midnight_to_midnight_utc() {
    let app = TestApp::start().await;
    app.store("Main Store").await;
    execute(
        &app.pool,
        "insert into orders (store_id, status, total_amount, created_at) values
             (1, 'CONFIRMED', 1000, '2026-01-09T23:59:59.999999Z'),
             (1, 'CONFIRMED', 10.25, '2026-01-10T00:00:00Z'),
             (1, 'REJECTED', 0, '2026-01-10T12:00:00Z'),
             (1, 'REJECTED', 0, '2026-01-10T23:30:00+02'),
             (1, 'PENDING', 5, '2026-01-10T12:00:00Z'),
             (1, 'CONFIRMED', 20.50, '2026-01-10T23:59:59.999999Z'),
             (1, 'CONFIRMED', 3000, '2026-01-11T00:00:00Z')",
    )
    .await;
    let (worker, queues) = (Worker::start(&app), queues(&app));
    let day = NaiveDate::from_ymd_opt(2026, 1, 10).unwrap();
    done(&queues, "first", PeriodicJob::DailyOrderReport { day }).await;
    let reports = async || {
        let sql = "select row_to_json(r)::jsonb - 'created_at' from daily_order_report r where day <> '2026-01-09' order by day";
        sqlx::query_scalar::<_, serde_json::Value>(sql)
            .fetch_all(&app.pool)
            .await
            .unwrap()
    };
    let expected = json!({
        "day": "2026-01-10", "total_orders": 5, "confirmed_orders": 2, "rejected_orders": 2, "pending_orders": 1,
        "total_revenue": 30.75,
    });
    assert_eq!(reports().await, std::slice::from_ref(&expected));

    // Another run on the same day keeps the report, even if the numbers have changed.
    execute(
        &app.pool,
        "update orders set status = 'REJECTED' where status = 'PENDING'",
    )
    .await;
    done(&queues, "second", PeriodicJob::DailyOrderReport { day }).await;
    assert_eq!(reports().await, [expected]);

    let empty = NaiveDate::from_ymd_opt(2025, 12, 31).unwrap();
    done(&queues, "third", PeriodicJob::DailyOrderReport { day: empty }).await;
    assert_eq!(
        (
            &reports().await[0]["total_orders"],
            &reports().await[0]["total_revenue"]
        ),
        (&json!(0), &json!(0))
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_outbox_rows_of_confirmed_orders_are_cleaned_up() {
    let app = TestApp::start().await;
    execute(
        &app.pool,
        "insert into outbox (order_ids, due_at) select order_ids::bigint[], now() + interval '1 h'
         from unnest(array['{1, 3}', '{2, 3}', '{4}', '{5}']) order_ids;
         insert into order_confirmation (order_id) values (1), (3), (5), (77)",
    )
    .await;
    let (worker, queues) = (Worker::start(&app), queues(&app));
    done(&queues, "now", PeriodicJob::CleanUpOutbox).await;
    assert_eq!(
        owed(&app.pool).await,
        [2, 3, 4],
        "a row with due confirmations stays complete"
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_made_before_ids_reach_their_end() {
    let app = TestApp::start().await;
    let (store, lamp) = (app.store("Main Store").await, app.product("Lamp", "10.00").await);
    app.stock(store, lamp, 100).await;
    let options = app.database_url.parse().unwrap();
    partitions::convert(&options, 8).await.unwrap();
    let (worker, queues) = (Worker::start(&app), queues(&app));
    for run in 0..4 {
        let ids =
            "select nextval('orders_id_seq'), nextval('stock_movement_id_seq') from generate_series(1, 15)";
        execute(&app.pool, ids).await;
        done(&queues, &format!("run {run}"), PeriodicJob::MakePartitions).await;
        app.order(store, &[(lamp, 1)]).await.created();
    }
    worker.stop().await;
}

#[tokio::test]
async fn run_pushed_by_two_schedulers_is_one_job() {
    let app = TestApp::start().await;
    let (one, other) = (queues(&app), queues(&app));
    let push = |queues: &Queues| {
        let queue = queues.periodic.clone();
        async move {
            queue
                .push("reject-stuck-orders-1700000000", &PeriodicJob::RejectStuckOrders)
                .await
                .unwrap()
        }
    };
    let (first, second) = tokio::join!(push(&one), push(&other));
    assert_ne!(first, second, "one is queued, the other is known already");
    assert_eq!(one.periodic.counts().await.unwrap().ready, 1);
}
