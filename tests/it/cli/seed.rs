//! `afforo seed`

use sqlx::PgPool;

use super::{Running, TestApp, afforo, on, run};
use crate::support::{program::Output, servers};

async fn seed(url: &str, args: &str) -> Output {
    let line: Vec<&str> = ["seed"].into_iter().chain(args.split_whitespace()).collect();
    run(afforo(&line).env("DATABASE_URL", url)).await
}

#[tokio::test]
async fn demo_data_have_the_amounts_and_proportions_of_the_original() {
    let app = TestApp::start().await;
    let output = seed(&app.database_url, "--stores 100 --random-seed 7").await;
    assert_eq!(output.code, Some(0), "{}", output.err);
    let counts: (i64, i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from category), (select count(*) from product), (select count(*) from store),
             (select count(*) from inventory)",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!((counts.0, counts.1, counts.2), (12, 1000, 100));
    let expected = format!(
        "Made 12 categories, 1000 products, 100 stores, {} stock rows and 0 orders: ",
        counts.3
    );
    assert!(output.out.starts_with(&expected), "{}", output.out);

    let number = async |sql| number::<f64>(&app, sql).await;
    let active = number("select avg(is_active::int)::float8 from product").await;
    assert!((0.92..0.98).contains(&active), "about 95 % of products: {active}");
    let active = number("select avg(is_active::int)::float8 from store").await;
    assert!((0.8..0.98).contains(&active), "about 90 % of stores: {active}");
    for (extreme, sql) in [
        (
            0.55..0.68,
            "select min(n)::float8 from (select count(*) / 1000.0 as n from inventory group by store_id) s",
        ),
        (
            0.82..0.95,
            "select max(n)::float8 from (select count(*) / 1000.0 as n from inventory group by store_id) s",
        ),
    ] {
        let share = number(sql).await;
        assert!(
            extreme.contains(&share),
            "each store has 60 to 90 % of the products: {share}"
        );
    }
    let ranges: (i32, i32, i32, i32) = sqlx::query_as(
        "select min(quantity), max(quantity), min(low_stock_threshold), max(low_stock_threshold) from inventory",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!(
        ranges,
        (0, 500, 5, 20),
        "among tens of thousands of rows every value occurs"
    );
    let unused = number(
        "select count(*)::float8 from category c where not exists (select from product where category_id = c.id)",
    )
    .await;
    assert!(unused.abs() < f64::EPSILON);
    assert!(app.unbalanced().await.is_empty());

    // The documented command works.
    app.order(1, &[(1, 2), (3, 1)]).await.created();
}

#[tokio::test]
async fn same_random_seed_makes_the_same_data() {
    let (one, other, third) = (
        TestApp::start().await,
        TestApp::start().await,
        TestApp::start().await,
    );
    for (app, number) in [(&one, "5"), (&other, "5"), (&third, "6")] {
        let args = format!("--products 80 --stores 4 --random-seed {number}");
        let made = seed(&app.database_url, &args).await;
        assert_eq!(made.code, Some(0), "{}", made.err);
    }
    assert_eq!(data(&one.pool).await, data(&other.pool).await);
    assert_ne!(data(&one.pool).await, data(&third.pool).await);
}

#[tokio::test]
async fn seed_without_clear_adds_to_existing_data() {
    let app = TestApp::start().await;
    for (expected, output) in [
        (3, ""),
        (
            6,
            "There are 5 categories, 20 products and 3 stores already: 20 products and 3 stores are added to them. \
             `--clear` deletes all data first.\n",
        ),
    ] {
        let args = "--products 20 --stores 3 --categories 5";
        let seeded = seed(&app.database_url, args).await;
        assert_eq!((seeded.code, seeded.err.as_str()), (Some(0), output));
        let stores: i64 = sqlx::query_scalar("select count(*) from store")
            .fetch_one(&app.pool)
            .await
            .unwrap();
        assert_eq!(stores, expected);
    }
    let categories: i64 = sqlx::query_scalar("select count(*) from category")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(categories, 5, "categories of the same name are used again");
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn seed_leaves_out_codes_that_other_products_have() {
    let app = TestApp::start().await;
    let product = app.product("Lamp", "10.00").await;
    let codes = serde_json::json!({ "sku": "AF-000002", "barcodes": [{ "code": "2000000000039" }] });
    let path = format!("/api/products/{product}/");
    assert_eq!(app.patch(&path, &codes).await.status, 200);
    let output = seed(&app.database_url, "--products 5 --stores 1 --random-seed 7").await;
    assert_eq!(output.code, Some(0), "{}", output.err);
    assert_eq!(app.get(&path).await.body["sku"], "AF-000002");
    let skus = number::<i64>(&app, "select count(*) from product_code where kind = 'SKU'").await;
    assert_eq!(
        skus, 5,
        "that of the lamp, and those of four of the five products"
    );
}

#[tokio::test]
async fn seed_without_tables_asks_for_migrate() {
    let database = servers::empty_database().await;
    let output = seed(&database.url(), "").await;
    assert_eq!(output.code, Some(1));
    assert!(
        output.err.contains("run `afforo migrate` first"),
        "{}",
        output.err
    );
    let output = seed(&database.url(), "--categories 0").await;
    assert_eq!(output.code, Some(2));
}

#[tokio::test]
async fn demo_orders_are_spread_over_the_past_thirty_days() {
    let app = TestApp::start().await;
    let begun: String = number(&app, "select now()::text").await;
    // Seeded past orders make an earlier report wrong, so the report is written again.
    let reported = "insert into daily_order_report values (current_date - 1, 0, 0, 0, 0, 0)";
    sqlx::query(reported).execute(&app.pool).await.unwrap();
    let output = seed(
        &app.database_url,
        "--products 150 --stores 20 --inventory 2003 --orders 9000 --random-seed 7",
    )
    .await;
    assert_eq!(output.code, Some(0), "{}", output.err);
    let rows: i64 = number(
        &app,
        "select sum(n)::bigint from (
             select count(*) as n from category union all select count(*) from product union all
             select count(*) from store union all select count(*) from inventory union all
             select count(*) from stock_movement where coalesce(reference_type, 'TRANSFER') in ('TRANSFER', 'STOCK_COUNT') union all select count(*) from orders union all
             select count(*) from transfer union all select count(*) from transfer_line union all
             select count(*) from stock_count union all select count(*) from stock_count_line union all
             select count(*) from stock_count_entry union all
             select count(*) from order_item union all select count(*) from order_confirmation) s",
    )
    .await;
    let expected = format!(
        "Made 12 categories, 150 products, 20 stores, 2003 stock rows and 9000 orders: {rows} rows in "
    );
    assert!(output.out.starts_with(&expected), "{rows}: {}", output.out);
    for (what, sql) in [
        (
            "reservations",
            "select count(*) from reservation where status = 'ACTIVE'",
        ),
        (
            "cancellations",
            "select count(*) from order_document where kind = 'CANCELLATION'",
        ),
        (
            "returns",
            "select count(*) from order_document where kind = 'RETURN'",
        ),
    ] {
        assert!(number::<i64>(&app, sql).await > 0, "{what}");
    }
    let shelves: (i64, i64, i64) = sqlx::query_as(
        "select min(n), max(n), sum(n)::bigint from (select count(*) as n from inventory group by store_id) s",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!(shelves, (100, 101, 2003), "stock rows are spread evenly");

    let orders = app.get("/api/orders/stats/").await.body;
    assert_eq!(orders["total_orders"], 9000);
    assert_eq!(orders["pending_orders"], 0);
    let rejected = orders["rejected_orders"].as_i64().unwrap();
    assert!((180..=450).contains(&rejected), "2 to 5 %: {rejected}");
    let sizes: (i64, i64) = sqlx::query_as(
        "select min(n), max(n) from (select count(*) as n from order_item group by order_id) s",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!(sizes, (1, 3));

    assert!(app.unbalanced().await.is_empty());
    for (what, sql) in [
        ("owed", "select count(*) from outbox"),
        (
            "confirmed but not told, or told but not confirmed",
            "select count(*) from orders o full join order_confirmation c on c.order_id = o.id
             where (o.status = 'CONFIRMED') is distinct from (c.order_id is not null)",
        ),
        (
            "placed where nothing can be ordered",
            "select count(*) from orders o join store s on s.id = o.store_id where not s.is_active",
        ),
        (
            "without its row in the ledger",
            "select count(*) from order_item item join orders o on o.id = item.order_id
                 join inventory i on i.store_id = o.store_id and i.product_id = item.product_id
                 left join stock_movement m
                     on m.inventory_id = i.id and m.order_id = o.id and m.created_at = o.created_at
             where -m.delta is distinct from item.quantity",
        ),
        (
            "out of order",
            "select count(*) from (select created_at, lag(created_at) over (order by id) as before from orders) o
             where created_at <= before",
        ),
        (
            "older than its stock",
            "select count(*) from orders where created_at <= (select max(created_at) from inventory)",
        ),
    ] {
        assert_eq!(number::<i64>(&app, sql).await, 0, "{what}");
    }
    let spread: (bool, bool, bool) = sqlx::query_as(
        "select min(created_at) >= $1::timestamptz - interval '30 days',
             min(created_at) < $1::timestamptz - interval '29 days 23 hours',
             max(created_at) between $1::timestamptz - interval '1 hour' and now() from orders",
    )
    .bind(begun)
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!(spread, (true, true, true), "over all of the past thirty days");
}

#[tokio::test]
async fn same_random_seed_makes_the_same_orders_in_each_store() {
    let (one, other) = (TestApp::start().await, TestApp::start().await);
    let mut made = Vec::new();
    for app in [&one, &other] {
        let args = "--products 40 --stores 12 --inventory 300 --orders 5000 --random-seed 5";
        let output = seed(&app.database_url, args).await;
        assert_eq!(output.code, Some(0), "{}", output.err);
        let orders: Vec<String> = sqlx::query_scalar(
            "select format('%s %s %s %s %s', store_id, status, total_amount, rejection_reason,
                 (select string_agg(product_id || 'x' || quantity, ' ' order by id) from order_item where order_id = o.id))
             from orders o order by store_id, id",
        )
        .fetch_all(&app.pool)
        .await
        .unwrap();
        made.push((orders, data(&app.pool).await));
    }
    assert_eq!(made[0].0.len(), 5000);
    assert_eq!(made[0], made[1]);
}

#[tokio::test]
async fn demo_orders_of_sold_out_stock_are_rejected() {
    let app = TestApp::start().await;
    let args = "--products 3 --stores 1 --inventory 3 --orders 2000 --random-seed 2";
    let output = seed(&app.database_url, args).await;
    assert_eq!(output.code, Some(0), "{}", output.err);
    assert_eq!(
        number::<i64>(&app, "select sum(quantity) from inventory").await,
        0
    );
    assert!(app.unbalanced().await.is_empty());
    let stats = app.get("/api/orders/stats/").await.body;
    assert_eq!(stats["total_orders"], 2000);
    assert!(stats["rejected_orders"].as_i64().unwrap() > 1000, "{stats}");
}

#[tokio::test]
async fn demo_orders_leave_nothing_for_a_worker_to_confirm() {
    let app = TestApp::start().await;
    let mut worker = afforo(&["worker"]);
    on(&mut worker, &app.database_url, app.redis.url());
    let mut worker = Running::start(&mut worker);
    worker.says("worker started").await;
    let args = "--products 40 --stores 12 --orders 9000";
    let output = seed(&app.database_url, args).await;
    assert_eq!(output.code, Some(0), "{}", output.err);
    // The worker confirms this order last, so it has then processed all earlier ones.
    let stocked: (i64, i64) = sqlx::query_as(
        "select store_id, product_id from inventory i join store s on s.id = i.store_id join product p on p.id = i.product_id
         where i.quantity > 0 and s.is_active and p.is_active limit 1",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    app.order(stocked.0, &[(stocked.1, 1)]).await.created();
    worker.says("order confirmation sent").await;
    assert_eq!(worker.output().matches("order confirmation sent").count(), 1);
    assert_eq!(number::<i64>(&app, "select count(*) from outbox").await, 0);
    assert!(app.unbalanced().await.is_empty());
}

#[tokio::test]
async fn seed_restores_the_indexes_it_drops() {
    const INDEXES: &str = "select string_agg(indexdef, ';' order by indexname) from pg_indexes
        where tablename in ('product', 'inventory')";
    // A rebuilt index has another id.
    const NUMBERS: &str = "select string_agg(indexrelid::text, ' ' order by indexrelid) from pg_index
        where indrelid in ('product'::regclass, 'inventory'::regclass) and not indisunique";
    let app = TestApp::start().await;
    let (indexes, first): (String, String) = (number(&app, INDEXES).await, number(&app, NUMBERS).await);
    let args = "--products 5001 --stores 1 --inventory 5001";
    let output = seed(&app.database_url, args).await;
    assert_eq!(output.code, Some(0), "{}", output.err);
    assert_eq!(number::<String>(&app, INDEXES).await, indexes);
    let anew: String = number(&app, NUMBERS).await;
    assert!(
        first
            .split(' ')
            .all(|index| anew.split(' ').all(|other| other != index)),
        "{first}; {anew}"
    );

    // Fewer rows than the table has: the rest stays readable.
    let output = seed(&app.database_url, "--products 100 --stores 1").await;
    assert_eq!(output.code, Some(0), "{}", output.err);
    assert_eq!(number::<String>(&app, NUMBERS).await, anew);
}

#[tokio::test]
async fn impossible_amounts_are_rejected() {
    let app = TestApp::start().await;
    let args = "--products 10 --stores 2 --inventory 21";
    let output = seed(&app.database_url, args).await;
    assert_eq!(output.code, Some(1));
    assert!(
        output.err.contains("more than every product in every store"),
        "{}",
        output.err
    );
    assert_eq!(number::<i64>(&app, "select count(*) from product").await, 0);
    let output = seed(&app.database_url, "--stores 0 --orders 5").await;
    assert_eq!(output.code, Some(1));
    assert!(output.err.contains("no active store has stock"), "{}", output.err);
}

/// One value of any type.
async fn number<T>(app: &TestApp, sql: &'static str) -> T
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    sqlx::query_scalar(sql).fetch_one(&app.pool).await.unwrap()
}

/// All seeded data without timestamps.
async fn data(pool: &PgPool) -> Vec<String> {
    let mut data = Vec::new();
    for sql in [
        "select format('%s %s', id, name) from category order by id",
        "select format('%s %s %s %s %s %s', id, title, description, price, category_id, is_active) from product order by id",
        "select format('%s %s %s %s', id, name, location, is_active) from store order by id",
        // Without the documents of the latest orders: which are the latest differs.
        "select format('%s %s %s %s %s', id, store_id, product_id, quantity - coalesce((select sum(delta) from stock_movement
             where inventory_id = i.id and reference_type is not null), 0), low_stock_threshold) from inventory i order by id",
        "select format('%s %s %s', inventory_id, kind, delta) from stock_movement where reference_type is null order by inventory_id, id",
    ] {
        data.extend(
            sqlx::query_scalar::<_, String>(sql)
                .fetch_all(pool)
                .await
                .unwrap(),
        );
    }
    data
}
