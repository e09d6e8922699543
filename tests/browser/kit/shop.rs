//! What is looked at: a server with a worker, accounts, and goods.

use afforo::{
    auth::Role,
    worker::{self, Notifiers},
};
use serde_json::json;
use sqlx::PgPool;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Browser;
use crate::support::{
    accounts::{PASSWORD, account},
    app::TestApp,
};

/// A server with a worker beside it.
pub struct Shop {
    pub app: TestApp,
    pub pool: PgPool,
    _worker: DropGuard,
}

impl Shop {
    pub async fn open() -> Self {
        Self::of(TestApp::start().await)
    }

    /// The same, with a server that was started already.
    pub fn of(app: TestApp) -> Self {
        let stop = CancellationToken::new();
        let (pool, redis, told, token) = (
            app.pool.clone(),
            app.redis.clone(),
            app.order_confirmed.clone(),
            stop.clone(),
        );
        tokio::spawn(async move { worker::run(pool, &redis, 2, Notifiers::default(), told, token).await });
        Self {
            pool: app.pool.clone(),
            app,
            _worker: stop.drop_guard(),
        }
    }

    /// Opens a store with lamps at 1.50: the ids of the store, the product, and its stock.
    pub async fn lamps(&self, quantity: i32) -> (i64, i64, i64) {
        let (store, lamp) = (
            self.app.store("Main Store").await,
            self.app.product("Lamp", "1.50").await,
        );
        (store, lamp, self.app.stock(store, lamp, quantity).await)
    }

    /// Fills the shop with one of everything, each with values as long as they may be and nowhere to break.
    pub async fn stock_up(&self) {
        let app = &self.app;
        let category = app.category(&"C".repeat(100)).await;
        let product = app.product_in(category, &"P".repeat(200), "9999.99").await;
        let body = json!({ "name": "S".repeat(200), "location": "L".repeat(300) });
        let store = app.post("/api/stores/", &body).await.created();
        let inventory = app.stock(store, product, 12_000).await;
        app.stock(store, app.product("Lamp", "1.50").await, 2).await;
        let inactive =
            json!({ "title": "Candle", "price": "0.50", "category_id": category, "is_active": false });
        app.post("/api/products/", &inactive).await.created();
        app.order(store, &[(product, 10_000)]).await.created();
        assert_eq!(
            app.order(store, &[(product, 10_000)]).await.body["status"],
            "REJECTED"
        );
        let other = app.store("Other").await;
        let items = json!([{ "product_id": product, "quantity": 500 }]);
        let new = json!({ "from_store_id": store, "to_store_id": other, "items": items });
        for shipped in [false, true] {
            let id = app.post("/api/transfers/", &new).await.created();
            if shipped {
                app.post(&format!("/api/transfers/{id}/ship/"), &json!({})).await;
            }
        }
        let counted = json!({ "kind": "count", "quantity": 3, "reason": "R".repeat(200) });
        app.post(&format!("/api/inventory/{inventory}/movements/"), &counted)
            .await
            .created();
        account(app, &"U".repeat(150), Role::Staff, Some(vec![store])).await;
        sqlx::query("insert into outbox (order_ids, handouts, dead_at) values ('{1}', 11, now())")
            .execute(&self.pool)
            .await
            .unwrap();
        sqlx::query(
            "insert into delivery (order_id, channel, due_at, dead_at, error)
             values (1, 'webhook', null, now(), repeat('E', 300))",
        )
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Opens a browser, in which somebody who may do everything logs in.
    pub async fn enter(&self) -> Browser {
        account(&self.app, "chief", Role::Superuser, None).await;
        let browser = Browser::open(self.app.address).await;
        self.log_in(&browser, "chief").await;
        browser
    }

    /// Logs in with an account, by the form.
    pub async fn log_in(&self, browser: &Browser, username: &str) {
        browser.goto("/admin/login/").await;
        browser.fill("Username", username).await;
        browser.fill("Password", PASSWORD).await;
        browser.click("Log in").await;
        browser.arrives_at("/admin/").await;
    }
}
