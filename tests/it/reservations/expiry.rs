//! Expiry without a worker: no worker runs in these tests.

use std::{sync::Arc, time::Duration};

use afforo::order::reservation;
use serde_json::json;
use tokio::task::JoinSet;

use super::{act, expire, lamps, reservation, reserve, shop, take, units};
use crate::support::books::no_deadlocks;

/// PostgreSQL decides by its own clock, and writes its times: no allowance is needed.
#[tokio::test]
async fn units_are_sold_from_the_time_of_expiry_on_and_not_before() {
    let app = Arc::new(shop().await);
    let body = json!({ "store_id": 1, "items": units(&[(1, 10)]), "ttl_seconds": 2 });
    app.post("/api/reservations/", &body).await.created();
    let mut buyers = JoinSet::new();
    for _ in 0..6 {
        let app = app.clone();
        buyers.spawn(async move { while app.order(1, &[(1, 1)]).await.body["status"] == "REJECTED" {} });
    }
    buyers.join_all().await;
    let (too_early, too_late, rejected): (i64, i64, i64) = sqlx::query_as(
        "select count(*) filter (where m.created_at < r.expires_at),
             count(*) filter (where o.status = 'REJECTED' and o.created_at >= r.expires_at),
             count(*) filter (where o.status = 'REJECTED')
         from reservation r cross join orders o left join stock_movement m on m.order_id = o.id",
    )
    .fetch_one(&app.pool)
    .await
    .unwrap();
    assert_eq!((too_early, too_late), (0, 0));
    assert!(rejected > 0, "orders were placed before it expired");
    assert_eq!(lamps(&app).await, [4, 0, 4]);
    assert_eq!(reservation(&app, 1).await["status"], "EXPIRED");
    assert_eq!(app.unbalanced().await, []);
    no_deadlocks(&app.database_url).await;
}

#[tokio::test]
async fn an_expired_reservation_has_ended_for_every_reader() {
    let app = shop().await;
    let id = reserve(&app, &[(1, 4), (2, 10)]).await;
    expire(&app, id).await;
    let ended = reservation(&app, id).await;
    assert_eq!(
        (&ended["status"], &ended["items"][0]["reserved"]),
        (&json!("EXPIRED"), &json!(0))
    );
    assert_eq!(lamps(&app).await, [10, 0, 10]);
    let explained = app.get("/api/inventory/1/explain/").await.body;
    assert_eq!(
        (&explained["reserved"], &explained["available"]),
        (&json!(0), &json!(10))
    );
    let listed = async |status: &str| {
        app.get(&format!("/api/reservations/?status={status}")).await.body["results"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!((listed("EXPIRED").await, listed("ACTIVE").await), (1, 0));
    for refused in [
        take(&app, id, json!({})).await,
        act(&app, id, "extend", json!({ "ttl_seconds": 60 })).await,
        act(&app, id, "release", json!({})).await,
    ] {
        assert_eq!(
            (refused.status.as_u16(), &refused.body["status"]),
            (409, &json!("EXPIRED"))
        );
    }
    assert_eq!(app.unbalanced().await, []);
}

/// Once a sale has freed an item of it, a reservation stays expired, even if the clock is set back.
#[tokio::test]
async fn a_sale_ends_an_expired_reservation_for_good() {
    let app = shop().await;
    let id = reserve(&app, &[(1, 10), (2, 10)]).await;
    expire(&app, id).await;
    app.order(1, &[(1, 10)]).await.created();
    sqlx::query("update reservation set expires_at = now() + interval '1 hour'")
        .execute(&app.pool)
        .await
        .unwrap();
    assert_eq!(reservation(&app, id).await["status"], "EXPIRED");
    let refused = take(&app, id, json!({})).await;
    assert_eq!(refused.body["status"], "EXPIRED");
    sqlx::query("update reservation r set expires_at = i.expires_at from reservation_item i")
        .execute(&app.pool)
        .await
        .unwrap();
    app.order(1, &[(2, 10)]).await.created();
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn stock_writes_free_what_has_expired_before_they_refuse() {
    let app = shop().await;
    for item in [1, 2] {
        let id = reserve(&app, &[(item, 10)]).await;
        expire(&app, id).await;
    }
    let removed = json!({ "kind": "remove", "quantity": 10, "reason": "Sold elsewhere" });
    app.post("/api/inventory/1/movements/", &removed).await.created();
    assert_eq!(app.delete("/api/inventory/2/").await.status, 204);
    assert_eq!(app.unbalanced().await, []);
}

#[tokio::test]
async fn the_periodic_job_frees_expired_units_and_removes_old_reservations() {
    let app = shop().await;
    for _ in 0..3 {
        reserve(&app, &[(1, 1), (2, 1)]).await;
    }
    expire(&app, 1).await;
    expire(&app, 2).await;
    assert_eq!(reservation::sweep(&app.pool).await.unwrap(), 4);
    assert_eq!(reservation::sweep(&app.pool).await.unwrap(), 0);
    let rows: Vec<(i64, i32)> = sqlx::query_as("select id, reserved from inventory order by id")
        .fetch_all(&app.pool)
        .await
        .unwrap();
    assert_eq!(rows, [(1, 1), (2, 1)]);
    assert_eq!(app.unbalanced().await, []);
    let keep = Duration::from_hours(1);
    assert_eq!(reservation::purge(&app.pool, keep, 10).await.unwrap(), 0);
    sqlx::query("update reservation set updated_at = updated_at - interval '2 hours' where id <> 2")
        .execute(&app.pool)
        .await
        .unwrap();
    assert_eq!(reservation::purge(&app.pool, keep, 10).await.unwrap(), 1);
    let left = app.get("/api/reservations/").await.column("id");
    assert_eq!(left, [json!(3), json!(2)]);
    assert_eq!(app.unbalanced().await, []);
}
