//! Migrations on existing data: a database of each earlier version, with rows in every table, is upgraded and stays consistent.

use std::collections::BTreeSet;

use afforo::{
    db::{self, MIGRATIONS},
    partitions,
    product::backfill,
};
use sqlx::{Connection, Executor, PgConnection, PgPool};

use crate::support::{
    app::{TestApp, unbalanced},
    servers,
};

/// Rows that can exist from a version on, valid in every later one.
const ROWS: &[(i64, &str)] = &[
    (
        1,
        "insert into category (name) values ('Lamps'), ('Empty');
         insert into product (title, description, price, category_id, is_active) values
             ('Lamp', 'bright', 10.00, 1, true), ('Café ’s lamp', E'Cafe\\u0301  two', 2.50, 1, true), ('Old', '', 1, 1, false);
         insert into store (name, location) values ('North', 'Here'), ('South', 'There');
         insert into inventory (store_id, product_id, quantity, ordered) values (1, 1, 8, true), (1, 2, 3, false), (2, 1, 40, false);",
    ),
    (
        2,
        "insert into orders (store_id, status, total_amount) values (1, 'CONFIRMED', 20.00), (1, 'CONFIRMED', 10.00);
         insert into orders (store_id, status, rejection_reason, rejections) values (2, 'REJECTED', 'Insufficient stock', '[]');
         insert into order_item (order_id, product_id, quantity, unit_price) values (1, 1, 2, 10.00), (2, 1, 1, 10.00);
         insert into stock_movement (inventory_id, kind, delta, quantity_after, order_id) values
             (1, 'INITIAL', 11, 11, null), (1, 'ORDER', -2, 9, 1), (1, 'ORDER', -1, 8, 2),
             (2, 'INITIAL', 3, 3, null), (3, 'INITIAL', 40, 40, null);
         insert into order_confirmation (order_id) values (1);
         insert into outbox (order_id) values (2);
         insert into daily_order_report values (date '2020-01-01', 0, 0, 0, 0, 0);",
    ),
    (6, "insert into idempotency_key values ('kept', '\\x00', 201, '{}');"),
    (7, "insert into delivery (order_id, channel) values (1, 'webhook');"),
    (
        8,
        "insert into account (username, password_hash, role) values ('ada', 'x', 'staff');
         insert into session (token_hash, account_id, address, user_agent, expires_at)
             values ('\\x01', 1, '::1', 'test', now() + interval '1 day');
         insert into login_attempt (username, address) values ('ada', '::1');
         insert into api_key (name, mac, scopes) values ('till', '\\x02', '{admin}');
         insert into audit_log (actor, action, subject) values ('system', 'product.changed', 'product:1');",
    ),
    (
        10,
        "update product set title = 'Desk lamp' where id = 1;
         insert into product (title, price, category_id) values (E'Cafe\\u0301 stool', 5, 1);",
    ),
    (
        17,
        "insert into opening_balance values (4, 0, -2);
         insert into detached_orders values (1, 'CONFIRMED', 1, 20.00);",
    ),
    (
        20,
        "insert into product_code (code, product_id, kind, pack) values ('LAMP', 1, 'SKU', 1), ('8712', 1, 'BARCODE', 12);",
    ),
    (
        22,
        "insert into stock_movement (inventory_id, kind, delta, quantity_after) values (1, 'ADJUSTMENT', 4, 12), (1, 'REVERSAL', -4, 8);
         insert into movement_reversal select max(id) - 1, max(id) from stock_movement;",
    ),
    (
        23,
        r#"insert into orders (store_id, status, rejection_reason, rejections, external_reference, customer)
               values (2, 'REJECTED', 'Insufficient stock', '[]', 'WEB-1', '{"email": "Ada@Example.com"}');
           with placed as (
               insert into orders (store_id, status, external_reference) values (1, 'PENDING', 'WEB-2') returning *
           )
           insert into order_reference select store_id, external_reference, id from placed;"#,
    ),
    (
        27,
        "with placed as (
               insert into orders (store_id, status, total_amount, version, refunded_amount)
               values (1, 'CONFIRMED', 9.99, 2, 9.99) returning id
           ), item as (
               insert into order_item (order_id, product_id, quantity, unit_price) select id, 1, 1, 9.99 from placed returning *
           ), moved as (
               insert into stock_movement (inventory_id, order_id, kind, delta, quantity_after)
               select 1, id, 'ORDER', -1, 7 from placed
           ), confirmed as (
               insert into order_confirmation (order_id) select id from placed
           ), progressed as (
               insert into order_line_progress (order_id, item_id, quantity, returned, restocked)
               select order_id, id, 1, 1, 1 from item
           )
           insert into order_document (order_id, kind, items, refund_amount)
           select order_id, 'RETURN', json_build_array(json_build_object('order_item_id', id, 'quantity', 1, 'restocked', 1)), 9.99
           from item;
           insert into stock_movement (inventory_id, order_id, kind, delta, quantity_after, reference_type, reference_id)
           select 1, order_id, 'RETURN', 1, 8, 'RETURN', id from order_document;
           insert into refund_tally values (1, 1, 9.99);",
    ),
    (
        29,
        "with made as (
               insert into reservation (store_id, expires_at, holder) values (1, now(), '') returning *
           )
           insert into reservation_item (reservation_id, inventory_id, product_id, quantity, reserved, expires_at)
           select id, 1, 1, 1, 1, expires_at from made;
           update inventory set reserved = 1 where id = 1;",
    ),
    (
        31,
        "insert into transfer (from_store_id, to_store_id, status) values (1, 2, 'DRAFT');
         insert into transfer_line (transfer_id, product_id, quantity) values (1, 1, 3);",
    ),
    (
        32,
        "insert into stock_count (store_id, blind) values (1, true);
         insert into stock_count_line (count_id, product_id, counted, counted_at, entries) values (1, 1, 3, now(), 1);
         insert into stock_count_entry (count_id, product_id, counted, counted_at, is_added) select 1, 1, 3, counted_at, false
         from stock_count_line;",
    ),
];

