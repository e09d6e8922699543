//! Failed jobs and their retry.

use crate::{kit::Shop, support::program::eventually};

/// Refuses all confirmations, as a bug would.
const POISON: &str = "create function refuse() returns trigger language plpgsql as
     $$ begin raise exception 'order % is poison', new.order_id; end $$;
     create trigger poison before insert on order_confirmation for each row execute function refuse()";

#[tokio::test]
async fn retried_dead_letter_confirms_its_order() {
    let shop = Shop::open().await;
    let (store, lamp, _) = shop.lamps(10).await;
    sqlx::raw_sql(POISON).execute(&shop.pool).await.unwrap();
    let order = shop.app.order(store, &[(lamp, 1)]).await.created();
    eventually("the outbox row is dead", async || {
        // Its leases run out, one after the other.
        let expire = "update outbox set due_at = now() where due_at > now() and dead_at is null";
        sqlx::query(expire).execute(&shop.pool).await.unwrap();
        let dead = "select exists (select from outbox where dead_at is not null)";
        sqlx::query_scalar(dead).fetch_one(&shop.pool).await.unwrap()
    })
    .await;

    let browser = shop.enter().await;
    browser.goto(&format!("/admin/orders/{order}/")).await;
    browser.sees_no("Confirmation sent").await;
    browser.click("Jobs").await;
    browser.sees("outbox:1").await;
    browser.is_sound().await;
    sqlx::raw_sql("drop trigger poison on order_confirmation")
        .execute(&shop.pool)
        .await
        .unwrap();
    browser.click("Retry outbox:1").await;
    browser.sees("No failed jobs").await;
    browser
        .until("the confirmation is on the order's timeline", async || {
            browser.goto(&format!("/admin/orders/{order}/")).await;
            browser.text().await.contains("Confirmation sent")
        })
        .await;
    browser.close().await;
}
