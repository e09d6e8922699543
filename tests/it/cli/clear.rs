//! `afforo seed --clear` deletes all data and does not reuse ids, which other systems may still hold.

use std::collections::BTreeMap;

use afforo::{
    auth::{Scope, Stores},
    config::{ApiAuth, ApiAuthSetting, HttpSettings},
    seed,
};
use reqwest::Method;
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor, PgPool};

use super::{TestApp, afforo, run};
use crate::support::app::{order, production, send};

/// Tables that are not shop data, and why they stay. All others are emptied: add a new table to the statement of
/// `seed::clear` or to this list.
const KEPT: [(&str, &str); 8] = [
    ("_sqlx_migrations", "the schema stays"),
    ("account", "people still log in"),
    ("session", "people stay logged in"),
    ("login_attempt", "a login that is guessed stays held back"),
    (
        "api_key",
        "programs go on; a store that a key is bound to is gone, and its id never comes back",
    ),
    ("audit_log", "it is only added to"),
    ("history_start", "ids of detached orders are never used again"),
    ("completed_upgrade", "it concerns the servers"),
];

/// Every table, with the number of its rows.
async fn tables(db: &PgPool) -> BTreeMap<String, i64> {
    let names: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition",
    )
    .fetch_all(db)
    .await
    .unwrap();
    let mut tables = BTreeMap::new();
    for name in names {
        let count = AssertSqlSafe(format!("select count(*) from {name}"));
        let rows = sqlx::query_scalar(count).fetch_one(db).await.unwrap();
        tables.insert(name, rows);
    }
    tables
}

#[tokio::test]
async fn clear_empties_every_table_except_the_kept_ones() {
    let app = TestApp::start().await;
    let (store, lamp) = (app.store("Main").await, app.product("Lamp", "9.99").await);
    app.stock(store, lamp, 12).await;
    app.key(&[Scope::OrdersWrite], Stores::Only([store].into())).await;
    let ordered = app
        .request(Method::POST, "/api/orders/")
        .header("idempotency-key", "once");
    send(ordered.json(&order(store, &[(lamp, 3)]))).await.created();
    let title = json!({ "title": "Cafe\u{301} lamp" });
    let renamed = app.patch(&format!("/api/products/{lamp}/"), &title).await;
    assert_eq!(renamed.status, 200);
    app.pool
        .execute(
            "insert into order_confirmation (order_id) values (1);
             insert into delivery (order_id, channel) values (1, 'webhook');
             insert into movement_count values (1, 1, 1);
             insert into order_line_progress values (1, 1, 3, 1, 0, 0, 1);
             insert into order_document (order_id, kind, items) values (1, 'CANCELLATION', '[]');
             update orders set refunded_amount = 1;
             insert into reservation (store_id, expires_at, holder) select min(id), now(), '' from store;
             insert into reservation_item select r.id, 1, p.id, 1, 0, now() from reservation r, product p;
             insert into movement_reversal values (1, 2);
             insert into store (name, location) values ('South', 'There');
             insert into transfer (from_store_id, to_store_id) select min(id), max(id) from store;
             insert into transfer_line (transfer_id, product_id, quantity) select 1, min(id), 1 from product;
             insert into stock_count (store_id, blind) select min(id), true from store;
             insert into stock_count_line (count_id, product_id, counted, counted_at) select 1, min(id), 1, now() from product;
             insert into stock_count_entry (count_id, product_id, counted, counted_at, is_added)
             select 1, min(id), 1, now(), true from product;
             insert into opening_balance values (2, 0, 0);
             insert into detached_orders values (1, 'CONFIRMED', 1, 9.99);
             insert into order_reference values (1, 'WEB-1', 1);
             insert into order_key values ('REFERENCE', 'WEB-1', 1);
             insert into product_folding values (1);
             insert into product_code (code, product_id, kind) select 'LAMP', min(id), 'SKU' from product;
             insert into daily_order_report values (current_date, 1, 1, 0, 0, 29.97);
             insert into account (username, password_hash, role) values ('ada', '', 'staff');
             insert into session select '', id, '', '', now(), now(), now() from account;
             insert into login_attempt (username, address) values ('ada', '')",
        )
        .await
        .unwrap();
    let before = tables(&app.pool).await;
    for (table, rows) in &before {
        assert!(
            *rows > 0,
            "{table} is empty: this test has to put something into it"
        );
    }
    let mut connection = app.pool.acquire().await.unwrap();
    seed::clear(&mut connection).await.unwrap();
    for (table, rows) in tables(&app.pool).await {
        let is_kept = KEPT.iter().any(|(kept, _)| *kept == table);
        let expected = if is_kept { before[&table] } else { 0 };
        assert_eq!(rows, expected, "{table}");
    }
}

#[tokio::test]
async fn ids_of_cleared_records_are_never_used_again() {
    let app = TestApp::start().await;
    let seed = async || {
        let args = "seed --clear --yes --products 4 --stores 2 --categories 2 --inventory 8 --random-seed 5";
        let output =
            run(afforo(&args.split(' ').collect::<Vec<_>>()).env("DATABASE_URL", &app.database_url)).await;
        assert_eq!(output.code, Some(0), "{}", output.err);
    };
    let first_ids = async || {
        let sql = "select min(i.store_id), min(i.product_id), min(i.id), min(c.id), max(i.store_id), max(i.product_id),
                       max(i.id), max(c.id) from inventory i, category c";
        let ids: [i64; 8] = sqlx::query_as::<_, (i64, i64, i64, i64, i64, i64, i64, i64)>(sql)
            .fetch_one(&app.pool)
            .await
            .unwrap()
            .into();
        ids
    };
    let place = async |store, product| {
        let request = app
            .request(Method::POST, "/api/orders/")
            .header("idempotency-key", "basket-7");
        send(request.json(&order(store, &[(product, 1)]))).await
    };
    seed().await;
    let old = first_ids().await;
    let key = app.key(&[Scope::Admin], Stores::Only([old[0]].into())).await;
    let first = place(old[0], old[1]).await.created();
    app.pool
        .execute("insert into delivery (order_id, channel, due_at, delivered_at) select max(id), 'webhook', null, now() from orders")
        .await
        .unwrap();

    seed().await;
    let new = first_ids().await;
    for record in 0..4 {
        assert!(new[record] > old[record + 4], "{new:?} after {old:?}");
    }
    assert_eq!(app.get("/api/orders/").await.body["count"], 0);
    let answer = place(new[0], new[1]).await;
    assert_eq!(answer.header("idempotent-replayed"), "");
    assert!(answer.created() > first, "{}", answer.text);
    let told: i64 = sqlx::query_scalar("select count(*) from delivery")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(told, 0, "no message of the new order counts as sent");
    let guarded = app
        .beside_with(HttpSettings {
            api_auth: ApiAuthSetting(Some(ApiAuth::All)),
            ..production()
        })
        .await;
    let stores = send(guarded.request(Method::GET, "/api/stores/").bearer_auth(&key)).await;
    assert_eq!(
        (stores.status.as_u16(), &stores.body["results"]),
        (200, &json!([])),
        "a key that was bound to a store sees none of the new ones"
    );
    assert!(app.unbalanced().await.is_empty());
}
