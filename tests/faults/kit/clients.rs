//! Honest clients: they keep their connections, send each order once, and remember what was answered.

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
    truth::{Known, Order, Truth},
};
use crate::support::app::{self, Answer};

/// Between an order that was not answered, or refused for now, and the next.
pub const BREATH: Duration = Duration::from_millis(20);

/// Clients that share a memory.
#[derive(Clone)]
pub struct Clients {
    pub http: reqwest::Client,
    pub truth: Arc<Truth>,
}

impl Clients {
    pub fn new() -> Self {
        Self {
            http: app::client(),
            truth: Arc::default(),
        }
    }

    /// So many clients place orders, one after the other each, at the servers in turn, until there are no more. Who is told
    /// to come back later takes a breath.
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
                        sleep(BREATH).await;
                    }
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    }

    /// Places an order, and notes what is known of it then.
    pub async fn place_one(&self, server: SocketAddr, order: Order) -> Known {
        let request = self.http.post(format!("http://{server}/api/orders/"));
        let request = request.json(&app::order(order.store, &order.items));
        let known = match self.send(request).await {
            Some(answer) => Known::from(&answer),
            None => Known::Nothing,
        };
        self.truth.note(order, known);
        known
    }

    /// Sends a request once: again only while nobody takes the connection, for then nothing was sent. Answers what was
    /// answered, if anything was.
    pub async fn send(&self, request: RequestBuilder) -> Option<Answer> {
        loop {
            let attempt = request.try_clone().unwrap().timeout(PATIENCE).send().await;
            let response = match attempt {
                Err(error) if error.is_connect() => {
                    self.truth.refused.fetch_add(1, Ordering::Relaxed);
                    sleep(BREATH).await;
                    continue;
                }
                response => response,
            };
            self.truth.requests.fetch_add(1, Ordering::Relaxed);
            let read = async {
                let response = response?;
                let (status, headers) = (response.status(), response.headers().clone());
                Ok::<_, reqwest::Error>((status, headers, response.text().await?))
            };
            match read.await {
                Ok((status, headers, text)) => {
                    self.truth.note_status(status.as_u16());
                    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
                    return Some(Answer {
                        status,
                        headers,
                        text,
                        body,
                    });
                }
                Err(error) => {
                    assert!(!error.is_timeout(), "an answer does not come: {error:?}");
                    self.truth.broken.fetch_add(1, Ordering::Relaxed);
                    return None;
                }
            }
        }
    }
}

/// Orders of all the products, each with quantities of its own: the number of the order, to the base of 16, in one digit a
/// product. The products are in a random order.
pub struct Orders {
    store: i64,
    products: Vec<i64>,
    seed: u64,
    next: AtomicUsize,
    end: AtomicUsize,
}

impl Orders {
    /// So many of them.
    pub fn new(rng: &mut StdRng, (store, products): &(i64, Vec<i64>), count: usize) -> Arc<Self> {
        let most = 16_usize.pow(u32::try_from(products.len()).unwrap());
        assert!(count <= most, "there are products enough for so many orders");
        Arc::new(Self {
            store: *store,
            products: products.clone(),
            seed: rng.random(),
            next: AtomicUsize::new(0),
            end: AtomicUsize::new(count),
        })
    }

    /// As many as are taken until [`Orders::end`].
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

    /// There are no more from now on.
    pub fn end(&self) {
        self.end.store(0, Ordering::Relaxed);
    }

    /// There are so many more, after all.
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

/// Pauses between the kills of a fault, in milliseconds: they strike at any moment, not just after an answer.
pub async fn a_moment(rng: &mut StdRng, longest: u64) {
    let pause = Duration::from_millis(rng.random_range(0..=longest));
    sleep(pause).await;
}
