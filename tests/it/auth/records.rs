//! Records of changes and their actors in the ledger and the audit log.

use afforo::{
    auth::{Scope, Stores},
    config::ApiAuth,
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{PgPool, Row};

use super::{ask, guarded};
use crate::support::app::{TestApp, order};

/// The entries of a subject, oldest first: actor, action, and the values before and after.
async fn entries(db: &PgPool, subject: &str) -> Vec<(Option<String>, String, Value, Value)> {
    let rows = sqlx::query(
        "select actor, action, coalesce(before, 'null') as before, coalesce(after, 'null') as after, request_id, address
         from audit_log where subject = $1 order by id",
    );
    let rows = rows.bind(subject.to_owned()).fetch_all(db).await.unwrap();
    rows.iter()
        .map(|row| {
            let from: (Option<String>, Option<String>) = (row.get("request_id"), row.get("address"));
            assert!(from.0.is_some_and(|id| !id.is_empty()));
            assert_eq!(from.1.as_deref(), Some("127.0.0.1"));
            (
                row.get("actor"),
                row.get("action"),
                row.get("before"),
                row.get("after"),
            )
        })
        .collect()
}

#[tokio::test]
async fn every_write_is_audited_with_actor_before_and_after() {
    let app = TestApp::start_with(guarded(ApiAuth::All)).await;
    let key = app.key(&[Scope::Admin], Stores::All).await;
    let actor = format!("key:{}", key.split('_').nth(1).unwrap());
    let send = async |method: Method, path: &str, body: Value| ask(&app, &key, method, path, &body).await;
    let category = send(Method::POST, "/api/categories/", json!({ "name": "Lamps" }))
        .await
        .created();
    let body = json!({ "title": "Lamp", "price": "10.00", "category_id": category });
    let product = send(Method::POST, "/api/products/", body).await.created();
    let store = send(
        Method::POST,
        "/api/stores/",
        json!({ "name": "Main", "location": "Here" }),
    )
    .await
    .created();
    let body = json!({ "store_id": store, "product_id": product, "quantity": 5 });
    let stock = send(Method::POST, "/api/inventory/", body).await.created();
    let things = [
        (
            "category",
            "categories",
            category,
            "name",
            json!("Lamps"),
            json!("Lights"),
        ),
        (
            "product",
            "products",
            product,
            "title",
            json!("Lamp"),
            json!("Light"),
        ),
        ("store", "stores", store, "name", json!("Main"), json!("Side")),
        ("stock", "inventory", stock, "quantity", json!(5), json!(7)),
    ];
    for (_, path, id, field, _, new) in &things {
        let changed = send(
            Method::PATCH,
            &format!("/api/{path}/{id}/"),
            json!({ *field: new }),
        )
        .await;
        assert_eq!(changed.status, 200);
    }
    // Stock first, so that no deletion cascades.
    for (_, path, id, ..) in things
        .iter()
        .rev()
        .filter(|(kind, ..)| *kind != "category")
        .chain(&things[..1])
    {
        assert_eq!(
            send(Method::DELETE, &format!("/api/{path}/{id}/"), Value::Null)
                .await
                .status,
            204,
            "{path}"
        );
    }
    for (kind, _, id, field, old, new) in &things {
        let entries = entries(&app.pool, &format!("{kind}:{id}")).await;
        let told: Vec<_> = entries
            .iter()
            .map(|(who, action, before, after)| {
                assert_eq!(who.as_deref(), Some(actor.as_str()));
                (action.as_str(), before[*field].clone(), after[*field].clone())
            })
            .collect();
        let action = |done: &str| format!("{kind}.{done}");
        assert_eq!(
            told,
            [
                (action("created").as_str(), Value::Null, old.clone()),
                (action("changed").as_str(), old.clone(), new.clone()),
                (action("deleted").as_str(), new.clone(), Value::Null),
            ]
        );
    }
    let ledger: Vec<(String, i32, Option<String>)> =
        sqlx::query_as("select kind, delta, actor from stock_movement where inventory_id = $1 order by id")
            .bind(stock)
            .fetch_all(&app.pool)
            .await
            .unwrap();
    let told = |kind: &str, delta| (kind.to_owned(), delta, Some(actor.clone()));
    assert_eq!(
        ledger,
        [told("INITIAL", 5), told("ADJUSTMENT", 2), told("REMOVAL", -7)]
    );
}

#[tokio::test]
async fn order_is_audited_with_its_actor_and_not_at_all_in_an_open_api() {
    let open = TestApp::start().await;
    let (store, product) = (open.store("Main").await, open.product("Lamp", "10.00").await);
    let stock = open.stock(store, product, 10).await;
    let app = open.beside_with(guarded(ApiAuth::All)).await;
    let key = app.key(&[Scope::OrdersWrite], Stores::All).await;
    let actor = format!("key:{}", key.split('_').nth(1).unwrap());
    let place = async |quantity| {
        let body = order(store, &[(product, quantity)]);
        ask(&app, &key, Method::POST, "/api/orders/", &body).await
    };
    let (confirmed, rejected) = (place(2).await, place(99).await);
    let anyones = open.order(store, &[(product, 1)]).await.created();
    let placed = async |answer: &crate::support::app::Answer| {
        entries(&app.pool, &format!("order:{}", answer.body["id"])).await
    };
    let after =
        |status: &str, amount: &str| json!({ "store_id": store, "status": status, "total_amount": amount });
    let entry = |after| vec![(Some(actor.clone()), "order.placed".to_owned(), Value::Null, after)];
    assert_eq!(placed(&confirmed).await, entry(after("CONFIRMED", "20.00")));
    assert_eq!(placed(&rejected).await, entry(after("REJECTED", "0.00")));
    assert_eq!(entries(&app.pool, &format!("order:{anyones}")).await, []);
    let movements = open.get(&format!("/api/inventory/{stock}/movements/")).await;
    assert_eq!(
        movements.column("actor"),
        [Value::Null, json!(actor), Value::Null]
    );
    assert_eq!(movements.column("kind"), ["ORDER", "ORDER", "INITIAL"]);
}

#[tokio::test]
async fn orders_of_one_batch_keep_their_own_actors() {
    let open = TestApp::start().await;
    let (store, product) = (open.store("Main").await, open.product("Lamp", "10.00").await);
    open.stock(store, product, 1000).await;
    let app = open.beside_with(guarded(ApiAuth::All)).await;
    let mut orders = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let key = app.key(&[Scope::OrdersWrite], Stores::All).await;
        for _ in 0..10 {
            let request = app.request(Method::POST, "/api/orders/").bearer_auth(&key);
            let request = request.json(&order(store, &[(product, 1)]));
            let actor = format!("key:{}", key.split('_').nth(1).unwrap());
            orders.spawn(async move { (actor, crate::support::app::send(request).await.created()) });
        }
    }
    for (actor, id) in orders.join_all().await {
        let entries = entries(&app.pool, &format!("order:{id}")).await;
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].0.as_deref(), Some(actor.as_str()));
        let in_ledger: Vec<String> =
            sqlx::query_scalar("select actor from stock_movement where order_id = $1")
                .bind(id)
                .fetch_all(&app.pool)
                .await
                .unwrap();
        assert_eq!(in_ledger, [actor]);
    }
}

