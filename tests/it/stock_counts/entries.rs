//! What people enter, alone and together.

use serde_json::{Value, json};

use super::{begin, enter, entered, line, shop};
use crate::support::app::TestApp;

/// The time some milliseconds before now, by the clock of the database.
async fn ago(app: &TestApp, milliseconds: f64) -> String {
    sqlx::query_scalar(
        "select to_char((now() - make_interval(secs => $1 / 1000)) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
    )
    .bind(milliseconds)
    .fetch_one(&app.pool)
    .await
    .unwrap()
}

/// Begins a stock count that is an hour old.
async fn begin_an_hour_ago(app: &TestApp) {
    begin(app).await;
    sqlx::query("update stock_count set created_at = created_at - interval '1 hour'")
        .execute(&app.pool)
        .await
        .unwrap();
}

fn at(product: i64, counted: i64, time: &str, add: bool) -> Value {
    json!({ "product_id": product, "counted": counted, "counted_at": time, "add": add })
}

#[tokio::test]
async fn scans_are_added_up_by_code_with_the_units_of_a_pack() {
    let app = shop().await;
    let codes =
        json!({ "sku": "LAMP", "barcodes": [{ "code": "4001", "pack": 1 }, { "code": "4012", "pack": 12 }] });
    assert_eq!(app.patch("/api/products/1/", &codes).await.status, 200);
    begin(&app).await;
    let scanned = json!([
        { "code": "4012", "counted": 1, "add": true },
        { "code": "4001", "counted": 2, "add": true },
        { "sku": "LAMP", "counted": 1, "add": true },
        { "code": "LAMP", "counted": 1, "add": true },
        { "product_id": 2, "counted": 4 },
    ]);
    let lines = entered(&app, scanned).await;
    assert_eq!(
        (&lines[0]["counted"], &lines[0]["entries"]),
        (&json!(16), &json!(4))
    );
    assert_eq!(
        (&lines[1]["product_title"], &lines[1]["counted"]),
        (&json!("Chair"), &json!(4))
    );
    let lines = entered(&app, json!([{ "code": "4012", "counted": 2, "add": true }])).await;
    assert_eq!(lines[0]["counted"], 40);
    let replaced = entered(&app, json!([line(1, 5)])).await;
    assert_eq!(
        (&replaced[0]["counted"], &replaced[0]["entries"]),
        (&json!(5), &json!(6))
    );
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn of_two_people_the_later_count_holds_and_both_are_kept() {
    let app = shop().await;
    begin_an_hour_ago(&app).await;
    let (early, late) = (ago(&app, 2000.0).await, ago(&app, 1000.0).await);
    assert_eq!(
        entered(&app, json!([at(1, 18, &late, false)])).await[0]["counted"],
        18
    );
    // An earlier count that arrives later does not hold.
    let lines = entered(&app, json!([at(1, 15, &early, false)])).await;
    assert_eq!(
        (&lines[0]["counted"], &lines[0]["entries"]),
        (&json!(18), &json!(2))
    );
    assert_eq!(lines[0]["counted_at"], json!(late));
    let kept = app.get("/api/stock-counts/1/entries/?product_id=1").await;
    assert_eq!(kept.column("counted"), [18, 15]);
    assert_eq!(kept.column("counted_at"), [json!(late), json!(early)]);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn entries_take_effect_in_the_sequence_of_their_times() {
    let app = shop().await;
    begin_an_hour_ago(&app).await;
    let mut times = Vec::new();
    for milliseconds in [5000.0, 4000.0, 3000.0, 2000.0] {
        times.push(ago(&app, milliseconds).await);
    }
    // In the sequence of their times: 3 added, 10 counted, 2 added, 4 added.
    let in_time = [
        at(1, 3, &times[0], true),
        at(1, 10, &times[1], false),
        at(1, 2, &times[2], true),
        at(1, 4, &times[3], true),
    ];
    for (sent, counted) in [(2, 2), (0, 5), (3, 9), (1, 16)] {
        let lines = entered(&app, json!([in_time[sent]])).await;
        assert_eq!(lines[0]["counted"], counted, "after entry {sent}");
    }
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_line_that_is_applied_takes_no_more_entries() {
    let app = shop().await;
    begin(&app).await;
    entered(&app, json!([line(1, 20), line(2, 1)])).await;
    app.order(1, &[(2, 5)]).await.created();
    let applied = app.post("/api/stock-counts/1/apply/", &json!({})).await;
    assert_eq!(applied.body["failed"], 1, "{}", applied.text);
    enter(&app, json!([line(2, 4), line(1, 20)])).await.is(
        409,
        json!({ "detail": "The line of product 1 is applied.", "code": "invalid_transition" }),
    );
    // The one that has failed is counted again.
    let lines = entered(&app, json!([line(2, 4)])).await;
    assert_eq!(lines[0]["counted"], 4);
    let applied = app.post("/api/stock-counts/1/apply/", &json!({})).await;
    assert_eq!(super::numbers(&applied.body), (2, 0, 0, false));
    assert_eq!(super::quantities(&app).await, [(1, 20), (2, 4)]);
    assert_eq!(app.unbalanced().await, []);
}
