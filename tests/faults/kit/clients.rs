//! Honest clients: they keep their connections, send each order once, and remember what was answered.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rand::{Rng, rngs::StdRng};
use reqwest::RequestBuilder;
use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};

use super::{
    PATIENCE,
    truth::{Answer, Order, Truth},
};
use crate::support::app;

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

    /// So many clients place the orders, one after the other each, at the servers in turn.
    pub async fn place(&self, clients: usize, servers: &[SocketAddr], orders: Vec<Order>) {
        let orders = Arc::new(Mutex::new(VecDeque::from(orders)));
        let turn = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let (this, orders, turn, servers) =
                (self.clone(), orders.clone(), turn.clone(), servers.to_vec());
            tasks.spawn(async move {
                loop {
                    let Some(order) = orders.lock().unwrap().pop_front() else {
                        return;
                    };
                    let server = servers[turn.fetch_add(1, Ordering::Relaxed) % servers.len()];
                    this.place_one(server, order).await;
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
    }

    /// Places an order, and notes what is known of it then.
    pub async fn place_one(&self, server: SocketAddr, order: Order) {
        let request = self.http.post(format!("http://{server}/api/orders/"));
        let request = request.json(&app::order(order.store, &order.items));
        let answer = match self.send(request).await {
            Some((201, body)) => Answer::Confirmed(body["id"].as_i64().unwrap()),
            Some((200, body)) => Answer::Rejected(body["id"].as_i64().unwrap()),
            _ => Answer::Unknown,
        };
        self.truth.note(order, answer);
    }

    /// Sends a request once: again only while nobody takes the connection, for then nothing was sent. Answers status and
    /// body, if there are any.
    pub async fn send(&self, request: RequestBuilder) -> Option<(u16, Value)> {
        loop {
            let attempt = request.try_clone().unwrap().timeout(PATIENCE).send().await;
            match attempt {
                Err(error) if error.is_connect() => {
                    self.truth.refused.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(5)).await;
                }
                Err(error) => {
                    assert!(!error.is_timeout(), "an answer does not come: {error:?}");
                    self.truth.requests.fetch_add(1, Ordering::Relaxed);
                    self.truth.broken.fetch_add(1, Ordering::Relaxed);
                    return None;
                }
                Ok(response) => {
                    self.truth.requests.fetch_add(1, Ordering::Relaxed);
                    let status = response.status().as_u16();
                    self.truth.note_status(status);
                    let Ok(text) = response.text().await else {
                        self.truth.broken.fetch_add(1, Ordering::Relaxed);
                        return None;
                    };
                    return Some((status, serde_json::from_str(&text).unwrap_or(Value::Null)));
                }
            }
        }
    }
}

/// Orders of all the products, each with quantities of its own: the number of the order, to the base of 16, in one digit a
/// product. The products are in a random order.
pub fn marked_orders(rng: &mut StdRng, store: i64, products: &[i64], count: usize) -> Vec<Order> {
    use rand::seq::SliceRandom;
    let orders = (0..count).map(|number| {
        let mut rest = number;
        let mut items: Vec<(i64, i64)> = products
            .iter()
            .map(|product| {
                let digit = rest % 16;
                rest /= 16;
                (*product, i64::try_from(digit).unwrap() + 1)
            })
            .collect();
        assert_eq!(rest, 0, "there are products enough for so many orders");
        items.shuffle(rng);
        Order { store, items }
    });
    orders.collect()
}

/// Pauses between the kills of a fault, in milliseconds: they strike at any moment, not just after an answer.
pub async fn a_moment(rng: &mut StdRng, longest: u64) {
    let pause = Duration::from_millis(rng.random_range(0..=longest));
    sleep(pause).await;
}
