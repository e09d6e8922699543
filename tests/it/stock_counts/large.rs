//! Stock counts of more lines than a transaction applies.

use reqwest::Method;
use serde_json::json;

use super::{apply, begin, entered, line, numbers, shop, status};
use crate::support::app::{TestApp, send};

/// Adds products with ten units each to the store, and counts some of them.
async fn add_stock(app: &TestApp, products: i64, counted: i64) {
    for sql in [
        "insert into product (title, description, price, category_id) select 'P' || n, '', 1, 1 from generate_series(1, $1) n",
        "with row as (insert into inventory (store_id, product_id, quantity) select 1, id, 10 from product where title like 'P%' and $1 > 0
                      returning id)
         insert into stock_movement (inventory_id, kind, delta, quantity_after) select id, 'INITIAL', 10, 10 from row",
        "with line as (
             insert into stock_count_line (count_id, product_id, counted, counted_at, entries)
             select 1, id, 9, statement_timestamp(), 1 from product where title like 'P%' order by id limit $1
             returning *
         )
         insert into stock_count_entry (count_id, product_id, counted, counted_at, is_added)
         select count_id, product_id, counted, counted_at, false from line",
    ] {
        let number = if sql.starts_with("with line") { counted } else { products };
        sqlx::query(sql).bind(number).execute(&app.pool).await.unwrap();
    }
}

async fn units(app: &TestApp) -> i64 {
    sqlx::query_scalar("select sum(quantity) from inventory")
        .fetch_one(&app.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn lines_are_applied_in_portions_that_a_dry_run_predicts() {
    let app = shop().await;
    begin(&app).await;
    add_stock(&app, 1200, 800).await;
    assert_eq!(units(&app).await, 12_030);
    let zero = json!({ "uncounted": "zero" });
    let dry = app.post("/api/stock-counts/1/apply/?dry_run=true", &zero).await;
    assert_eq!(numbers(&dry.body), (1202, 0, 0, false));
    assert_eq!(units(&app).await, 12_030);
    assert_eq!(apply(&app, zero).await, (1202, 0, 0, false));
    assert_eq!(units(&app).await, 800 * 9);
    let transactions: i64 =
        sqlx::query_scalar("select count(*) from audit_log where action = 'stock_count.applied'")
            .fetch_one(&app.pool)
            .await
            .unwrap();
    assert_eq!(transactions, 3);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_repeated_key_applies_nothing_that_was_entered_later() {
    let app = shop().await;
    begin(&app).await;
    entered(&app, json!([line(1, 3)])).await;
    app.order(1, &[(1, 15)]).await.created();
    let apply_under_key = async || {
        let request = app.request(Method::POST, "/api/stock-counts/1/apply/");
        send(request.header("idempotency-key", "a").json(&json!({}))).await
    };
    let first = apply_under_key().await;
    assert_eq!(numbers(&first.body), (0, 1, 0, true));
    add_stock(&app, 600, 600).await;
    let before = units(&app).await;
    let repeated = apply_under_key().await;
    assert_eq!(
        (repeated.text.as_str(), repeated.header("idempotent-replayed")),
        (first.text.as_str(), "true")
    );
    assert_eq!(units(&app).await, before);
    assert_eq!(apply(&app, json!({})).await, (600, 1, 0, true));
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_request_applies_up_to_ten_thousand_lines() {
    let app = shop().await;
    begin(&app).await;
    add_stock(&app, 10_001, 10_001).await;
    assert_eq!(apply(&app, json!({})).await, (10_000, 0, 0, true));
    assert_eq!(status(&app).await, "OPEN");
    assert_eq!(apply(&app, json!({})).await, (10_001, 0, 0, false));
    assert_eq!(status(&app).await, "APPLIED");
    assert_eq!(app.unbalanced().await, []);
}