/// Tables that the worker, the queries or the operator fill: the data of earlier versions has no rows for them.
const FILLED_LATER: &[&str] = &["_sqlx_migrations", "movement_count", "completed_upgrade"];

/// A database of a version, with the rows that it can have.
async fn database_of(version: i64) -> (servers::TestDatabase, PgPool) {
    let database = servers::empty_database().await;
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    let versions = MIGRATIONS.iter().map(|migration| migration.version);
    for step in versions.filter(|step| *step <= version) {
        MIGRATIONS.run_to(step, &mut connection).await.unwrap();
        for (_, rows) in ROWS.iter().filter(|(from, _)| *from == step) {
            connection.execute(*rows).await.unwrap();
        }
    }
    let pool = PgPool::connect(&database.url()).await.unwrap();
    (database, pool)
}

#[tokio::test]
async fn data_of_every_version_is_upgraded_and_consistent() {
    let app = TestApp::start().await;
    for from in MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .filter(|version| *version >= 2)
    {
        let (database, pool) = database_of(from).await;
        let before = catalog(&pool).await;
        // Later migrations meet partitioned tables.
        if from == 17 {
            let options = database.url().parse().unwrap();
            partitions::convert(&options, 1000).await.unwrap();
        }
        db::migrate(&database.url()).await.unwrap();
        assert_eq!(unbalanced(&pool).await, [], "from version {from}");
        assert_eq!(catalog(&pool).await, before, "from version {from}");
        assert_eq!(invalid_indexes(&pool).await, 0, "from version {from}");

        while backfill::fold_portion(&pool).await.unwrap() {}
        let server = app.beside_on(&database.url()).await;
        let found = server.get("/api/products/search/?q=CAF%C3%89+%27s").await.body;
        assert_eq!(found["count"], 1, "from version {from}");
        server.order(1, &[(1, 8)]).await.created();
        assert_eq!(server.order(1, &[(1, 1)]).await.status, 200, "nothing is left");
        assert_eq!(unbalanced(&pool).await, [], "from version {from}, after orders");
    }
}

async fn invalid_indexes(pool: &PgPool) -> i64 {
    let count = sqlx::query_scalar("select count(*) from pg_index where not indisvalid");
    count.fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn an_index_that_an_interrupted_migration_has_left_is_built_again() {
    let (database, pool) = database_of(20).await;
    pool.execute(
        "create index stock_movement_by_kind on stock_movement (kind, id) where kind <> 'ORDER';
         update pg_index set indisvalid = false where indexrelid = 'stock_movement_by_kind'::regclass",
    )
    .await
    .unwrap();
    db::migrate(&database.url()).await.unwrap();
    assert_eq!(invalid_indexes(&pool).await, 0);
    let found = "select count(*) from pg_indexes where indexname like 'stock_movement_by_%'";
    let found: i64 = sqlx::query_scalar(found).fetch_one(&pool).await.unwrap();
    assert_eq!(found, 3);
}

/// The product and stock data that clients see.
async fn catalog(pool: &PgPool) -> Vec<(String, i32)> {
    let rows =
        "select p.title, i.quantity from inventory i join product p on p.id = i.product_id order by i.id";
    sqlx::query_as(rows).fetch_all(pool).await.unwrap()
}

#[tokio::test]
async fn rows_cover_every_table() {
    let latest = MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap();
    let (_database, pool) = database_of(latest).await;
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
            .fetch_all(&pool)
            .await
            .unwrap();
    let mut empty = BTreeSet::new();
    for table in tables {
        let count = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let count: i64 = sqlx::query_scalar(count).fetch_one(&pool).await.unwrap();
        if count == 0 && !FILLED_LATER.contains(&table.as_str()) {
            empty.insert(table);
        }
    }
    assert_eq!(empty, BTreeSet::new(), "add rows for new tables");
}
