//! One caller's share of the shared pool.

use std::{net::SocketAddr, sync::Arc};

use afforo::{
    config::HttpSettings,
    http::AdmissionLimits,
    server::{self, App, Limits, RouteClass},
    shutdown::Stop,
};
use futures::future::{Either, select};
use tokio::net::TcpListener;

use super::{Gate, waiting};
use crate::support::app::{Answer, client, production, send};

/// A server with routes of a class that wait. One client has two connections, and `client_pooled` requests for them.
async fn start(class: RouteClass, client_pooled: usize) -> (SocketAddr, Arc<Gate>) {
    let limits = Limits {
        admission: AdmissionLimits {
            client_pooled,
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
    let app = App::new([(class, routes)], None, &http, limits, stop);
    tokio::spawn(server::run(listener, app));
    (address, gate)
}

#[tokio::test]
async fn dry_runs_of_orders_count_for_the_share_of_their_client() {
    let (address, gate) = start(RouteClass::QueuedWrites, 2).await;
    let write = |query: &'static str| {
        let request = client().post(format!("http://{address}/wait/{query}")).body("{}");
        Box::pin(async move { send(request).await.status.as_u16() })
    };
    let dry_runs = [
        tokio::spawn(write("?dry_run=true")),
        tokio::spawn(write("?dry_run=true")),
    ];
    gate.has(2).await;
    assert_eq!(write("?dry_run=true").await, 503);
    let order = tokio::spawn(write(""));
    gate.has(1).await;
    gate.release(3);
    assert_eq!(order.await.unwrap(), 204);
    for dry_run in dry_runs {
        assert_eq!(dry_run.await.unwrap(), 204);
    }
}

#[tokio::test]
async fn one_client_cannot_use_the_whole_pool() {
    let (address, gate) = start(RouteClass::Pooled, 3).await;
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
