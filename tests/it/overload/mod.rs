//! Overload, slow clients, and graceful shutdown.

mod answers;
mod bodies;
mod callers;
mod connections;
mod ready;
mod requests;
mod stopping;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use afforo::{
    server::{self, App, Limits, RouteClass},
    shutdown::Stop,
};
use axum::{
    Router,
    http::StatusCode,
    routing::{any, get},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};

use crate::support::app::production;

/// The longest wait for an event before a test fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// A time limit that a test waits for.
const SHORT: Duration = Duration::from_millis(60);

/// A server with test routes behind the middleware and limits of the real server.
struct Served {
    address: SocketAddr,
    stop: Arc<Stop>,
    running: JoinHandle<io::Result<()>>,
}

impl Served {
    async fn start(routes: Router, limits: Limits) -> Self {
        let stop = Arc::new(Stop::default());
        let groups = [
            (
                RouteClass::Pooled,
                routes.fallback(async || StatusCode::NOT_FOUND),
            ),
            (
                RouteClass::Operators,
                Router::new().route("/health/", get(async || "healthy")),
            ),
        ];
        let app = App::new(groups, None, &production(), limits, stop.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self {
            address,
            stop,
            running: tokio::spawn(server::run(listener, app)),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Waits until the server has stopped.
    async fn ends(self) {
        let ended = timeout(PATIENCE, self.running).await.expect("the server stops");
        ended.unwrap().unwrap();
    }
}

/// A route `/wait/`, whose requests wait for a permit, and `/quick/`, which responds at once.
fn waiting() -> (Router, Arc<Gate>) {
    let gate = Arc::new(Gate {
        inside: Semaphore::new(0),
        open: Semaphore::new(0),
    });
    let shared = gate.clone();
    let wait = move || {
        let gate = shared.clone();
        async move {
            gate.inside.add_permits(1);
            gate.open.acquire().await.unwrap().forget();
            StatusCode::NO_CONTENT
        }
    };
    let routes = Router::new()
        .route("/wait/", any(wait))
        .route("/quick/", get(async || "quick"));
    (routes, gate)
}

/// The gate that holds requests of `/wait/`.
struct Gate {
    inside: Semaphore,
    open: Semaphore,
}

impl Gate {
    /// Waits until `count` more requests have arrived.
    async fn has(&self, count: u32) {
        let came = timeout(PATIENCE, self.inside.acquire_many(count)).await;
        came.expect("the requests arrive").unwrap().forget();
    }

    /// Lets `count` requests continue.
    fn release(&self, count: usize) {
        self.open.add_permits(count);
    }
}

/// A connection whose bytes the test controls.
struct Raw(TcpStream);

impl Raw {
    async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn send(&mut self, text: impl AsRef<[u8]>) {
        self.0.write_all(text.as_ref()).await.unwrap();
    }

    /// Requests a path and keeps the connection open.
    async fn get(&mut self, path: &str) {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"))
            .await;
    }

    /// The head of one response, in lower case, and a body of the stated length.
    async fn answer(&mut self) -> (String, String) {
        let reading = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let byte = self.0.read_u8().await;
                head.push(byte.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&head))));
            }
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            self.0.read_exact(&mut body).await.unwrap();
            (head, String::from_utf8(body).unwrap())
        };
        timeout(PATIENCE, reading).await.expect("an answer")
    }

    /// Waits until the server closes the connection. No more bytes may arrive.
    async fn closed(mut self) {
        let read = timeout(PATIENCE, self.0.read_u8())
            .await
            .expect("the server closes the connection");
        assert!(read.is_err(), "more came");
    }
}
