//! Deliveries of confirmations to an SMTP server and an HTTP server that misbehave as scripted.

mod email;
mod faults;
mod http_receiver;
mod settings;
mod smtp_receiver;
mod webhook;

use std::{sync::Arc, time::Duration};

use afforo::{
    delivery::{Backoff, Email, EmailConfig, Encryption, Webhook},
    worker::{self, Notifiers, Times, WorkerError},
};
use http_receiver::HttpReceiver;
use smtp_receiver::SmtpReceiver;
use sqlx::PgPool;
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::support::app::TestApp;

/// 32 bytes.
const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The default settings with short pauses.
fn times() -> Times {
    Times {
        backoff: Backoff {
            first: Duration::from_millis(10),
            longest: Duration::from_hours(6),
            attempts: 4,
        },
        ..Times::default()
    }
}

fn webhook(receiver: &HttpReceiver) -> Webhook {
    let url = format!("http://{}/hooks?shop=1", receiver.address);
    Webhook::new(&url.into(), &SECRET.into()).unwrap()
}

fn email_config(receiver: &SmtpReceiver) -> EmailConfig {
    EmailConfig {
        host: receiver.address.ip().to_string(),
        port: receiver.address.port(),
        user: String::new(),
        password: "".into(),
        encryption: Encryption::None,
        timeout: Duration::from_secs(15),
        from: "Shop <shop@example.com>".to_owned(),
        to: "orders@example.com, Ann <ann@example.com>".to_owned(),
    }
}

fn email(receiver: &SmtpReceiver) -> Email {
    Email::new(&email_config(receiver)).unwrap()
}

/// A worker within this process.
struct Worker {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), WorkerError>>,
}

impl Worker {
    fn start(app: &TestApp, email: Option<Email>, webhook: Option<Webhook>) -> Self {
        Self::start_with(app, email, webhook, times())
    }

    fn start_with(app: &TestApp, email: Option<Email>, webhook: Option<Webhook>, times: Times) -> Self {
        let mut notifiers = Notifiers::new(email, webhook);
        notifiers.times = times;
        let shutdown = CancellationToken::new();
        let (db, redis, stop) = (app.pool.clone(), app.redis.clone(), shutdown.clone());
        let told = Arc::new(Notify::new());
        let task = tokio::spawn(async move { worker::run(db, &redis, 4, notifiers, told, stop).await });
        Self { shutdown, task }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Places orders of two lamps in a new store, and returns their ids.
async fn orders(app: &TestApp, count: usize) -> Vec<i64> {
    let (store, product) = (app.store("Main Store").await, app.product("Lamp", "1.50").await);
    app.stock(store, product, 1000).await;
    let mut orders = Vec::new();
    for _ in 0..count {
        orders.push(app.order(store, &[(product, 2)]).await.created());
    }
    orders
}

/// Order, attempts and state of all deliveries.
async fn deliveries(pool: &PgPool) -> Vec<(i64, i32, String)> {
    sqlx::query_as(
        "select order_id, attempts, case when delivered_at is not null then 'delivered'
             when dead_at is not null then 'dead' else 'waiting' end
         from delivery order by order_id, channel",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

async fn all_delivered(pool: &PgPool, count: usize) -> bool {
    let deliveries = deliveries(pool).await;
    deliveries.len() == count && deliveries.iter().all(|(_, _, state)| state == "delivered")
}

/// The last error of the only delivery.
async fn error(pool: &PgPool) -> String {
    sqlx::query_scalar("select error from delivery")
        .fetch_one(pool)
        .await
        .unwrap()
}
