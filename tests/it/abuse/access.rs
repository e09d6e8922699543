//! Logins, keys and queries of strangers, while people log in and clients read.

use std::collections::HashMap;

use afforo::auth::Role;
use form_urlencoded::Serializer;
use futures::future::join_all;
use reqwest::RequestBuilder;
use sqlx::Connection;

use super::{Target, size};
use crate::support::{
    accounts::{PASSWORD, account},
    app::{Answer, client, send},
    program::eventually,
};

const BEHIND_PROXY: &[(&str, &str)] = &[("TRUSTED_PROXIES", "127.0.0.1")];

/// The form of a login from an address.
fn login(target: &Target, address: &str, username: &str, password: &str) -> RequestBuilder {
    let fields = [("username", username), ("password", password)];
    let body = Serializer::new(String::new()).extend_pairs(fields).finish();
    client()
        .post(format!("http://{}/admin/login/", target.address))
        .header("x-forwarded-for", address)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("sec-fetch-site", "same-origin")
        .body(body)
}

fn statuses(answers: &[Answer]) -> HashMap<u16, usize> {
    let mut statuses = HashMap::new();
    for answer in answers {
        *statuses.entry(answer.status.as_u16()).or_default() += 1;
    }
    statuses
}

async fn count(target: &Target, sql: &'static str) -> usize {
    let count: i64 = sqlx::query_scalar(sql).fetch_one(&target.app.pool).await.unwrap();
    usize::try_from(count).unwrap()
}

#[tokio::test]
async fn known_address_logs_in_while_strangers_guess() {
    let target = Target::start(BEHIND_PROXY).await;
    account(&target.app, "ada", Role::Staff, None).await;
    let owner = async || send(login(&target, "203.0.113.7", "ada", PASSWORD)).await.status;
    assert_eq!(owner().await, 303);
    let guesses = (0..size(90)).map(|number| {
        let address = format!("198.{}.{}.7", 18 + number / 250, number % 250);
        // Most attempts use different names, so that the names are not throttled.
        let username = if number % 3 == 0 {
            "ada".to_owned()
        } else {
            format!("name{number}")
        };
        send(login(&target, &address, &username, "a guess"))
    });
    let logins = async {
        for _ in 0..6 {
            assert_eq!(owner().await, 303);
        }
    };
    let (guesses, ()) = tokio::join!(join_all(guesses), logins);
    let statuses = statuses(&guesses);
    let of = |status| statuses.get(&status).copied().unwrap_or_default();
    assert_eq!(of(400) + of(429) + of(503), guesses.len(), "{statuses:?}");
    // A login refused by the full login queue counts as an attempt; one refused by the full server does not.
    let is_busy = |answer: &&Answer| answer.text.contains("Too many people are logging in right now");
    let busy = guesses.iter().filter(is_busy).count();
    let counted = count(&target, "select count(*) from login_attempt").await;
    assert_eq!(counted, of(400) + busy, "{statuses:?}");
    target.survives().await;
}

#[tokio::test]
async fn throttled_logins_store_no_attempts_and_few_audit_entries() {
    let target = Target::start(BEHIND_PROXY).await;
    sqlx::query("insert into login_attempt (username, address) select 'name ' || n, '192.0.2.1' from generate_series(1, 20) n")
        .execute(&target.app.pool)
        .await
        .unwrap();
    for _ in 0..size(1) {
        let guesses = (0..200).map(|_| send(login(&target, "192.0.2.1", "ada", "a guess")));
        let answers = join_all(guesses).await;
        assert_eq!(statuses(&answers), HashMap::from([(429, answers.len())]));
    }
    assert_eq!(count(&target, "select count(*) from login_attempt").await, 20);
    let entries = "select count(*) from audit_log where action = 'login.throttled'";
    assert!((1..=2).contains(&count(&target, entries).await));
    target.survives().await;
}

#[tokio::test]
async fn slow_queries_of_one_client_leave_connections_to_others() {
    let target = Target::start(BEHIND_PROXY).await;
    let ask = |path: &str, address: &str| {
        let request = client().get(format!("http://{}{path}", target.address));
        send(request.header("x-forwarded-for", address))
    };
    let mut locking = sqlx::PgConnection::connect(&target.app.database_url)
        .await
        .unwrap();
    let mut lock = locking.begin().await.unwrap();
    sqlx::query("lock table category in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let slow = join_all((0..size(16)).map(|_| ask("/api/categories/", "192.0.2.1")));
    let others = async {
        let waiting = "select count(*) from pg_locks where not granted
            and database = (select oid from pg_database where datname = current_database())";
        eventually("six queries wait", async || count(&target, waiting).await == 6).await;
        for _ in 0..20 {
            assert_eq!(ask("/api/stores/", "192.0.2.2").await.status, 200);
        }
        assert_eq!(count(&target, waiting).await, 6);
        lock.rollback().await.unwrap();
    };
    let (slow, ()) = tokio::join!(slow, others);
    assert_eq!(statuses(&slow), HashMap::from([(200, slow.len())]));
    target.survives().await;
}
