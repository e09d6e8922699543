//! A server is killed while it applies a stock count.

use std::sync::atomic::Ordering;

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::{
    kit::{
        audit::{Recovery, end},
        clients::Clients,
        program::Program,
        table::Row,
        until,
        world::{Disk, World},
    },
    support::app::{Answer, send},
};

const PRODUCTS: i64 = 2_200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stock_count_that_is_interrupted_goes_on_where_it_ended() {
    let world = World::new("a stock count is interrupted", Disk::Volatile).await;
    let (store, products) = world.stock(PRODUCTS, 10).await;
    let mut programs = [Program::server(&["--with-worker"], &world.env()).await];
    let clients = Clients::new();
    let url = format!("http://{}/api/stock-counts/", programs[0].address);
    let post = async |request: RequestBuilder, body: Value| -> Answer { send(request.json(&body)).await };
    let new = json!({ "store_id": store, "scope": { "all": true } });
    post(clients.http.post(&url), new).await.created();
    for products in products.chunks(1000) {
        let line = |product: &i64| json!({ "product_id": product, "counted": 9 });
        let lines = json!({ "lines": products.iter().map(line).collect::<Vec<_>>() });
        let entered = post(clients.http.post(format!("{url}1/lines/")), lines).await;
        assert_eq!(entered.status, 200, "{}", entered.text);
    }
    // The last portion waits for the row of the last product.
    let mut held = world.pool.begin().await.unwrap();
    sqlx::query("select from inventory where product_id = $1 for update")
        .bind(products.last())
        .execute(&mut *held)
        .await
        .unwrap();
    let apply = || {
        clients
            .http
            .post(format!("{url}1/apply/"))
            .header("idempotency-key", "apply")
    };
    let request = tokio::spawn(apply().json(&json!({})).send());
    let applied = async || -> i64 {
        let applied = "select count(*) from stock_count_line where status = 'APPLIED'";
        sqlx::query_scalar(applied).fetch_one(&world.pool).await.unwrap()
    };
    until("all portions but the last are applied", async || {
        applied().await == 2_000
    })
    .await;
    programs[0].kill().await;
    assert!(request.await.unwrap().is_err());
    held.rollback().await.unwrap();
    programs[0].restart().await;
    assert_eq!(applied().await, 2_000);

    let done = post(apply(), json!({})).await;
    assert_eq!(
        (done.status.as_u16(), &done.body["applied"], &done.body["status"]),
        (200, &json!(PRODUCTS), &json!("APPLIED")),
        "{}",
        done.text
    );
    assert_eq!(post(apply(), json!({})).await.text, done.text);
    let (movements, units): (i64, i64) =
        sqlx::query_as("select count(*), sum(delta) from stock_movement where kind = 'COUNT'")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    assert_eq!((movements, units), (PRODUCTS, -PRODUCTS));
    end(&world, &clients.results, &mut programs, Recovery::Expedited).await;
    Row {
        hits: 1,
        requests: clients.results.requests.load(Ordering::Relaxed),
        ..Row::default()
    }
    .enter(world.name);
}
