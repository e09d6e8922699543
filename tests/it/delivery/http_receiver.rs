//! A receiver of webhooks: it records every request, and answers as scripted.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// `POST /hooks HTTP/1.1`
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

/// How the receiver answers a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A status, and header lines.
    Status(u16, String),
    /// 204, once a permit is available.
    When(Arc<Semaphore>),
    /// No response, as long as the client waits.
    Hang,
    /// The connection is closed.
    Close,
}

pub struct HttpReceiver {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    script: Arc<Mutex<Vec<Answer>>>,
}

impl HttpReceiver {
    /// Starts a receiver that answers one request after the other as scripted, and later ones with 204.
    pub async fn start(mut script: Vec<Answer>) -> Self {
        script.reverse();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            script: Arc::new(Mutex::new(script)),
        };
        let (requests, script) = (receiver.requests.clone(), receiver.script.clone());
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, requests.clone(), script.clone()));
            }
        });
        receiver
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Request {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }

    /// The signature according to the specification, with the key of the tests.
    pub fn expected_signature(&self) -> String {
        let key: Vec<u8> = (0..32).collect();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        mac.update(
            format!(
                "{}.{}.{}",
                self.id(),
                self.headers["webhook-timestamp"],
                self.body
            )
            .as_bytes(),
        );
        let signature =
            base64::Engine::encode(&base64::prelude::BASE64_STANDARD, mac.finalize().into_bytes());
        format!("v1,{signature}")
    }
}

async fn serve(
    mut connection: TcpStream,
    requests: Arc<Mutex<Vec<Request>>>,
    script: Arc<Mutex<Vec<Answer>>>,
) {
    let Some(request) = read(&mut connection).await else {
        return;
    };
    let answer = {
        requests.lock().unwrap().push(request);
        script.lock().unwrap().pop()
    };
    let (status, headers) = match answer {
        None => (204, String::new()),
        Some(Answer::Status(status, headers)) => (status, headers),
        Some(Answer::When(permitted)) => {
            permitted.acquire().await.unwrap().forget();
            (204, String::new())
        }
        Some(Answer::Close) => return,
        Some(Answer::Hang) => {
            // Until the client disconnects.
            let _ = connection.read(&mut [0]).await;
            return;
        }
    };
    // The head announces more than is sent: a worker must not wait for the rest.
    let length = if status == 204 {
        ""
    } else {
        "Content-Length: 1000000\r\n"
    };
    let head = format!("HTTP/1.1 {status} Said\r\n{length}{headers}\r\n");
    let _ = connection.write_all(head.as_bytes()).await;
    let _ = connection.read(&mut [0]).await;
}

async fn read(connection: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        if connection.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        if bytes[0] != b'P' {
            // The bytes are not a POST but the start of a TLS handshake.
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let mut lines = head.lines();
        let line = lines.next()?.to_owned();
        let headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        if body.len() == headers["content-length"].parse::<usize>().unwrap() {
            return Some(Request {
                line,
                headers,
                body: body.to_owned(),
            });
        }
    }
}
