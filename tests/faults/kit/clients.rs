//! Clients that keep their connections, send each order once, and record the responses.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};

use super::{
    PATIENCE,
    results::{Order, Outcome, Results},
};
use crate::support::app::{self, Answer};

/// The pause after an order that was refused or got no response.
pub const RETRY_DELAY: Duration = Duration::from_millis(20);

/// Clients that record their results together.
#[derive(Clone)]
pub struct Clients {
    pub http: reqwest::Client,
    pub results: Arc<Results>,
}

impl Clients {
    pub fn new() -> Self {
        Self {
            http: app::client(),
            results: Arc::default(),
        }
    }

    /// Runs `clients` clients until no orders are left. Each places one order at a time, at the servers in turn, and pauses
    /// after a refusal.
    pub async fn place(&self, clients: usize, servers: &[SocketAddr], orders: &Arc<Orders>) {
        let turn = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let (this, orders, turn, servers) =
                (self.clone(), orders.clone(), turn.clone(), servers.to_vec());
            tasks.spawn(async move {
                while let Some(order) = orders.take() {
                    let server = servers[turn.fetch_add(1, Ordering::Relaxed) % servers.len()];
                    if !this.place_one(server, order).await.is_acknowledged() {
                        sleep(RETRY_DELAY).await;
                    }
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    }

    /// Places an order and records its outcome.
    pub async fn place_one(&self, server: SocketAddr, order: Order) -> Outcome {
        let request = self.http.post(format!("http://{server}/api/orders/"));
        let request = request.json(&app::order(order.store, &order.items));
        let outcome = match self.send(request).await {
            Some(answer) => Outcome::from(&answer),
            None => Outcome::Unknown,
        };
        self.results.note(order, outcome);
        outcome
    }

    /// Sends a request once and returns the response, if one arrives. Retries only while the connection is not accepted,
    /// because then no request was sent.
    pub async fn send(&self, request: RequestBuilder) -> Option<Answer> {
        loop {
            let attempt = request.try_clone().unwrap().timeout(PATIENCE).send().await;
            let response = match attempt {
                Err(error) if error.is_connect() => {
                    self.results.refused.fetch_add(1, Ordering::Relaxed);
                    sleep(RETRY_DELAY).await;
                    continue;
                }
                response => response,
            };
            self.results.requests.fetch_add(1, Ordering::Relaxed);
            let read = async {
                let response = response?;
                let (status, headers) = (response.status(), response.headers().clone());
                Ok::<_, reqwest::Error>((status, headers, response.text().await?))
            };
            match read.await {
                Ok((status, headers, text)) => {
                    self.results.note_status(status.as_u16());
                    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
                    return Some(Answer {
                        status,
                        headers,
                        text,
                        body,
                    });
                }
                Err(error) => {
                    assert!(!error.is_timeout(), "no response within the timeout: {error:?}");
                    self.results.broken.fetch_add(1, Ordering::Relaxed);
                    return None;
                }
            }
        }
    }
}

/// Orders of all products, each with different quantities: the order's number in base 16, with one digit per product.
/// The products are in random order.
pub struct Orders {
    store: i64,
    products: Vec<i64>,
    seed: u64,
    next: AtomicUsize,
    end: AtomicUsize,
}

impl Orders {
    /// Creates a fixed number of orders.
    pub fn new(rng: &mut StdRng, (store, products): &(i64, Vec<i64>), count: usize) -> Arc<Self> {
        let most = 16_usize.pow(u32::try_from(products.len()).unwrap());
        assert!(count <= most, "the products allow {count} different orders");
        Arc::new(Self {
            store: *store,
            products: products.clone(),
            seed: rng.random(),
            next: AtomicUsize::new(0),
            end: AtomicUsize::new(count),
        })
    }

    /// Creates orders until [`Orders::end`] is called.
    pub fn endless(rng: &mut StdRng, shop: &(i64, Vec<i64>)) -> Arc<Self> {
        let most = 16_usize.pow(u32::try_from(shop.1.len()).unwrap());
        Self::new(rng, shop, most)
    }

    /// The next one.
    pub fn take(&self) -> Option<Order> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.end.load(Ordering::Relaxed)).then(|| self.number(number))
    }

    /// Whether there are more.
    pub fn has_more(&self) -> bool {
        self.next.load(Ordering::Relaxed) < self.end.load(Ordering::Relaxed)
    }

    /// Ends the orders.
    pub fn end(&self) {
        self.end.store(0, Ordering::Relaxed);
    }

    /// Adds `count` orders after the end.
    pub fn go_on(&self, count: usize) {
        let next = self.next.load(Ordering::Relaxed);
        self.end.store(next + count, Ordering::Relaxed);
    }

    fn number(&self, number: usize) -> Order {
        let mut rest = number;
        let mut items: Vec<(i64, i64)> = Vec::with_capacity(self.products.len());
        for product in &self.products {
            items.push((*product, i64::try_from(rest % 16).unwrap() + 1));
            rest /= 16;
        }
        items.shuffle(&mut StdRng::seed_from_u64(self.seed ^ number as u64));
        Order {
            store: self.store,
            items,
        }
    }
}

/// Pauses for a random time of at most `longest` milliseconds, so that a kill does not always follow a response.
pub async fn short_pause(rng: &mut StdRng, longest: u64) {
    let pause = Duration::from_millis(rng.random_range(0..=longest));
    sleep(pause).await;
}
