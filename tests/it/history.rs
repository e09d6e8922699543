//! The ledger read back: quantities at a time, explained quantities, and movements of all stock.

use afforo::{
    auth::{Scope, Stores},
    config::ApiAuth,
};
use serde_json::{Value, json};
use sqlx::{Executor, PgPool};

use crate::{
    auth::guarded,
    support::{
        app::{Answer, TestApp, send},
        walk::{column, walk},
    },
};

/// Stock of two products in two stores, with movements of several kinds. Stock row 4 has none.
async fn shop() -> TestApp {
    let app = TestApp::start().await;
    let (main, other) = (app.store("Main").await, app.store("Other").await);
    let (lamp, chair) = (
        app.product("Lamp", "10.00").await,
        app.product("Chair", "5.00").await,
    );
    app.stock(main, lamp, 100).await;
    app.stock(main, chair, 50).await;
    app.stock(other, lamp, 30).await;
    app.stock(other, chair, 0).await;
    app.order(main, &[(lamp, 3), (chair, 2)]).await.created();
    let received = json!({ "reason_code": "RECEIVED", "reference": "GRN-1", "adjustments": [
        { "inventory_id": 1, "delta": 24 }, { "inventory_id": 3, "delta": -5, "reason_code": "DAMAGED" },
    ] });
    assert_eq!(
        app.post("/api/inventory/adjustments/", &received).await.status,
        200
    );
    let counted = json!({ "kind": "count", "quantity": 120, "reason": "Counted" });
    app.post("/api/inventory/1/movements/", &counted).await.created();
    let reversed = json!({ "reference": "GRN-1", "reason": "Sent back" });
    assert_eq!(app.post("/api/inventory/reversals/", &reversed).await.status, 201);
    app.order(other, &[(lamp, 1)]).await.created();
    app
}

async fn as_of(app: &TestApp, at: &str, filter: &str) -> Answer {
    app.get(&format!("/api/inventory/as-of/?at={at}{filter}")).await
}

