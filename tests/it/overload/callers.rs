//! One caller's share of the shared pool.

use std::sync::Arc;

use afforo::{
    config::HttpSettings,
    http::AdmissionLimits,
    server::{self, App, Limits, RouteClass},
    shutdown::Stop,
};
use futures::future::{Either, select};
use tokio::net::TcpListener;

use super::waiting;
use crate::support::app::{Answer, client, production, send};

#[tokio::test]
async fn one_client_cannot_use_the_whole_pool() {
    let limits = Limits {
        admission: AdmissionLimits {
            client_pooled: 3,
            client_connections: 2,
            ..AdmissionLimits::default()
        },
        ..Limits::default()
    };
    let http = HttpSettings {
        trusted_proxies: "127.0.0.1".parse().unwrap(),
        ..production()
    };
    let (routes, gate) = waiting();
    let stop = Arc::new(Stop::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(server::run(
        listener,
        App::new([(RouteClass::Pooled, routes)], None, &http, limits, stop.clone()),
    ));
    let ask = |from: &'static str| {
        let request = client().get(format!("http://{address}/wait/"));
        Box::pin(async move { send(request.header("x-forwarded-for", from)).await })
    };
    let write = |from: &'static str| {
        let request = client().post(format!("http://{address}/wait/")).body("{}");
        Box::pin(async move { send(request.header("x-forwarded-for", from)).await })
    };
    let status = |answer: Answer| answer.status.as_u16();

    let at_work = [tokio::spawn(ask("192.0.2.1")), tokio::spawn(write("192.0.2.1"))];
    gate.has(2).await;
    // One more may wait; of two, the other is refused.
    let (Either::Left((refused, waits)) | Either::Right((refused, waits))) =
        select(tokio::spawn(ask("192.0.2.1")), tokio::spawn(ask("192.0.2.1"))).await;
    assert_eq!(status(refused.unwrap()), 503);
    // An IPv6 network is one caller, too.
    let others = [tokio::spawn(ask("2001:db8::1")), tokio::spawn(ask("2001:db8::2"))];
    gate.has(2).await;
    assert!(!waits.is_finished());
    gate.release(5);
    gate.has(1).await;
    for answer in at_work.into_iter().chain(others).chain([waits]) {
        assert_eq!(status(answer.await.unwrap()), 204);
    }
}
