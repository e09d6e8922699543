//! A webhook receiver that records the messages about confirmed orders.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Json, Router, extract::State, http::HeaderMap, routing::post};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

/// The messages about each order: how often each came.
pub type Messages = BTreeMap<i64, BTreeMap<String, usize>>;

/// A receiver. It stops when it is dropped.
pub struct Receiver {
    address: SocketAddr,
    messages: Arc<Mutex<Messages>>,
    task: JoinHandle<()>,
}

impl Receiver {
    pub async fn start() -> Self {
        let messages = Arc::<Mutex<Messages>>::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/", post(note)).with_state(messages.clone());
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self {
            address,
            messages,
            task,
        }
    }

    /// The environment of a worker that sends webhooks to this receiver.
    pub fn env(&self) -> [(&'static str, String); 2] {
        let secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        [
            ("WEBHOOK_URL", format!("http://{}/", self.address)),
            ("WEBHOOK_SECRET", secret.to_owned()),
        ]
    }

    /// The messages received so far.
    pub fn messages(&self) -> Messages {
        self.messages.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn note(State(messages): State<Arc<Mutex<Messages>>>, headers: HeaderMap, Json(message): Json<Value>) {
    let id = headers["webhook-id"].to_str().unwrap().to_owned();
    let order = message["data"]["id"].as_i64().unwrap();
    *messages
        .lock()
        .unwrap()
        .entry(order)
        .or_default()
        .entry(id)
        .or_default() += 1;
}
