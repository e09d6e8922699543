//! A proxy that closes connections before a request, during it, before its response, or during that.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// The number of requests out of a thousand whose connection is closed.
const HIT: u32 = 300;

/// A proxy in front of a server. It stops when it is dropped.
pub struct Proxy {
    pub address: SocketAddr,
    /// The number of closed connections for each of the four faults.
    pub resets: Arc<[AtomicUsize; 4]>,
    task: JoinHandle<()>,
}

/// The fault that a request meets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    LostBefore,
    LostMidway,
    AnswerLost,
    AnswerTorn,
}

impl Proxy {
    pub async fn start(server: SocketAddr, rng: &mut StdRng) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let resets: Arc<[AtomicUsize; 4]> = Arc::default();
        let (mut rng, counts) = (StdRng::seed_from_u64(rng.random()), resets.clone());
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (rng, counts) = (StdRng::seed_from_u64(rng.random()), counts.clone());
                tokio::spawn(async move {
                    // When either side closes, both connections end.
                    let _ = carry(client, server, rng, &counts).await;
                });
            }
        });
        Self {
            address,
            resets,
            task,
        }
    }

    /// The number of closed connections for each of the four faults.
    pub fn resets(&self) -> [usize; 4] {
        self.resets.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(
    mut client: TcpStream,
    server: SocketAddr,
    mut rng: StdRng,
    resets: &[AtomicUsize; 4],
) -> std::io::Result<()> {
    // The client sees a reset, however the connection ends.
    client.set_zero_linger()?;
    let mut server = TcpStream::connect(server).await?;
    let (mut request, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut fault = Fault::None;
    let count_reset = |way: usize| resets[way].fetch_add(1, Ordering::Relaxed);
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let request = &request[..read?];
                if request.is_empty() {
                    return Ok(());
                }
                fault = Fault::draw(&mut rng);
                match fault {
                    Fault::LostBefore => {
                        count_reset(0);
                        return Ok(());
                    }
                    Fault::LostMidway => {
                        server.write_all(&request[..rng.random_range(1..request.len().max(2))]).await?;
                        count_reset(1);
                        return Ok(());
                    }
                    _ => server.write_all(request).await?,
                }
            }
            read = server.read(&mut answer) => {
                let answer = &answer[..read?];
                if answer.is_empty() {
                    return Ok(());
                }
                match fault {
                    Fault::AnswerLost => {
                        count_reset(2);
                        return Ok(());
                    }
                    Fault::AnswerTorn => {
                        client.write_all(&answer[..rng.random_range(1..answer.len().max(2))]).await?;
                        count_reset(3);
                        return Ok(());
                    }
                    _ => client.write_all(answer).await?,
                }
            }
        }
    }
}

impl Fault {
    fn draw(rng: &mut StdRng) -> Self {
        match rng.random_range(0..1000 / (HIT / 4)) {
            0 => Self::LostBefore,
            1 => Self::LostMidway,
            2 => Self::AnswerLost,
            3 => Self::AnswerTorn,
            _ => Self::None,
        }
    }
}
