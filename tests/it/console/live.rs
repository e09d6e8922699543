//! Orders as they come, over a stream of events.

use std::time::Duration;

use afforo::{auth::Role, server::Limits};
use reqwest::{Method, Response};
use tokio::time::sleep;

use super::{Browser, account, browser, execute};
use crate::support::{
    app::{TestApp, production},
    program::eventually,
};

/// A stream of events, read line by line.
struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    async fn open(browser: &Browser<'_>, query: &str) -> Self {
        let path = format!("/admin/orders/live/{query}");
        let request = browser
            .request(Method::GET, &path)
            .header("accept", "text/event-stream");
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event that tells of an order, or `None` at the end.
    async fn order(&mut self) -> Option<String> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                if event.contains("event: order") {
                    return Some(event);
                }
                continue;
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

#[tokio::test]
async fn new_order_is_streamed_as_a_row_until_the_server_stops() {
    let app = TestApp::start().await;
    let store = app.store("<b>Here</b>").await;
    let product = app.product("Lamp", "2.50").await;
    app.stock(store, product, 10).await;
    let before = app.order(store, &[(product, 1)]).await.created();
    let browser = browser(&app, Role::Viewer).await;
    let mut all = Stream::open(&browser, &format!("?since={before}")).await;
    let mut rejected = Stream::open(&browser, "?status=REJECTED").await;
    let bought = app.order(store, &[(product, 1)]).await.created();
    let refused = app.order(store, &[(product, 100)]).await.body["id"]
        .as_i64()
        .unwrap();
    for id in [bought, refused] {
        let event = all.order().await.unwrap();
        assert!(event.contains(&format!("id=\"order-{id}\"")), "{event}");
        assert!(
            event.contains("&#60;b&#62;Here") && !event.contains("<b>"),
            "{event}"
        );
    }
    let event = rejected.order().await.unwrap();
    assert!(event.contains(&format!("id=\"order-{refused}\"")), "{event}");
    app.stop.announced.cancel();
    assert_eq!(all.order().await, None);
    assert_eq!(rejected.order().await, None);
}

#[tokio::test]
async fn reconnecting_stream_receives_missed_orders() {
    let app = TestApp::start().await;
    let store = app.store("Here").await;
    let product = app.product("Lamp", "2.50").await;
    app.stock(store, product, 10).await;
    let first = app.order(store, &[(product, 1)]).await.created();
    let second = app.order(store, &[(product, 1)]).await.created();
    let browser = browser(&app, Role::Viewer).await;
    let mut stream = Stream::open(&browser, &format!("?since={first}")).await;
    let event = stream.order().await.unwrap();
    assert!(event.contains(&format!("id: {second}")), "{event}");
    let third = app.order(store, &[(product, 1)]).await.created();
    let event = stream.order().await.unwrap();
    assert!(event.contains(&format!("id: {third}")), "{event}");
}

#[tokio::test]
async fn order_that_commits_late_is_still_streamed() {
    let app = TestApp::start().await;
    let store = app.store("Here").await;
    let product = app.product("Lamp", "2.50").await;
    app.stock(store, product, 10).await;
    let browser = browser(&app, Role::Viewer).await;
    let mut stream = Stream::open(&browser, "").await;
    let mut slow = app.pool.begin().await.unwrap();
    let late: i64 =
        sqlx::query_scalar("insert into orders (store_id, status) values ($1, 'REJECTED') returning id")
            .bind(store)
            .fetch_one(&mut *slow)
            .await
            .unwrap();
    let quick = app.order(store, &[(product, 1)]).await.created();
    assert!(late < quick);
    assert!(
        stream
            .order()
            .await
            .unwrap()
            .contains(&format!("id=\"order-{quick}\""))
    );
    slow.commit().await.unwrap();
    assert!(
        stream
            .order()
            .await
            .unwrap()
            .contains(&format!("id=\"order-{late}\""))
    );
}

#[tokio::test]
async fn bound_account_is_streamed_its_store_only_until_its_session_ends() {
    let app = TestApp::start().await;
    let (here, there) = (app.store("Here").await, app.store("There").await);
    let product = app.product("Lamp", "2.50").await;
    app.stock(here, product, 10).await;
    app.stock(there, product, 10).await;
    account(&app, "bound", Role::Viewer, Some(vec![here])).await;
    let browser = Browser::log_in(&app, "bound").await;
    let mut mine = Stream::open(&browser, "?since=0").await;
    let mut others = Stream::open(&browser, &format!("?since=0&store={there}")).await;
    app.order(there, &[(product, 1)]).await.created();
    let id = app.order(here, &[(product, 1)]).await.created();
    let event = mine.order().await.unwrap();
    assert!(event.contains(&format!("id=\"order-{id}\"")), "{event}");
    execute(&app, "delete from session").await;
    assert_eq!(mine.order().await, None);
    assert_eq!(others.order().await, None);
}

#[tokio::test]
async fn silent_stream_outlives_the_request_timeouts() {
    let short = Duration::from_millis(200);
    let limits = Limits {
        head: short,
        stall: short,
        reading: short,
        ..Limits::default()
    };
    let app = TestApp::start_within(production(), limits).await;
    let store = app.store("Here").await;
    let browser = browser(&app, Role::Viewer).await;
    let mut stream = Stream::open(&browser, "").await;
    sleep(5 * short).await;
    let refused = app.order(store, &[(1, 1)]).await.body["id"].as_i64().unwrap();
    let event = stream.order().await.unwrap();
    assert!(event.contains(&format!("id=\"order-{refused}\"")), "{event}");
}

#[tokio::test]
async fn streams_per_account_are_limited() {
    let app = TestApp::start().await;
    let browser = browser(&app, Role::Viewer).await;
    let mut streams = Vec::new();
    // As many as one account may have. What there is in all is counted in the same place.
    for _ in 0..20 {
        streams.push(Stream::open(&browser, "").await);
    }
    let again = || {
        let request = browser.request(Method::GET, "/admin/orders/live/");
        request.header("accept", "text/event-stream").send()
    };
    assert_eq!(again().await.unwrap().status(), 503);
    streams.pop();
    eventually("there is a place again", async || {
        again().await.unwrap().status() == 200
    })
    .await;
}

#[tokio::test]
async fn stream_without_a_session_gets_204() {
    let app = TestApp::start().await;
    let request = app
        .request(Method::GET, "/admin/orders/live/")
        .header("accept", "text/event-stream");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 204);
}
