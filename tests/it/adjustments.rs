//! `/api/inventory/adjustments/`: changes of many stock rows in one request.

use afforo::{
    auth::{Scope, Stores},
    config::ApiAuth,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    auth::guarded,
    support::app::{Answer, TestApp, send},
};

const PATH: &str = "/api/inventory/adjustments/";

/// Three products in a store, ten units each; the ids of the stock rows are 1, 2 and 3.
async fn three_rows() -> (TestApp, i64, [i64; 3]) {
    let app = TestApp::start().await;
    let store = app.store("Main").await;
    let mut products = [0; 3];
    for (product, title) in products.iter_mut().zip(["Lamp", "Chair", "Desk"]) {
        *product = app.product(title, "10.00").await;
        app.stock(store, *product, 10).await;
    }
    (app, store, products)
}

async fn adjust(app: &TestApp, mode: &str, adjustments: Value) -> Answer {
    let body = json!({ "mode": mode, "reason_code": "RECEIVED", "adjustments": adjustments });
    app.post(PATH, &body).await
}

fn failed(index: usize, code: &str) -> Value {
    json!({ "index": index, "status": "failed", "code": code })
}

#[tokio::test]
async fn each_item_gets_a_result_and_a_movement() {
    let (app, store, [_, chair, _]) = three_rows().await;
    let body = json!({
        "reason_code": "RECEIVED", "reference": "GRN-4711", "note": "Two pallets",
        "adjustments": [
            { "inventory_id": 3, "delta": 24 },
            { "store_id": store, "product_id": chair, "set_to": 4, "expected_quantity": 10, "reason_code": "CORRECTION" },
            { "inventory_id": 1, "set_to": 10, "expected_quantity": null },
        ],
    });
    let answer = app.post(PATH, &body).await;
    let ids: Vec<Value> = (0..3)
        .map(|index| answer.body["results"][index]["movement_id"].clone())
        .collect();
    answer.is(
        200,
        json!({
            "results": [
                { "index": 0, "status": "applied", "inventory_id": 3, "quantity_before": 10, "quantity_after": 34, "movement_id": ids[0] },
                { "index": 1, "status": "applied", "inventory_id": 2, "quantity_before": 10, "quantity_after": 4, "movement_id": ids[1] },
                { "index": 2, "status": "unchanged", "inventory_id": 1, "quantity_before": 10, "quantity_after": 10, "movement_id": ids[2] },
            ],
            "applied": 3, "failed": 0,
        }),
    );
    let movement = app.get("/api/inventory/2/movements/").await.body["results"][0].clone();
    assert_eq!(movement["id"], ids[1]);
    assert_eq!(
        (&movement["kind"], &movement["delta"], &movement["reason_code"]),
        (&json!("ADJUSTMENT"), &json!(-6), &json!("CORRECTION"))
    );
    assert_eq!(
        (&movement["reason"], &movement["reference"]),
        (&json!("Two pallets"), &json!("GRN-4711"))
    );
    let movement = app.get("/api/inventory/1/movements/").await.body["results"][0].clone();
    assert_eq!((&movement["id"], &movement["delta"]), (&ids[2], &json!(0)));
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn all_or_nothing_writes_nothing_if_an_item_fails() {
    let (app, ..) = three_rows().await;
    let items = json!([
        { "inventory_id": 1, "delta": 1 },
        { "inventory_id": 2, "delta": -11 },
        { "inventory_id": 3, "set_to": 1, "expected_quantity": 9 },
        { "inventory_id": 9, "delta": 1 },
        { "store_id": 1, "product_id": 9, "delta": 1 },
        { "inventory_id": 1000, "delta": 1 },
    ]);
    let with = |mut result: Value, id: i64| {
        result["inventory_id"] = id.into();
        result["quantity"] = 10.into();
        result
    };
    let failures = [
        with(failed(1, "insufficient_stock"), 2),
        with(failed(2, "stale_quantity"), 3),
        failed(3, "not_found"),
        failed(4, "not_found"),
        failed(5, "not_found"),
    ];
    let mut results = vec![json!({ "index": 0, "status": "skipped", "inventory_id": 1 })];
    results.extend(failures.clone());
    adjust(&app, "all_or_nothing", items.clone())
        .await
        .is(409, json!({ "results": results, "applied": 0, "failed": 5 }));
    assert_eq!(app.get("/api/inventory/1/movements/").await.body["count"], 1);

    let answer = adjust(&app, "per_item", items).await;
    results[0] = answer.body["results"][0].clone();
    assert_eq!(
        (&results[0]["status"], &results[0]["quantity_after"]),
        (&json!("applied"), &json!(11))
    );
    answer.is(200, json!({ "results": results, "applied": 1, "failed": 5 }));
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn missing_rows_are_created_on_request_for_known_stores_and_products() {
    let (app, ..) = three_rows().await;
    let other = app.store("Other").await;
    let items = json!([
        { "store_id": other, "product_id": 2, "delta": 7 },
        { "store_id": other, "product_id": 99, "delta": 7 },
        { "store_id": 99, "product_id": 1, "delta": 7 },
    ]);
    let body =
        json!({ "mode": "per_item", "reason_code": "FOUND", "create_missing": true, "adjustments": items });
    let answer = app.post(PATH, &body).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["applied"]),
        (200, &json!(1))
    );
    assert_eq!(answer.body["results"][1], failed(1, "not_found"));
    assert_eq!(answer.body["results"][2], failed(2, "not_found"));
    let made = app.get(&format!("/api/inventory/?store_id={other}")).await;
    assert_eq!(
        (&made.body["count"], made.column("quantity")),
        (&json!(1), vec![json!(7)])
    );
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_failed_item_leaves_no_new_row() {
    let (app, ..) = three_rows().await;
    let other = app.store("Other").await;
    let adjust = async |mode: &str| {
        let items = json!([
            { "store_id": other, "product_id": 1, "delta": -1 },
            { "store_id": other, "product_id": 2, "set_to": 4, "expected_quantity": 3 },
            { "store_id": other, "product_id": 3, "set_to": 0, "expected_quantity": 0 },
        ]);
        let body =
            json!({ "mode": mode, "reason_code": "FOUND", "create_missing": true, "adjustments": items });
        app.post(PATH, &body).await
    };
    let failed =
        |index: usize, code: &str| json!({ "index": index, "status": "failed", "code": code, "quantity": 0 });
    let failures = [failed(0, "insufficient_stock"), failed(1, "stale_quantity")];
    let skipped = json!({ "index": 2, "status": "skipped" });
    let refused = adjust("all_or_nothing").await;
    let rows = app.get(&format!("/api/inventory/?store_id={other}")).await;
    refused.is(
        409,
        json!({ "results": [failures[0], failures[1], skipped], "applied": 0, "failed": 2 }),
    );
    assert_eq!(rows.body["count"], 0);
    let done = adjust("per_item").await;
    let rows = app.get(&format!("/api/inventory/?store_id={other}")).await;
    assert_eq!(
        rows.column("id"),
        [done.body["results"][2]["inventory_id"].clone()]
    );
    assert_eq!(
        (&done.body["results"][0], &done.body["results"][1]),
        (&failures[0], &failures[1])
    );
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn rows_of_other_stores_do_not_exist_for_a_bound_key() {
    let (open, store, [lamp, ..]) = three_rows().await;
    let other = open.store("Other").await;
    let app = open.beside_with(guarded(ApiAuth::All)).await;
    let key = app
        .key(&[Scope::InventoryWrite], Stores::Only([other].into()))
        .await;
    let body = json!({
        "mode": "per_item", "reason_code": "FOUND", "create_missing": true,
        "adjustments": [
            { "inventory_id": 1, "delta": 1 },
            { "store_id": store, "product_id": 2, "delta": 1 },
            { "store_id": other, "product_id": lamp, "delta": 1 },
        ],
    });
    let request = app
        .request(reqwest::Method::POST, PATH)
        .header("x-api-key", key)
        .json(&body);
    let answer = send(request).await;
    assert_eq!(answer.body["results"][0], failed(0, "not_found"));
    assert_eq!(answer.body["results"][1], failed(1, "not_found"));
    assert_eq!(answer.body["results"][2]["status"], "applied");
}

#[tokio::test]
async fn invalid_adjustments_are_refused_by_field() {
    let (app, ..) = three_rows().await;
    for (item, errors) in [
        (
            json!({ "delta": 1 }),
            json!({ "non_field_errors": ["Name the stock row by inventory_id, or by store_id with product_id or sku."] }),
        ),
        (
            json!({ "inventory_id": 1, "store_id": 1, "delta": 1 }),
            json!({ "non_field_errors": ["Name the stock row by inventory_id, or by store_id with product_id or sku."] }),
        ),
        (
            json!({ "inventory_id": 1 }),
            json!({ "non_field_errors": ["Send either delta or set_to."] }),
        ),
        (
            json!({ "inventory_id": 1, "delta": 1, "set_to": 1, "expected_quantity": 1 }),
            json!({ "non_field_errors": ["Send either delta or set_to."] }),
        ),
        (
            json!({ "inventory_id": 1, "set_to": 1 }),
            json!({ "expected_quantity": ["This field is required with set_to. Send null to overwrite any quantity."] }),
        ),
        (
            json!({ "inventory_id": 1, "delta": 0 }),
            json!({ "delta": ["Ensure this value is not 0."] }),
        ),
        (
            json!({ "inventory_id": 1, "delta": 2_147_483_648_i64 }),
            json!({ "delta": ["Ensure this value is less than or equal to 2147483647."] }),
        ),
        (
            json!({ "inventory_id": 0, "delta": -2_147_483_649_i64 }),
            json!({
                "inventory_id": ["Ensure this value is greater than or equal to 1."],
                "delta": ["Ensure this value is greater than or equal to -2147483648."],
            }),
        ),
        (
            json!({ "inventory_id": 1, "set_to": -1, "expected_quantity": "x" }),
            json!({
                "expected_quantity": ["A valid integer is required."],
                "set_to": ["Ensure this value is greater than or equal to 0."],
            }),
        ),
        (
            json!({ "inventory_id": 1, "delta": 1, "reason_code": "STOLEN" }),
            json!({ "reason_code": ["\"STOLEN\" is not a valid choice."] }),
        ),
    ] {
        let answer = adjust(&app, "per_item", json!([{ "inventory_id": 2, "delta": 1 }, item])).await;
        answer.is(400, json!({ "adjustments": [{}, errors] }));
    }
    let repeated = json!([{ "inventory_id": 1, "delta": 1 }, { "store_id": 1, "product_id": 1, "delta": 1 }]);
    adjust(&app, "per_item", repeated)
        .await
        .is(400, json!({ "adjustments": ["Each stock row may appear once."] }));
    adjust(&app, "sometimes", json!([{ "inventory_id": 1, "delta": 1 }]))
        .await
        .is(400, json!({ "mode": ["\"sometimes\" is not a valid choice."] }));
    let unexplained = json!({ "adjustments": [{ "inventory_id": 1, "delta": 1 }] });
    app.post(PATH, &unexplained).await.is(
        400,
        json!({ "reason_code": ["This field is required, here or in each item."] }),
    );
    let many: Vec<Value> = (0..1001)
        .map(|_| json!({ "inventory_id": 1, "delta": 1 }))
        .collect();
    adjust(&app, "per_item", many.into()).await.is(
        400,
        json!({ "adjustments": ["Ensure this field has no more than 1000 elements."] }),
    );
    assert_eq!(app.get("/api/inventory/1/movements/").await.body["count"], 1);
}

#[tokio::test]
async fn one_of_many_concurrent_comparisons_succeeds() {
    let (app, ..) = three_rows().await;
    let app = std::sync::Arc::new(app);
    let mut requests = JoinSet::new();
    for quantity in 20..36 {
        let app = app.clone();
        requests.spawn(async move {
            let item = json!([{ "inventory_id": 1, "set_to": quantity, "expected_quantity": 10 }]);
            adjust(&app, "all_or_nothing", item).await
        });
    }
    let answers = requests.join_all().await;
    let applied: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(applied.len(), 1);
    let set = &applied[0].body["results"][0]["quantity_after"];
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(answer.status, 409);
        assert_eq!(answer.body["results"][0]["code"], "stale_quantity");
        assert_eq!(&answer.body["results"][0]["quantity"], set);
    }
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn a_repeated_request_with_the_same_key_takes_effect_once() {
    let (app, ..) = three_rows().await;
    let body = json!({ "reason_code": "FOUND", "adjustments": [{ "inventory_id": 1, "delta": 5 }] });
    let request = || {
        app.request(reqwest::Method::POST, PATH)
            .header("idempotency-key", "a")
            .json(&body)
    };
    let first = send(request()).await;
    let second = send(request()).await;
    assert_eq!((second.status, &second.text), (first.status, &first.text));
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(app.quantity(1).await, 15);
}

#[tokio::test]
async fn orders_and_adjustments_of_the_same_rows_do_not_deadlock() {
    let (app, store, [lamp, chair, desk]) = three_rows().await;
    let app = std::sync::Arc::new(app);
    let mut requests = JoinSet::new();
    for number in 0..24_i64 {
        let app = app.clone();
        requests.spawn(async move {
            for round in 0..5 {
                if (number + round) % 2 == 0 {
                    let items = json!([
                        { "inventory_id": 3, "delta": 2 },
                        { "store_id": store, "product_id": chair, "delta": 2 },
                        { "inventory_id": 1, "delta": 2 },
                    ]);
                    assert_eq!(adjust(&app, "all_or_nothing", items).await.status, 200);
                } else {
                    let answer = app.order(store, &[(desk, 1), (lamp, 1), (chair, 1)]).await;
                    assert!(answer.status.is_success(), "{}", answer.text);
                }
            }
        });
    }
    requests.join_all().await;
    let deadlocks: i64 =
        sqlx::query_scalar("select deadlocks from pg_stat_database where datname = current_database()")
            .fetch_one(&app.pool)
            .await
            .unwrap();
    assert_eq!(deadlocks, 0);
    assert_eq!(app.unbalanced().await, []);
}
