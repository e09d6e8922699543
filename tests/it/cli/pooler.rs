//! A transaction pooler such as `PgBouncer`. It has two connections to PostgreSQL for all clients; each transaction takes
//! the connection that has been idle for longer.

use std::{collections::VecDeque, sync::Mutex};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::Semaphore,
    task::JoinHandle,
};

use crate::support::servers;

const CONNECTIONS: usize = 2;

/// A pooler. It ends when it is dropped.
pub(super) struct Pooler {
    port: u16,
    task: JoinHandle<()>,
}

/// The state that all clients share.
struct Pool {
    /// The first messages of PostgreSQL to a new client.
    greeting: Vec<u8>,
    idle: Mutex<VecDeque<UnixStream>>,
    places: Semaphore,
}

impl Pooler {
    /// Starts a pooler in front of a database.
    pub(super) async fn start(database: &str) -> Self {
        let (mut greeting, mut idle) = (Vec::new(), VecDeque::new());
        for _ in 0..CONNECTIONS {
            let socket = servers::postgres().socket_dir().join(".s.PGSQL.5432");
            let mut server = UnixStream::connect(socket).await.unwrap();
            // The session settings of the client are ignored.
            let body = format!("\0\x03\0\0user\0postgres\0database\0{database}\0\0");
            let length = u32::try_from(body.len() + 4).unwrap();
            server.write_all(&length.to_be_bytes()).await.unwrap();
            server.write_all(body.as_bytes()).await.unwrap();
            greeting = answer(&mut server).await.0;
            idle.push_back(server);
        }
        let pool = Pool {
            greeting,
            idle: Mutex::new(idle),
            places: Semaphore::new(CONNECTIONS),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            let pool: &Pool = Box::leak(Box::new(pool));
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(client, pool));
            }
        });
        Self { port, task }
    }

    pub(super) fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable",
            self.port
        )
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards the transactions of one client until it disconnects.
async fn serve(mut client: TcpStream, pool: &Pool) {
    let mut startup = vec![0; client.read_u32().await.unwrap() as usize - 4];
    client.read_exact(&mut startup).await.unwrap();
    client.write_all(&pool.greeting).await.unwrap();
    let mut taken = None;
    while let Some(message) = message(&mut client).await {
        let kind = message[0];
        if kind == b'X' {
            return;
        }
        if taken.is_none() {
            pool.places.acquire().await.unwrap().forget();
            taken = pool.idle.lock().unwrap().pop_front();
        }
        let server = taken.as_mut().unwrap();
        server.write_all(&message).await.unwrap();
        // PostgreSQL answers only a query or the end of a group of messages.
        if [b'Q', b'S'].contains(&kind) {
            let (answer, state) = answer(server).await;
            if state == b'I' {
                pool.idle.lock().unwrap().push_back(taken.take().unwrap());
                pool.places.add_permits(1);
            }
            client.write_all(&answer).await.unwrap();
        }
    }
}

/// All messages of a server until it is ready, and its transaction state.
async fn answer(server: &mut UnixStream) -> (Vec<u8>, u8) {
    let mut output = Vec::new();
    loop {
        let message = message(server).await.expect("PostgreSQL answers");
        output.extend(&message);
        if message[0] == b'Z' {
            return (output, message[5]);
        }
    }
}

/// One message of the protocol: a letter, a length, and a body of that length.
async fn message(from: &mut (impl AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let mut message = vec![0; 5];
    from.read_exact(&mut message).await.ok()?;
    let length = u32::from_be_bytes(message[1..5].try_into().unwrap());
    message.resize(length as usize + 1, 0);
    from.read_exact(&mut message[5..]).await.ok()?;
    Some(message)
}
