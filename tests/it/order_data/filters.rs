//! Filters of the list of orders that no counter has.

use afforo::{
    auth::{Scope, Stores},
    config::ApiAuth,
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor;

use super::{ORDERS, lamp, shop};
use crate::{
    auth::guarded,
    support::{
        app::{Answer, TestApp, send},
        walk::walk,
    },
};

/// Orders 1 to 60, one a minute from noon on: every fifth is rejected, every third is of store 2, every tenth of Ada.
async fn with_orders() -> TestApp {
    let app = shop().await;
    app.store("Second").await;
    app.pool
        .execute(
            r"insert into orders (store_id, status, total_amount, created_at, external_reference, customer)
               select case when n % 3 = 0 then 2 else 1 end, case when n % 5 = 0 then 'REJECTED' else 'CONFIRMED' end,
                   case when n % 5 = 0 then 0 else n end, '2026-03-01T12:00:00Z'::timestamptz + n * interval '1 minute',
                   'WEB-' || n % 20,
                   case when n % 10 = 0 then json_build_object('email', 'Ada@Example.com', 'phone', n::text, 'name', 'Ada') end
               from generate_series(1, 60) n",
        )
        .await
        .unwrap();
    app
}

async fn ids(app: &TestApp, query: &str) -> Vec<i64> {
    let answer = app.get(&format!("{ORDERS}?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    assert_eq!(answer.body["count_capped"], false, "{query}");
    let ids = answer.column("id");
    assert_eq!(
        answer.body["count"],
        json!(ids.len()),
        "{query}: all are on the page"
    );
    ids.iter().map(|id| id.as_i64().unwrap()).collect()
}

fn numbers(takes: impl Fn(i64) -> bool) -> Vec<i64> {
    (1..=60).rev().filter(|n| takes(*n)).collect()
}

#[tokio::test]
async fn each_filter_and_combinations_find_the_orders_that_match() {
    let app = with_orders().await;
    let is_ada = |n: i64| n % 10 == 0;
    for (query, expected) in [
        ("external_reference=WEB-7", numbers(|n| n % 20 == 7)),
        ("external_reference=web-7", vec![]),
        ("external_reference=WEB-0&status=confirmed", vec![]),
        (
            "external_reference=WEB-6&store_id=2",
            numbers(|n| n % 20 == 6 && n % 3 == 0),
        ),
        (
            "external_reference=WEB-10&customer=ADA@EXAMPLE.COM",
            numbers(|n| n % 20 == 10),
        ),
        ("external_reference=WEB-11&customer=ADA@EXAMPLE.COM", vec![]),
        ("customer=ada@example.com", numbers(is_ada)),
        ("customer=ada", vec![]),
        ("customer=30", vec![30]),
        (
            "customer=ada@example.com&store_id=2&ordering=oldest",
            vec![30, 60],
        ),
        ("created_from=2026-03-01T12:50:00Z", numbers(|n| n >= 50)),
        (
            "created_from=2026-03-01T13:50:00%2B01:00&created_to=2026-03-01T12:55:00Z",
            numbers(|n| (50..55).contains(&n)),
        ),
        ("created_to=2026-03-01T12:03:00Z&ordering=oldest", vec![1, 2]),
        (
            "created_from=2026-03-01T12:41:00Z&store_id=1&status=confirmed",
            numbers(|n| n >= 41 && n % 3 != 0 && n % 5 != 0),
        ),
        ("status=pending&status=rejected", numbers(|n| n % 5 == 0)),
        (
            "status=pending&status=rejected&store_id=2&status=x",
            numbers(|n| n % 15 == 0),
        ),
        (
            "created_from=2026-03-01T00:00:00Z&total_min=56.5",
            vec![59, 58, 57],
        ),
        (
            "created_from=2026-03-01T00:00:00Z&total_min=56.5&total_max=58",
            vec![58, 57],
        ),
        (
            "created_from=2026-03-01T00:00:00Z&total_max=4&status=confirmed&ordering=oldest",
            vec![1, 2, 3, 4],
        ),
        ("store_id=99&ordering=oldest", vec![]),
    ] {
        assert_eq!(ids(&app, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn filtered_lists_have_pages_and_cursors_in_both_directions() {
    let app = with_orders().await;
    let all = numbers(|_| true);
    for (query, expected) in [
        ("created_from=2026-03-01T00:00:00Z", all.clone()),
        ("ordering=oldest", all.iter().rev().copied().collect()),
        (
            "ordering=oldest&store_id=1",
            all.iter().rev().copied().filter(|n| n % 3 != 0).collect(),
        ),
    ] {
        let list = format!("{ORDERS}?{query}");
        let walked: Vec<Value> = walk(&app, &list).await;
        let walked: Vec<i64> = walked.iter().map(|row| row["id"].as_i64().unwrap()).collect();
        assert_eq!(walked, expected, "{query}");
        let mut paged = Vec::new();
        let mut page = app.get(&list).await;
        assert_eq!(page.body["count"], json!(expected.len()));
        loop {
            paged.extend(page.column("id").iter().map(|id| id.as_i64().unwrap()));
            let Some(next) = page.body["next"].as_str() else {
                break;
            };
            page = app
                .get(
                    next.split_once(ORDERS)
                        .map(|(_, query)| format!("{ORDERS}{query}"))
                        .unwrap()
                        .as_str(),
                )
                .await;
        }
        assert_eq!(paged, expected, "{query}");
        let end = app.get(&format!("{list}&page=last")).await;
        assert_eq!(end.column("id").last(), Some(&json!(expected.last())), "{query}");
        assert_eq!(app.get(&format!("{list}&page=9")).await.status, 404);
    }
}

#[tokio::test]
async fn a_count_of_filtered_orders_ends_at_10_000() {
    let app = shop().await;
    app.pool
        .execute(
            r#"insert into orders (store_id, status, customer)
               select 1, 'REJECTED', '{"email": "ada@example.com"}' from generate_series(1, 10021)"#,
        )
        .await
        .unwrap();
    let list = "/api/orders/?customer=ada@example.com";
    let first = app.get(list).await;
    assert_eq!(
        (&first.body["count"], &first.body["count_capped"]),
        (&json!(10000), &json!(true))
    );
    let end = app.get(&format!("{list}&page=last")).await;
    assert_eq!((end.column("id").len(), &end.body["next"]), (20, &Value::Null));
    assert_eq!(app.get(&format!("{list}&page=501")).await.status, 404);
    let exact = app.get(ORDERS).await;
    assert_eq!(exact.body["count"], 10021);
    assert!(exact.body.get("count_capped").is_none());
}

#[tokio::test]
async fn wrong_filters_are_refused_by_name() {
    let app = shop().await;
    for (query, errors) in [
        (
            "created_from=yesterday",
            json!({ "created_from": ["Send a time such as 2024-01-15T10:30:00Z."] }),
        ),
        (
            "created_to=2026-01-31",
            json!({ "created_to": ["Send a time such as 2024-01-15T10:30:00Z."] }),
        ),
        (
            "total_min=5",
            json!({ "created_from": ["This parameter is required with total_min, total_max and fulfillment."] }),
        ),
        (
            "total_max=x&created_from=2026-01-31T12:00:00Z",
            json!({ "total_max": ["A valid number is required."] }),
        ),
        (
            "ordering=up",
            json!({ "ordering": ["\"up\" is not a valid choice."] }),
        ),
        (
            "expand=store",
            json!({ "expand": ["\"store\" is not a valid choice."] }),
        ),
        (
            "customer=%00",
            json!({ "customer": ["Null characters are not allowed."] }),
        ),
    ] {
        app.get(&format!("{ORDERS}?{query}")).await.is(400, errors);
    }
    for ignored in [
        "status=x",
        "created_from=&created_to=&customer=&total_min=&ordering=&expand=",
    ] {
        let plain = app.get(&format!("{ORDERS}?{ignored}")).await;
        assert!(
            plain.status == 200 && plain.body.get("count_capped").is_none(),
            "{ignored}"
        );
    }
}

#[tokio::test]
async fn filters_find_orders_of_granted_stores_only() {
    let open = with_orders().await;
    let app = open.beside_with(guarded(ApiAuth::All)).await;
    let key = app.key(&[Scope::OrdersRead], Stores::Only([2].into())).await;
    let get = async |query: &str| -> Answer {
        send(
            app.request(Method::GET, &format!("{ORDERS}?{query}"))
                .bearer_auth(&key),
        )
        .await
    };
    for query in [
        "customer=ada@example.com",
        "external_reference=WEB-6",
        "ordering=oldest",
        "status=confirmed&status=rejected",
        "created_from=2026-03-01T00:00:00Z&total_min=1",
        "ordering=oldest&cursor=",
    ] {
        let stores = get(query).await.column("store_name");
        assert!(
            !stores.is_empty() && stores.iter().all(|name| name == "Second"),
            "{query}"
        );
        assert_eq!(
            get(&format!("{query}&store_id=1")).await.column("id"),
            [] as [Value; 0],
            "{query}"
        );
    }
}

#[tokio::test]
async fn expanded_rows_have_the_items_of_the_order() {
    let app = shop().await;
    for _ in 0..3 {
        app.post(ORDERS, &lamp(json!({}))).await.created();
    }
    app.post(
        ORDERS,
        &lamp(json!({ "items": [{ "product_id": 1, "quantity": 999 }] })),
    )
    .await;
    for query in [
        "expand=items",
        "expand=items&ordering=oldest",
        "expand=items&cursor=",
    ] {
        for row in app.get(&format!("{ORDERS}?{query}")).await.body["results"]
            .as_array()
            .unwrap()
        {
            let order = app.get(&format!("{ORDERS}{}/", row["id"])).await.body;
            assert_eq!(row["items"], order["items"], "{query}");
        }
    }
    assert!(app.get(ORDERS).await.body["results"][0].get("items").is_none());
}
