//! `/api/inventory/{id}/movements/`: changes of a quantity with a reason, and the ledger.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::app::{TestApp, send};

async fn shelf() -> (TestApp, i64, i64, String) {
    let app = TestApp::start().await;
    let (store, product) = (app.store("Main").await, app.product("Lamp", "10.00").await);
    let stock = app.stock(store, product, 10).await;
    (app, store, product, format!("/api/inventory/{stock}/movements/"))
}

fn movement(kind: &str, quantity: i64) -> Value {
    json!({ "kind": kind, "quantity": quantity, "reason": "Spring cleaning" })
}

#[tokio::test]
async fn movements_add_remove_and_count_units_in_the_ledger() {
    let (app, store, product, path) = shelf().await;
    let added = app.post(&path, &movement("add", 5)).await;
    let expected = json!({
        "id": added.body["id"], "inventory_id": 1, "kind": "ADJUSTMENT", "delta": 5, "quantity_after": 15, "order_id": null,
        "actor": null, "reason": "Spring cleaning", "reason_code": null, "reference": null,
        "created_at": added.body["created_at"], "store_id": store, "product_id": product, "reversed_by": null,
    });
    added.is(201, expected);
    assert_eq!(app.post(&path, &movement("remove", 15)).await.body["delta"], -15);
    assert_eq!(
        app.post(&path, &movement("count", 8)).await.body["quantity_after"],
        8
    );
    let confirmed = app.post(&path, &movement("count", 8)).await;
    assert_eq!(
        (confirmed.status.as_u16(), &confirmed.body["delta"]),
        (201, &json!(0))
    );
    app.order(store, &[(product, 3)]).await.created();
    assert_eq!(app.quantity(1).await, 5);
    let ledger = app.get(&path).await;
    assert_eq!(ledger.column("delta"), [-3, 0, 8, -15, 5, 10]);
    assert_eq!(ledger.column("quantity_after"), [5, 8, 8, 0, 15, 10]);
    let by_hand = "ADJUSTMENT";
    assert_eq!(
        ledger.column("kind"),
        ["ORDER", by_hand, by_hand, by_hand, by_hand, "INITIAL"]
    );
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn removing_more_than_the_stock_or_adding_too_many_is_rejected() {
    let (app, _, _, path) = shelf().await;
    app.post(&path, &movement("remove", 11)).await.is(
        400,
        json!({ "quantity": ["Ensure this value is less than or equal to 10, the quantity in stock."] }),
    );
    app.post(&path, &movement("add", 2_147_483_638)).await.is(
        400,
        json!({ "quantity": ["Ensure this value is less than or equal to 2147483637."] }),
    );
    assert_eq!(app.post(&path, &movement("add", 2_147_483_637)).await.status, 201);
    assert_eq!(app.get(&path).await.body["count"], 2);
}

#[tokio::test]
async fn missing_and_invalid_fields_are_reported_by_name() {
    let (app, _, _, path) = shelf().await;
    let required = json!(["This field is required."]);
    app.post(&path, &json!({})).await.is(
        400,
        json!({ "kind": required, "quantity": required, "reason": required }),
    );
    app.post(&path, &json!({ "kind": "steal", "quantity": -1, "reason": " " }))
        .await
        .is(
            400,
            json!({
                "kind": ["\"steal\" is not a valid choice."],
                "quantity": ["Ensure this value is greater than or equal to 0."],
                "reason": ["This field may not be blank."],
            }),
        );
    let long = json!({ "kind": ["add"], "quantity": 1, "reason": "x".repeat(201) });
    app.post(&path, &long).await.is(
        400,
        json!({
            "kind": ["Not a valid string."],
            "reason": ["Ensure this field has no more than 200 characters."],
        }),
    );
    let unknown = "/api/inventory/99/movements/";
    assert_eq!(app.get(unknown).await.status, 404);
    assert_eq!(app.post(unknown, &movement("add", 1)).await.status, 404);
}

#[tokio::test]
async fn concurrent_movements_all_count_and_a_repeated_one_counts_once() {
    let (app, _, _, path) = shelf().await;
    let mut changes = JoinSet::new();
    for number in 0..20 {
        let request = app
            .request(reqwest::Method::POST, &path)
            .json(&movement("add", 1));
        // Each is sent twice.
        let request = request.header("idempotency-key", format!("change-{}", number / 2));
        changes.spawn(async move { send(request).await.status.as_u16() });
    }
    assert!(changes.join_all().await.iter().all(|status| *status == 201));
    assert_eq!(app.quantity(1).await, 20);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn moving_stock_with_orders_is_rejected_with_409() {
    let (app, store, lamp, path) = shelf().await;
    let (elsewhere, chair) = (app.store("North").await, app.product("Chair", "75.00").await);
    let row = path.trim_end_matches("movements/");
    app.order(store, &[(lamp, 3)]).await.created();
    let ledger = app.get(&path).await.text;
    let moves = [
        json!({ "product_id": chair }),
        json!({ "store_id": elsewhere, "quantity": 1 }),
        json!({ "store_id": elsewhere, "product_id": chair }),
    ];
    let refused = r#"{"detail":"Cannot move this stock to another store or product: orders refer to it.","code":"in_use"}"#;
    for body in &moves {
        app.patch(row, body).await.is_text(409, refused);
    }
    app.put(row, &moves[2]).await.is_text(409, refused);
    assert_eq!(app.get(&path).await.text, ledger);
    let same = json!({ "store_id": store, "product_id": lamp, "quantity": 4 });
    assert_eq!(app.put(row, &same).await.body["quantity"], 4);
    // The other product was never ordered.
    assert_eq!(app.delete(&format!("/api/products/{chair}/")).await.status, 204);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn moved_stock_ends_its_ledger_and_begins_another() {
    let (app, store, lamp, path) = shelf().await;
    let (elsewhere, chair) = (app.store("North").await, app.product("Chair", "75.00").await);
    let row = path.trim_end_matches("movements/");
    // An order that was rejected took nothing.
    assert_eq!(app.order(store, &[(lamp, 11)]).await.status, 200);
    let moved = app.patch(row, &json!({ "product_id": chair })).await;
    assert_eq!((moved.status.as_u16(), &moved.body["id"]), (200, &json!(1)));
    let away = json!({ "store_id": elsewhere, "quantity": 0 });
    assert_eq!(app.patch(row, &away).await.status, 200);
    assert_eq!(app.patch(row, &json!({ "product_id": lamp })).await.status, 200);
    let ledger = app.get(&path).await;
    assert_eq!(
        ledger.column("kind"),
        [
            "INITIAL", "REMOVAL", "INITIAL", "REMOVAL", "INITIAL", "REMOVAL", "INITIAL"
        ]
    );
    assert_eq!(ledger.column("delta"), [0, 0, 0, -10, 10, -10, 10]);
    assert_eq!(
        ledger.column("reason")[3..],
        [
            json!("Moved to product 2 in store 2"),
            json!("Moved from product 1 in store 1"),
            json!("Moved to product 2 in store 1"),
            json!(null),
        ]
    );
    for product in [chair, lamp] {
        let deleted = app.delete(&format!("/api/products/{product}/")).await;
        assert_eq!(
            deleted.status, 204,
            "no order refers to the row: {}",
            deleted.text
        );
    }
    assert_eq!(app.unbalanced().await, []);
}

/// Movements of the stock row 1, written directly to the database.
async fn moved(app: &TestApp, movements: i64) {
    sqlx::query(
        "insert into stock_movement (inventory_id, kind, delta, quantity_after)
         select 1, 'ADJUSTMENT', 0, 10 from generate_series(1, $1)",
    )
    .bind(movements)
    .execute(&app.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn long_ledger_is_counted_once_and_exactly() {
    let (app, store, product, path) = shelf().await;
    let counted = async || app.get(&path).await.body["count"].as_i64().unwrap();
    moved(&app, 99_998).await;
    assert_eq!(counted().await, 99_999);
    let noted = async || -> Option<i64> {
        let noted = sqlx::query_scalar("select movements from movement_count where inventory_id = 1");
        noted.fetch_optional(&app.pool).await.unwrap()
    };
    assert_eq!(noted().await, None, "what is short is counted each time");
    moved(&app, 150_000).await;
    assert_eq!(counted().await, 249_999);
    assert_eq!(noted().await, Some(200_000));
    app.order(store, &[(product, 1)]).await.created();
    assert_eq!(app.post(&path, &movement("add", 1)).await.status, 201);
    assert_eq!(counted().await, 250_001);
    let last = app.get(&format!("{path}?page=last")).await;
    assert_eq!(last.column("kind"), ["INITIAL"]);
    // Counted rows are not counted again.
    sqlx::query("delete from stock_movement where inventory_id = 1 and id <= 100")
        .execute(&app.pool)
        .await
        .unwrap();
    assert_eq!(counted().await, 250_001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledger_count_is_exact_while_it_grows() {
    let (app, store, product, path) = shelf().await;
    app.patch("/api/inventory/1/", &json!({ "quantity": 2_000_000 }))
        .await;
    moved(&app, 99_990).await;
    let orders = async {
        for _ in 0..60 {
            app.order(store, &[(product, 1)]).await.created();
        }
    };
    let counts = async {
        let mut last = 0;
        for _ in 0..30 {
            let now = app.get(&path).await.body["count"].as_i64().unwrap();
            assert!(last <= now, "{last} {now}");
            last = now;
        }
    };
    tokio::join!(orders, counts);
    assert_eq!(app.get(&path).await.body["count"], 2 + 99_990 + 60);
    assert_eq!(app.unbalanced().await, []);
}