/// The times of all movements, and the quantity of each stock row then, by the rule itself.
async fn quantities_by_time(pool: &PgPool) -> Vec<(String, Vec<i32>)> {
    sqlx::query_as(
        "select to_char(t.at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),
             array_agg(coalesce((select quantity_after from stock_movement m where m.inventory_id = i.id and m.created_at <= t.at
                                 order by m.id desc limit 1), 0) order by i.store_id, i.product_id)
         from (select distinct created_at + shift as at from stock_movement, unnest('{0, 1 us, -1 us}'::interval[]) shift) t,
             inventory i
         group by t.at",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

#[tokio::test]
async fn stock_as_of_a_time_is_the_quantity_after_its_last_movement() {
    let app = shop().await;
    let times = quantities_by_time(&app.pool).await;
    assert!(times.len() > 12, "{times:?}");
    for (at, quantities) in times {
        let answer = as_of(&app, &at, "").await;
        assert_eq!(answer.column("quantity"), quantities, "{at}: {}", answer.text);
        assert_eq!(answer.column("on_hand"), quantities, "{at}");
    }
    let now = as_of(&app, "2999-01-01T00:00:00%2B01:00", "").await;
    let current: Vec<Value> = walk(&app, "/api/inventory/").await;
    assert_eq!(column(&current, "quantity").len(), 4);
    let mut by_row: Vec<(i64, i64)> = Vec::new();
    for row in now.body["results"].as_array().unwrap() {
        let id = row["id"].as_i64().unwrap();
        by_row.push((row["quantity"].as_i64().unwrap(), app.quantity(id).await));
    }
    assert!(by_row.iter().all(|(then, now)| then == now), "{by_row:?}");
    assert_eq!(now.body["results"][0]["product_title"], "Lamp");
    assert_eq!(
        as_of(&app, "2020-01-01T00:00:00Z", "").await.column("quantity"),
        [0, 0, 0, 0]
    );
}

#[tokio::test]
async fn stock_as_of_a_time_is_filtered_and_read_page_by_page() {
    let app = shop().await;
    let ids = async |filter: &str| as_of(&app, "2999-01-01T00:00:00Z", filter).await.column("id");
    assert_eq!(ids("&store_id=2").await, [3, 4]);
    assert_eq!(ids("&product_id=1").await, [1, 3]);
    assert_eq!(ids("&store_id=1&product_id=2").await, [2]);
    assert_eq!(ids("&product_id=9").await, Vec::<Value>::new());
    let required = json!({ "at": ["This field is required."] });
    app.get("/api/inventory/as-of/").await.is(400, required);
    as_of(&app, "yesterday", "&store_id=x").await.is(
        400,
        json!({ "at": ["Send a time such as 2024-01-15T10:30:00Z."], "store_id": ["A valid integer is required."] }),
    );
    for number in 0..45 {
        let product = app.product(&format!("Product {number}"), "1.00").await;
        app.stock(1 + number % 2, product, 1).await;
    }
    let rows = walk(&app, "/api/inventory/as-of/?at=2999-01-01T00:00:00Z").await;
    let keys: Vec<(i64, i64)> = rows
        .iter()
        .map(|row| {
            (
                row["store_id"].as_i64().unwrap(),
                row["product_id"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(keys.len(), 49);
    assert!(keys.is_sorted_by(|one, next| one < next), "{keys:?}");
}

#[tokio::test]
async fn a_moved_row_has_no_units_from_before_the_move() {
    let app = shop().await;
    let before: String = sqlx::query_scalar(
        "select to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    let rug = app.product("Rug", "1.00").await;
    app.patch("/api/inventory/4/", &json!({ "quantity": 8 })).await;
    let moved = app
        .patch("/api/inventory/4/", &json!({ "product_id": rug }))
        .await;
    assert_eq!(moved.body["quantity"], 8, "{}", moved.text);
    let of_rug = format!("&product_id={rug}");
    for (at, _) in quantities_by_time(&app.pool).await {
        let quantity = as_of(&app, &at, &of_rug).await.column("quantity")[0].clone();
        assert!(quantity == 0 || quantity == 8, "{at}: {quantity}");
    }
    assert_eq!(as_of(&app, &before, &of_rug).await.column("quantity"), [0]);
    assert_eq!(
        as_of(&app, "2999-01-01T00:00:00Z", &of_rug)
            .await
            .column("quantity"),
        [8]
    );
}

#[tokio::test]
async fn a_quantity_is_explained_by_the_sums_of_its_movements() {
    let app = shop().await;
    let explained = app.get("/api/inventory/1/explain/").await;
    let terms = explained.body["terms"].as_object().unwrap();
    let set: Vec<(&str, i64)> = terms
        .iter()
        .map(|(name, units)| (name.as_str(), units.as_i64().unwrap()))
        .filter(|(_, units)| *units != 0)
        .collect();
    assert_eq!(
        set,
        [
            ("adjusted", -1),
            ("initial", 100),
            ("received", 24),
            ("reversed", -24),
            ("sold", -3)
        ]
    );
    let mut body = explained.body.clone();
    body.as_object_mut().unwrap().remove("terms");
    let balances = json!({
        "inventory_id": 1, "quantity": 96, "reserved": 0, "available": 96, "committed": 0, "on_hand": 96, "balanced": true,
    });
    assert_eq!(body, balances);
    app.pool
        .execute(
            "insert into stock_movement (inventory_id, kind, delta, quantity_after, reason_code)
             select 4, kind, 1, 0, code from unnest('{INITIAL,ORDER,RETURN,REMOVAL,CANCEL,FULFILL,TRANSFER_OUT,TRANSFER_IN,COUNT,
                 IMPORT,REVERSAL}'::text[]) kind, unnest('{OTHER,null}'::text[]) code
             union all
             select 4, 'ADJUSTMENT', 1, 0, code from unnest('{RECEIVED,DAMAGED,LOST,FOUND,COUNT,CORRECTION,SAMPLE,PRODUCTION,OTHER,
                 null}'::text[]) code;
             update inventory set quantity = 32 where id = 4",
        )
        .await
        .unwrap();
    let explained = app.get("/api/inventory/4/explain/").await.body;
    let terms = explained["terms"].as_object().unwrap();
    let units = |name: &str| terms[name].as_i64().unwrap();
    assert_eq!((units("other"), units("opening_balance")), (0, 0));
    assert_eq!(
        (units("transferred"), units("counted"), units("adjusted")),
        (4, 3, 2)
    );
    let sum: i64 = terms.values().map(|units| units.as_i64().unwrap()).sum();
    assert_eq!((sum, &explained["balanced"]), (32, &json!(true)));
    app.pool
        .execute("update inventory set quantity = 31 where id = 4")
        .await
        .unwrap();
    assert_eq!(app.get("/api/inventory/4/explain/").await.body["balanced"], false);
    assert_eq!(app.get("/api/inventory/99/explain/").await.status, 404);
}

#[tokio::test]
async fn movements_of_all_stock_are_listed_newest_first_by_any_filter() {
    let app = shop().await;
    let all = app.get("/api/inventory/movements/").await;
    assert_eq!(all.body["next"], json!(null));
    let kinds = all.column("kind");
    let expected = [
        "ORDER",
        "REVERSAL",
        "REVERSAL",
        "ADJUSTMENT",
        "ADJUSTMENT",
        "ADJUSTMENT",
        "ORDER",
        "ORDER",
        "INITIAL",
        "INITIAL",
        "INITIAL",
    ];
    assert_eq!(kinds, expected);
    let newest = &all.body["results"][0];
    assert_eq!(
        (
            &newest["store_id"],
            &newest["product_id"],
            &newest["inventory_id"]
        ),
        (&json!(2), &json!(1), &json!(3))
    );
    let count = async |filter: &str| {
        app.get(&format!("/api/inventory/movements/?{filter}"))
            .await
            .column("id")
            .len()
    };
    for (filter, rows) in [
        ("store_id=1", 7),
        ("store_id=9", 0),
        ("product_id=1", 9),
        ("store_id=1&product_id=1", 5),
        ("store_id=1&product_id=1&kind=order", 1),
        ("store_id=1&product_id=9", 0),
        ("kind=ORDER", 3),
        ("kind=reversal", 2),
        ("kind=FULFILL", 0),
        ("kind=reversal&store_id=2", 1),
        ("reference=GRN-1", 4),
        ("reference=GRN-1&kind=adjustment&product_id=1", 2),
        ("reference=GRN", 0),
        ("actor=key:1", 0),
        ("from=2020-01-01T00:00:00Z", 11),
        ("to=2020-01-01T00:00:00Z", 0),
        ("to=2999-01-01T00:00:00Z&kind=initial", 3),
    ] {
        assert_eq!(count(filter).await, rows, "{filter}");
    }
    let at = all.body["results"][5]["created_at"].as_str().unwrap();
    let (from, to) = (
        count(&format!("from={at}")).await,
        count(&format!("to={at}")).await,
    );
    assert_eq!(from + to, 11);
    assert!(from >= 6, "{from}");
    app.get("/api/inventory/movements/?kind=stolen&from=x&to=2020-01-01&cursor=x")
        .await
        .is(
            400,
            json!({
                "kind": ["\"stolen\" is not a valid choice."],
                "from": ["Send a time such as 2024-01-15T10:30:00Z."],
                "to": ["Send a time such as 2024-01-15T10:30:00Z."],
            }),
        );
    app.get("/api/inventory/movements/?cursor=x")
        .await
        .is(400, json!({ "cursor": ["Invalid cursor."] }));
    assert_eq!(app.delete("/api/inventory/2/").await.status, 204);
    let removed = app.get("/api/inventory/movements/?kind=removal").await;
    assert_eq!(
        (removed.column("delta"), removed.column("store_id")),
        (vec![json!(-48)], vec![json!(null)])
    );
    let guarded = app.beside_with(guarded(ApiAuth::All)).await;
    let key = guarded
        .key(&[Scope::InventoryRead], Stores::Only([2].into()))
        .await;
    let request = guarded.request(reqwest::Method::GET, "/api/inventory/movements/");
    let bound = send(request.bearer_auth(key)).await;
    assert_eq!(bound.column("inventory_id"), [3, 3, 3, 3]);
}

/// All movements of a filter, and the number of requests.
async fn follow(app: &TestApp, filter: &str) -> (Vec<i64>, usize) {
    let mut url = format!("/api/inventory/movements/?{filter}");
    let (mut ids, mut requests) = (Vec::new(), 0);
    loop {
        let answer = app.get(&url).await;
        let page: Vec<i64> = answer.column("id").iter().filter_map(Value::as_i64).collect();
        assert!(
            page.len() <= 20 && page.is_sorted_by(|one, next| one > next),
            "{page:?}"
        );
        ids.extend(page);
        requests += 1;
        let Some(next) = answer.body["next"].as_str() else {
            return (ids, requests);
        };
        url = next
            .split_once("/api/")
            .map(|(_, path)| format!("/api/{path}"))
            .unwrap();
    }
}

#[tokio::test]
async fn a_request_examines_a_part_of_a_long_ledger_and_misses_none() {
    let app = shop().await;
    // Few movements pass the filters, with long gaps between them.
    app.pool
        .execute(
            "insert into stock_movement (inventory_id, kind, delta, quantity_after, actor, reference, order_id, created_at)
             select 1, case when n % 2 = 0 then 'ORDER' else 'COUNT' end, 0, 96, case when n % 60000 = 0 then 'key:7' end, 'BULK', n,
                 timestamptz '2021-01-01Z' + make_interval(secs => n)
             from generate_series(1, 250000) n;
             analyze stock_movement",
        )
        .await
        .unwrap();
    let expected = async |condition: &'static str| -> Vec<i64> {
        let sql = format!("select id from stock_movement where {condition} order by id desc");
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_all(&app.pool)
            .await
            .unwrap()
    };
    for (filter, condition, least) in [
        ("actor=key:7", "actor = 'key:7'", 3),
        ("actor=key:7&store_id=1&product_id=1", "actor = 'key:7'", 3),
        ("actor=key:7&reference=BULK", "actor = 'key:7'", 3),
        ("actor=key:7&kind=COUNT", "actor = 'key:7' and kind = 'COUNT'", 2),
        ("store_id=2", "inventory_id in (3, 4)", 3),
        ("kind=INITIAL", "kind = 'INITIAL'", 1),
        (
            "from=2021-01-01T00:00:10Z&to=2021-01-01T00:00:40Z",
            "created_at >= '2021-01-01T00:00:10Z' and created_at < '2021-01-01T00:00:40Z'",
            2,
        ),
    ] {
        let (ids, requests) = follow(&app, filter).await;
        assert_eq!(ids, expected(condition).await, "{filter}");
        assert!((least..=15).contains(&requests), "{filter}: {requests}");
    }
}
