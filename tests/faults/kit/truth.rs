//! What the clients know: every order that was sent, and what was answered.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::until;
use crate::support::app::Answer;

/// An order as it is sent. No two of a scenario are alike, so that each can be told in the database.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Order {
    pub store: i64,
    /// Products and quantities, in this order.
    pub items: Vec<(i64, i64)>,
}

/// What a client knows of an order that it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// 201, with its id.
    Confirmed(i64),
    /// 200, with its id.
    Rejected(i64),
    /// 503: nothing was done.
    Refused,
    /// No answer, or one that says that nobody knows: it may have been placed or not.
    Nothing,
}

impl Known {
    /// Whether there is an order, and it will not go away.
    pub fn is_acknowledged(self) -> bool {
        matches!(self, Self::Confirmed(_) | Self::Rejected(_))
    }
}

impl From<&Answer> for Known {
    fn from(answer: &Answer) -> Self {
        let id = answer.body["id"].as_i64();
        match (answer.status.as_u16(), id) {
            (201, Some(id)) => Self::Confirmed(id),
            (200, Some(id)) => Self::Rejected(id),
            (503, _) if answer.text.contains("taken effect") || answer.header("retry-after").is_empty() => {
                Self::Nothing
            }
            (503, _) => Self::Refused,
            _ => panic!("an order is answered with {answer:?}"),
        }
    }
}

/// The clients' memory.
#[derive(Debug, Default)]
pub struct Truth {
    sent: Mutex<Vec<(Order, Known)>>,
    statuses: Mutex<BTreeMap<u16, usize>>,
    /// Orders that were sent and answered, or whose connection broke.
    pub done: AtomicUsize,
    /// Those of them that were acknowledged.
    pub acknowledged: AtomicUsize,
    /// Requests that were sent.
    pub requests: AtomicUsize,
    /// Requests whose connection broke before the answer was there.
    pub broken: AtomicUsize,
    /// Connections that nobody took.
    pub refused: AtomicUsize,
}

impl Truth {
    /// Notes what became of an order.
    pub fn note(&self, order: Order, known: Known) {
        if known.is_acknowledged() {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        self.sent.lock().unwrap().push((order, known));
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that a request was answered with this status.
    pub fn note_status(&self, status: u16) {
        *self.statuses.lock().unwrap().entry(status).or_default() += 1;
    }

    /// Every order with what is known of it.
    pub fn sent(&self) -> Vec<(Order, Known)> {
        self.sent.lock().unwrap().clone()
    }

    /// How often each status was answered.
    pub fn statuses(&self) -> BTreeMap<u16, usize> {
        self.statuses.lock().unwrap().clone()
    }

    /// How often a status was answered.
    pub fn answered(&self, status: u16) -> usize {
        self.statuses().get(&status).copied().unwrap_or_default()
    }

    /// How many connections broke or were not taken.
    pub fn cut(&self) -> usize {
        self.broken.load(Ordering::Relaxed) + self.refused.load(Ordering::Relaxed)
    }

    /// Waits until so many orders are through.
    pub async fn reaches(&self, orders: usize) {
        until(&format!("{orders} orders are through"), async || {
            self.done.load(Ordering::Relaxed) >= orders
        })
        .await;
    }
}
