//! `/api/inventory/reversals/`: movements are taken back once, all or none.

use std::sync::Arc;

use afforo::{
    auth::{Scope, Stores},
    config::ApiAuth,
};
use serde_json::{Value, json};
use sqlx::Executor;
use tokio::task::JoinSet;

use crate::{
    auth::guarded,
    support::{
        app::{Answer, TestApp, send},
        books::no_deadlocks,
    },
};

const PATH: &str = "/api/inventory/reversals/";

/// Two stock rows with ten units each, and a delivery of 5 and 7 units that raises both. The ids of all are 1 and 2.
async fn delivered() -> (TestApp, i64, [i64; 2]) {
    let app = TestApp::start().await;
    let store = app.store("Main").await;
    let (lamp, chair) = (
        app.product("Lamp", "10.00").await,
        app.product("Chair", "5.00").await,
    );
    app.stock(store, lamp, 10).await;
    app.stock(store, chair, 10).await;
    let ids = adjust(&app, "GRN-1", &[(1, 5), (2, 7)]).await;
    (app, store, [ids[0], ids[1]])
}

/// Adjusts rows under a reference, and returns the ids of the movements.
async fn adjust(app: &TestApp, reference: &str, deltas: &[(i64, i64)]) -> Vec<i64> {
    let items: Vec<Value> = deltas
        .iter()
        .map(|(row, delta)| json!({ "inventory_id": row, "delta": delta }))
        .collect();
    let body = json!({ "reason_code": "RECEIVED", "reference": reference, "adjustments": items });
    let answer = app.post("/api/inventory/adjustments/", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let results = answer.body["results"].as_array().unwrap().clone();
    let ids = results
        .iter()
        .map(|result| result["movement_id"].as_i64().unwrap());
    ids.collect()
}

async fn reverse(app: &TestApp, movements: &[i64]) -> Answer {
    let body = json!({ "movement_ids": movements, "reason": "Sent back" });
    app.post(PATH, &body).await
}

async fn reverse_reference(app: &TestApp, reference: &str) -> Answer {
    let body = json!({ "reference": reference, "reason": "Sent back" });
    app.post(PATH, &body).await
}

async fn quantities(app: &TestApp) -> [i64; 2] {
    [app.quantity(1).await, app.quantity(2).await]
}

fn already_reversed(answer: &Answer, movement: i64) {
    answer.is(
        409,
        json!({ "detail": "The movement is reversed already.", "code": "already_reversed", "movement_id": movement }),
    );
}

#[tokio::test]
async fn a_reversed_reference_sums_to_zero_and_is_reversed_once() {
    let (app, _, [first, second]) = delivered().await;
    let third = adjust(&app, "GRN-1", &[(1, 2)]).await[0];
    assert_eq!(reverse(&app, &[third]).await.status, 201);
    let answer = reverse_reference(&app, "GRN-1").await;
    let ids = answer.body["results"].as_array().unwrap();
    let ids: Vec<i64> = ids
        .iter()
        .map(|row| row["movement_id"].as_i64().unwrap())
        .collect();
    answer.is(
        201,
        json!({ "results": [
            { "movement_id": ids[0], "inventory_id": 1, "quantity_before": 15, "quantity_after": 10, "reverses": [first] },
            { "movement_id": ids[1], "inventory_id": 2, "quantity_before": 17, "quantity_after": 10, "reverses": [second] },
        ] }),
    );
    let of_reference = app.get("/api/inventory/movements/?reference=GRN-1").await;
    assert_eq!(of_reference.column("delta"), [-7, -5, -2, 2, 7, 5]);
    let reversed_by = [None, None, None, Some(third + 1), Some(ids[1]), Some(ids[0])];
    assert_eq!(
        of_reference.column("reversed_by"),
        reversed_by.map(|id| json!(id))
    );
    assert_eq!(
        of_reference.column("kind")[..4],
        ["REVERSAL", "REVERSAL", "REVERSAL", "ADJUSTMENT"]
    );
    already_reversed(&reverse_reference(&app, "GRN-1").await, first);
    already_reversed(&reverse(&app, &[second]).await, second);
    assert_eq!(quantities(&app).await, [10, 10]);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn movements_of_one_row_are_reversed_by_one_movement() {
    let (app, ..) = delivered().await;
    let mut ids = adjust(&app, "A", &[(1, 100)]).await;
    ids.extend(adjust(&app, "B", &[(1, -115)]).await);
    let answer = reverse(&app, &ids).await;
    let result = &answer.body["results"];
    assert_eq!(result.as_array().map(Vec::len), Some(1), "{}", answer.text);
    assert_eq!(
        (&result[0]["quantity_after"], &result[0]["reverses"]),
        (&json!(15), &json!(ids))
    );
    let movement = app.get("/api/inventory/1/movements/").await.body["results"][0].clone();
    assert_eq!(
        (&movement["delta"], &movement["reference"], &movement["reason"]),
        (&json!(15), &json!(null), &json!("Sent back"))
    );
    // A sum of 0 is a movement, too.
    let zero = [
        adjust(&app, "C", &[(1, 4)]).await,
        adjust(&app, "C", &[(1, -4)]).await,
    ]
    .concat();
    assert_eq!(reverse(&app, &zero).await.status, 201);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn nothing_is_reversed_if_a_quantity_becomes_impossible() {
    let (app, store, ids) = delivered().await;
    app.order(store, &[(2, 12)]).await.created();
    let refused = |code: &str, detail: &str, facts: Value| {
        let mut body = json!({ "detail": detail, "code": code, "inventory_id": 2 });
        body.as_object_mut()
            .unwrap()
            .extend(facts.as_object().unwrap().clone());
        body
    };
    let too_few = "There are fewer units in stock.";
    reverse(&app, &ids).await.is(
        409,
        refused("insufficient_stock", too_few, json!({ "quantity": 5 })),
    );
    assert_eq!(quantities(&app).await, [15, 5]);
    adjust(&app, "X", &[(2, 5)]).await;
    app.pool
        .execute("update inventory set reserved = 4 where id = 2")
        .await
        .unwrap();
    let reserved = "The quantity would fall below the reserved units.";
    reverse(&app, &ids).await.is(
        409,
        refused("reserved", reserved, json!({ "quantity": 10, "reserved": 4 })),
    );
    app.pool
        .execute("update inventory set reserved = 0")
        .await
        .unwrap();
    let taken = adjust(&app, "Y", &[(2, -9)]).await;
    adjust(&app, "Z", &[(2, i64::from(i32::MAX) - 5)]).await;
    reverse(&app, &taken).await.is(
        409,
        refused(
            "exceeds_quantity",
            "The quantity would exceed 2147483647.",
            json!({ "quantity": 2_147_483_643 }),
        ),
    );
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn unknown_movements_and_other_kinds_are_refused_by_field() {
    let (app, store, [first, second]) = delivered().await;
    app.order(store, &[(1, 1)]).await.created();
    let sold = first + 2;
    for (body, errors) in [
        (
            json!({}),
            json!({ "reason": ["This field is required."], "non_field_errors": ["Send either movement_ids or reference."] }),
        ),
        (
            json!({ "movement_ids": [first], "reference": "GRN-1", "reason": "x" }),
            json!({ "non_field_errors": ["Send either movement_ids or reference."] }),
        ),
        (
            json!({ "movement_ids": [first, first], "reason": "x" }),
            json!({ "movement_ids": ["Each movement may appear once."] }),
        ),
        (
            json!({ "movement_ids": [], "reason": "x" }),
            json!({ "movement_ids": ["At least one item is required"] }),
        ),
        (
            json!({ "movement_ids": 7, "reason": "x" }),
            json!({ "movement_ids": ["Expected a list of items but got type \"int\"."] }),
        ),
        (
            json!({ "movement_ids": [first, "x"], "reason": "x" }),
            json!({ "movement_ids": ["A valid integer is required."] }),
        ),
        (
            json!({ "movement_ids": (1..=1001).collect::<Vec<i64>>(), "reason": "x" }),
            json!({ "movement_ids": ["Ensure this field has no more than 1000 elements."] }),
        ),
        (
            json!({ "movement_ids": [first, 99], "reason": "x" }),
            json!({ "movement_ids": ["Invalid pk \"99\" - object does not exist."] }),
        ),
        (
            json!({ "movement_ids": [first, sold], "reason": "x" }),
            json!({ "movement_ids": [format!("Movement {sold} is of kind ORDER, which cannot be reversed.")] }),
        ),
        (
            json!({ "reference": "GRN-2", "reason": "x" }),
            json!({ "reference": ["No movement that can be reversed has this reference."] }),
        ),
    ] {
        app.post(PATH, &body).await.is(400, errors);
    }
    let reversal = reverse(&app, &[first]).await.body["results"][0]["movement_id"].clone();
    reverse(&app, &[reversal.as_i64().unwrap()]).await.is(
        400,
        json!({ "movement_ids": [format!("Movement {reversal} is of kind REVERSAL, which cannot be reversed.")] }),
    );
    let many: Vec<(i64, i64)> = vec![(1, 1), (2, 1)];
    app.pool
        .execute(
            "insert into stock_movement (inventory_id, kind, delta, quantity_after, reference)
             select 1, 'ADJUSTMENT', 0, 9, 'BULK' from generate_series(1, 999)",
        )
        .await
        .unwrap();
    let last = adjust(&app, "BULK", &many).await;
    reverse_reference(&app, "BULK").await.is(
        400,
        json!({ "reference": ["More than 1000 movements have this reference: send movement_ids."] }),
    );
    // Ids that are far from each other.
    assert_eq!(reverse(&app, &[last[1], second]).await.status, 201);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn movements_from_before_a_move_cannot_be_reversed() {
    let (app, _, [first, _]) = delivered().await;
    let elsewhere = app.store("North").await;
    let moved = app
        .patch("/api/inventory/1/", &json!({ "store_id": elsewhere }))
        .await;
    assert_eq!(moved.status, 200);
    reverse(&app, &[first]).await.is(
        400,
        json!({ "movement_ids": [format!("Invalid pk \"{first}\" - object does not exist.")] }),
    );
    let answer = reverse_reference(&app, "GRN-1").await;
    assert_eq!(answer.body["results"][0]["inventory_id"], 2, "{}", answer.text);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn movements_of_other_stores_do_not_exist_for_a_bound_key() {
    let (open, _, ids) = delivered().await;
    let other = open.store("Other").await;
    let row = open.stock(other, 1, 0).await;
    adjust(&open, "GRN-1", &[(row, 3)]).await;
    let app = open.beside_with(guarded(ApiAuth::All)).await;
    let key = app
        .key(&[Scope::InventoryWrite], Stores::Only([other].into()))
        .await;
    let post = async |body: Value| {
        let request = app.request(reqwest::Method::POST, PATH);
        send(request.header("x-api-key", &key).json(&body)).await
    };
    post(json!({ "movement_ids": [ids[0]], "reason": "x" })).await.is(
        400,
        json!({ "movement_ids": [format!("Invalid pk \"{}\" - object does not exist.", ids[0])] }),
    );
    let answer = post(json!({ "reference": "GRN-1", "reason": "x" })).await;
    assert_eq!(
        answer.body["results"].as_array().map(Vec::len),
        Some(1),
        "{}",
        answer.text
    );
    assert_eq!(answer.body["results"][0]["inventory_id"], row);
    assert_eq!(quantities(&open).await, [15, 17]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_many_concurrent_reversals_of_a_movement_wins() {
    let (app, _, [first, second]) = delivered().await;
    let app = Arc::new(app);
    let mut requests = JoinSet::new();
    for number in 0..16 {
        let app = app.clone();
        requests.spawn(async move {
            match number % 4 {
                0 => reverse_reference(&app, "GRN-1").await,
                1 => reverse(&app, &[second, first]).await,
                _ => reverse(&app, &[first, second]).await,
            }
        });
    }
    let answers = requests.join_all().await;
    let won = answers.iter().filter(|answer| answer.status == 201);
    assert_eq!(won.count(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!(answer.status, 409, "{}", answer.text);
        assert_eq!(answer.body["code"], "already_reversed", "{}", answer.text);
    }
    assert_eq!(quantities(&app).await, [10, 10]);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_reversal_is_audited_with_its_stock_row() {
    let (app, _, [first, _]) = delivered().await;
    assert_eq!(reverse(&app, &[first]).await.status, 201);
    let entries: Vec<(String, Option<String>, Value)> = sqlx::query_as(
        "select action, subject, after from audit_log where action in ('stock.adjusted', 'stock.reversed') order by id",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap();
    let adjusted = json!({ "movements": 2, "reason_code": "RECEIVED", "reference": "GRN-1" });
    let reversed = json!({ "movements": 1, "reference": null, "reason": "Sent back" });
    assert_eq!(
        entries,
        [
            ("stock.adjusted".to_owned(), None, adjusted),
            ("stock.reversed".to_owned(), Some("stock:1".to_owned()), reversed),
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reversals_beside_orders_and_adjustments_keep_all_rules() {
    let (app, store, _) = delivered().await;
    adjust(&app, "STOCK", &[(1, 5000), (2, 5000)]).await;
    let app = Arc::new(app);
    let mut tasks = JoinSet::new();
    for number in 0..12 {
        let app = app.clone();
        tasks.spawn(async move {
            for round in 0..4 {
                let reference = format!("R-{}", (number + round) % 4);
                match number % 3 {
                    0 => drop(adjust(&app, &reference, &[(2, 3), (1, -2)]).await),
                    1 => drop(app.order(store, &[(2, 1), (1, 1)]).await.created()),
                    _ => {
                        let answer = reverse_reference(&app, &reference).await;
                        let is_expected = match answer.status.as_u16() {
                            201 => true,
                            409 => answer.body["code"] == "already_reversed",
                            // No adjustment has the reference yet.
                            status => status == 400,
                        };
                        assert!(is_expected, "{}", answer.text);
                    }
                }
            }
        });
    }
    tasks.join_all().await;
    for number in 0..4 {
        reverse_reference(&app, &format!("R-{number}")).await;
    }
    let sums: Vec<Option<i64>> = sqlx::query_scalar(
        "select sum(delta) from stock_movement where reference like 'R-%' group by reference",
    )
    .fetch_all(&app.pool)
    .await
    .unwrap();
    assert_eq!(sums, [Some(0); 4]);
    assert_eq!(app.unbalanced().await, []);
    no_deadlocks(&app.database_url).await;
}
