//! Concurrent creation of the same record.

use futures::future::join_all;
use serde_json::{Value, json};

use super::books_balance;
use crate::support::app::TestApp;

async fn create_at_once(app: &TestApp, path: &str, body: Value, refusal: Value) {
    let answers = join_all((0..16).map(|_| app.post(path, &body))).await;
    let (created, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert_eq!(created.len(), 1);
    for answer in refused {
        answer.is(400, refusal.clone());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_concurrent_category_creations_succeeds() {
    let app = TestApp::start().await;
    for round in 0..5 {
        let body = json!({ "name": format!("Books {round}") });
        let refusal = json!({ "name": ["Category with this name already exists."] });
        create_at_once(&app, "/api/categories/", body, refusal).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_concurrent_stock_creations_succeeds() {
    let app = TestApp::start().await;
    let (store, category) = (app.store("Main Store").await, app.category("All").await);
    for round in 0..5 {
        let product = app.product_in(category, &format!("P{round}"), "1.00").await;
        let body = json!({ "store_id": store, "product_id": product, "quantity": 7 });
        let refusal =
            json!({ "non_field_errors": ["The fields store_id, product_id must make a unique set."] });
        create_at_once(&app, "/api/inventory/", body, refusal).await;
    }
    books_balance(&app.pool).await;
}