#[tokio::test]
async fn rejected_or_failed_write_leaves_no_audit_entry() {
    let app = TestApp::start().await;
    let before: i64 = sqlx::query_scalar("select count(*) from audit_log")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    let category = app.category("Lamps").await;
    assert_eq!(
        app.post("/api/categories/", &json!({ "name": "Lamps" }))
            .await
            .status,
        400
    );
    let path = format!("/api/categories/{category}/");
    assert_eq!(app.patch(&path, &json!({ "name": "" })).await.status, 400);
    assert_eq!(
        app.patch("/api/categories/99/", &json!({ "name": "x" }))
            .await
            .status,
        404
    );
    let after: i64 = sqlx::query_scalar("select count(*) from audit_log")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    assert_eq!(after - before, 1);
}

#[tokio::test]
async fn audit_log_is_append_only_and_has_no_secret() {
    let app = TestApp::start_with(guarded(ApiAuth::All)).await;
    let key = app.key(&[Scope::Admin], Stores::All).await;
    ask(
        &app,
        &key,
        Method::POST,
        "/api/categories/",
        &json!({ "name": "Lamps" }),
    )
    .await
    .created();
    for statement in [
        "update audit_log set actor = 'somebody else'",
        "delete from audit_log",
        "truncate audit_log",
    ] {
        let refused = sqlx::query(statement).execute(&app.pool).await.unwrap_err();
        assert!(refused.to_string().contains("only added to"), "{refused}");
    }
    let secret = key.split('_').nth(2).unwrap();
    let log: Vec<String> = sqlx::query_scalar("select audit_log::text from audit_log")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    assert_eq!(log.len(), 2);
    assert!(
        log.iter()
            .all(|entry| !entry.contains(secret) && !entry.contains("mac"))
    );
}
