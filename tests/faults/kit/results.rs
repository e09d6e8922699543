//! The results that clients see: every order sent and its response.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::until;
use crate::support::app::Answer;

/// An order as it is sent. No two orders of a scenario are equal, so each can be identified in the database.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Order {
    pub store: i64,
    /// Products and quantities, in this order.
    pub items: Vec<(i64, i64)>,
}

/// The outcome of an order as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 201, with its id.
    Confirmed(i64),
    /// 200, with its id.
    Rejected(i64),
    /// 503: nothing was done.
    Refused,
    /// No response, or one that leaves open whether the order was placed.
    Unknown,
}

impl Outcome {
    /// Whether the server has acknowledged that it stored the order.
    pub fn is_acknowledged(self) -> bool {
        matches!(self, Self::Confirmed(_) | Self::Rejected(_))
    }
}

impl From<&Answer> for Outcome {
    fn from(answer: &Answer) -> Self {
        let id = answer.body["id"].as_i64();
        match (answer.status.as_u16(), id) {
            (201, Some(id)) => Self::Confirmed(id),
            (200, Some(id)) => Self::Rejected(id),
            (503, _) if answer.text.contains("taken effect") || answer.header("retry-after").is_empty() => {
                Self::Unknown
            }
            (503, _) => Self::Refused,
            _ => panic!("an order is answered with {answer:?}"),
        }
    }
}

/// Orders and outcomes that the clients of a scenario have recorded.
#[derive(Debug, Default)]
pub struct Results {
    sent: Mutex<Vec<(Order, Outcome)>>,
    statuses: Mutex<BTreeMap<u16, usize>>,
    /// Orders that got a response or whose connection broke.
    pub done: AtomicUsize,
    /// Orders that the server acknowledged.
    pub acknowledged: AtomicUsize,
    /// Requests that were sent.
    pub requests: AtomicUsize,
    /// Requests whose connection broke before the response.
    pub broken: AtomicUsize,
    /// Connections that no process accepted.
    pub refused: AtomicUsize,
}

impl Results {
    /// Records the outcome of an order.
    pub fn note(&self, order: Order, outcome: Outcome) {
        if outcome.is_acknowledged() {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        self.sent.lock().unwrap().push((order, outcome));
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Records the status of a response.
    pub fn note_status(&self, status: u16) {
        *self.statuses.lock().unwrap().entry(status).or_default() += 1;
    }

    /// Every order with its outcome.
    pub fn sent(&self) -> Vec<(Order, Outcome)> {
        self.sent.lock().unwrap().clone()
    }

    /// Counts the responses by status.
    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        self.statuses.lock().unwrap().clone()
    }

    /// Counts the responses with a status.
    pub fn answered(&self, status: u16) -> usize {
        self.statuses().get(&status).copied().unwrap_or_default()
    }

    /// Counts the connections that broke or were not accepted.
    pub fn cut(&self) -> usize {
        self.broken.load(Ordering::Relaxed) + self.refused.load(Ordering::Relaxed)
    }

    /// Waits until `orders` further orders are acknowledged.
    pub async fn more_acknowledged(&self, orders: usize) {
        let before = self.acknowledged.load(Ordering::Relaxed);
        until("orders are placed", async || {
            self.acknowledged.load(Ordering::Relaxed) >= before + orders
        })
        .await;
    }

    /// Waits until readers are served.
    pub async fn more_read(&self) {
        let read = self.answered(200);
        until("readers are served", async || self.answered(200) > read + 20).await;
    }

    /// Waits until this number of orders is done.
    pub async fn reaches(&self, orders: usize) {
        until(&format!("{orders} orders are done"), async || {
            self.done.load(Ordering::Relaxed) >= orders
        })
        .await;
    }
}
