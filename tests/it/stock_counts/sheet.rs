//! What those who count see.

use afforo::{
    auth::{Scope, Stores},
    config::ApiAuth,
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{begin, entered, line, shop};
use crate::{
    auth::guarded,
    support::app::{Answer, TestApp, send},
};

async fn sheet(app: &TestApp, query: &str) -> Answer {
    app.get(&format!("/api/stock-counts/1/lines/{query}")).await
}

fn expected(sheet: &Answer) -> Vec<[Value; 4]> {
    let lines = sheet.body["results"].as_array().unwrap().iter();
    lines
        .map(|line| ["status", "counted", "expected", "variance"].map(|name| line[name].clone()))
        .collect()
}

#[tokio::test]
async fn expected_units_are_hidden_while_a_blind_count_is_open() {
    let app = shop().await;
    begin(&app).await;
    entered(&app, json!([line(1, 18)])).await;
    let none = Value::Null;
    assert_eq!(
        expected(&sheet(&app, "").await),
        [
            [json!("COUNTED"), json!(18), none.clone(), none.clone()],
            [json!("UNCOUNTED"), none.clone(), none.clone(), none.clone()]
        ]
    );
    assert_eq!(
        expected(&sheet(&app, "?show_expected=true").await),
        [
            [json!("COUNTED"), json!(18), json!(20), json!(-2)],
            [json!("UNCOUNTED"), none.clone(), json!(10), none.clone()]
        ]
    );
    let guarded = app.beside_with(guarded(ApiAuth::All)).await;
    for (scopes, status) in [
        (vec![Scope::InventoryRead], 403),
        (vec![Scope::InventoryRead, Scope::Stats], 200),
    ] {
        let key = guarded.key(&scopes, Stores::All).await;
        let request = guarded.request(Method::GET, "/api/stock-counts/1/lines/?show_expected=true");
        assert_eq!(send(request.header("x-api-key", key)).await.status, status);
    }
    app.post("/api/stock-counts/1/apply/", &json!({})).await;
    assert_eq!(
        expected(&sheet(&app, "?status=APPLIED").await),
        [[json!("APPLIED"), json!(18), json!(20), json!(-2)]]
    );

    let seen = json!({ "store_id": 1, "scope": { "all": true }, "blind": false });
    app.post("/api/stock-counts/", &seen).await.created();
    let lines = app.get("/api/stock-counts/2/lines/").await;
    assert_eq!(lines.column("expected"), [18, 10]);
}

#[tokio::test]
async fn the_expected_units_are_those_at_the_time_of_the_counting() {
    let app = shop().await;
    app.patch("/api/stores/1/", &json!({ "fulfillment": "TRACKED" }))
        .await;
    begin(&app).await;
    app.order(1, &[(1, 3)]).await.created();
    entered(&app, json!([line(1, 20)])).await;
    let before = sheet(&app, "?show_expected=true").await;
    assert_eq!(
        before.column("expected"),
        [20, 10],
        "sold units are on hand until they are handed over"
    );
    app.post("/api/orders/1/fulfillments/", &json!({}))
        .await
        .created();
    app.order(1, &[(2, 4)]).await.created();
    assert_eq!(
        sheet(&app, "?show_expected=true").await.column("expected"),
        [20, 10]
    );
}

#[tokio::test]
async fn a_sheet_has_the_stock_in_its_scope() {
    let app = shop().await;
    let tables = app.category("Tables").await;
    let table = app.product_in(tables, "Table", "9.00").await;
    app.stock(1, table, 1).await;
    app.store("Other").await;
    app.stock(2, 3, 5).await;
    let since = app.get("/api/inventory/1/").await.body["counted_at"].clone();
    for (scope, products) in [
        (json!({ "all": true }), vec![1, 2, 4]),
        (json!({ "category_id": tables }), vec![4]),
        (json!({ "product_ids": [3, 2] }), vec![2]),
        (json!({ "not_counted_since": since }), vec![]),
        (
            json!({ "not_counted_since": "2099-01-01T00:00:00Z" }),
            vec![1, 2, 4],
        ),
    ] {
        let created = app
            .post("/api/stock-counts/", &json!({ "store_id": 1, "scope": scope }))
            .await;
        let id = created.created();
        assert_eq!(created.body["scope"], scope);
        let lines = app.get(&format!("/api/stock-counts/{id}/lines/")).await;
        assert_eq!(lines.column("product_id"), products, "{scope}");
        let uncounted = app
            .get(&format!("/api/stock-counts/{id}/lines/?status=UNCOUNTED"))
            .await;
        assert_eq!(uncounted.column("product_id"), products, "{scope}");
        let zero = app
            .post(
                &format!("/api/stock-counts/{id}/apply/?dry_run=true"),
                &json!({ "uncounted": "zero" }),
            )
            .await;
        assert_eq!(zero.body["applied"], products.len(), "{scope}");
    }
    let outside = json!({ "lines": [line(1, 5), line(4, 1)] });
    app.post("/api/stock-counts/2/lines/", &outside).await.is(
        400,
        json!({ "lines": [{ "non_field_errors": ["Product 1 is not in the scope of this stock count."] }, {}] }),
    );
    // Goods in the scope without a stock row are counted, too.
    let desk = json!({ "lines": [line(3, 1)] });
    assert_eq!(app.post("/api/stock-counts/3/lines/", &desk).await.status, 200);
    let lines = app.get("/api/stock-counts/3/lines/").await;
    assert_eq!(lines.column("product_id"), [2, 3]);
}

#[tokio::test]
async fn stock_is_listed_that_was_not_counted_since_a_time() {
    let app = shop().await;
    begin(&app).await;
    entered(&app, json!([line(1, 20)])).await;
    app.post("/api/stock-counts/1/apply/", &json!({})).await;
    let counted_at = app.get("/api/inventory/1/").await.body["counted_at"]
        .as_str()
        .unwrap()
        .to_owned();
    let listed = async |query: &str| {
        let list = app
            .get(&format!("/api/inventory/?counted_before={counted_at}{query}"))
            .await;
        assert_eq!(list.status, 200, "{}", list.text);
        (
            list.column("id"),
            list.body["count"].clone(),
            list.body["count_capped"].clone(),
        )
    };
    assert_eq!(listed("").await, (vec![json!(2)], json!(1), json!(false)));
    assert_eq!(listed("&product_id=1").await, (vec![], json!(0), json!(false)));
    assert_eq!(listed("&store_id=1&page=last").await.0, [2]);
    assert_eq!(listed("&low_stock=true").await.0, [2], "10 chairs are low");
    assert_eq!(listed("&cursor=").await.0, [2]);
    assert_eq!(app.get("/api/inventory/?counted_before=soon").await.status, 400);
    let never = "update inventory set counted_at = null where id = 1";
    sqlx::query(never).execute(&app.pool).await.unwrap();
    assert_eq!(listed("").await.0, [2, 1]);
}
