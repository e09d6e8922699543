//! A proxy that resets connections: before a request is passed on, in the midst of it, before its answer, and in the midst of
//! that.

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

/// How many of a thousand requests are hit.
const HIT: u32 = 300;

/// A proxy in front of a server. Dropping it ends it.
pub struct Proxy {
    pub address: SocketAddr,
    /// How often it has struck: each of the four ways.
    pub resets: Arc<[AtomicUsize; 4]>,
    task: JoinHandle<()>,
}

/// What becomes of a request and its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passes,
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
                    // An end of either side ends both.
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

    /// How often it has struck, in each of the four ways.
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
    // Whatever ends it, the client sees a reset.
    client.set_zero_linger()?;
    let mut server = TcpStream::connect(server).await?;
    let (mut request, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut fate = Fate::Passes;
    let strike = |way: usize| resets[way].fetch_add(1, Ordering::Relaxed);
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let request = &request[..read?];
                if request.is_empty() {
                    return Ok(());
                }
                fate = Fate::draw(&mut rng);
                match fate {
                    Fate::LostBefore => {
                        strike(0);
                        return Ok(());
                    }
                    Fate::LostMidway => {
                        server.write_all(&request[..rng.random_range(1..request.len().max(2))]).await?;
                        strike(1);
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
                match fate {
                    Fate::AnswerLost => {
                        strike(2);
                        return Ok(());
                    }
                    Fate::AnswerTorn => {
                        client.write_all(&answer[..rng.random_range(1..answer.len().max(2))]).await?;
                        strike(3);
                        return Ok(());
                    }
                    _ => client.write_all(answer).await?,
                }
            }
        }
    }
}

impl Fate {
    fn draw(rng: &mut StdRng) -> Self {
        match rng.random_range(0..1000 / (HIT / 4)) {
            0 => Self::LostBefore,
            1 => Self::LostMidway,
            2 => Self::AnswerLost,
            3 => Self::AnswerTorn,
            _ => Self::Passes,
        }
    }
}
