//! An address that moves: a proxy before one server, later before another, as after a failover.

use std::path::PathBuf;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::JoinHandle,
};

/// A TCP address that leads to a Unix socket. Dropping it ends the proxy and its connections.
pub struct MovingAddress {
    pub port: u16,
    leads_to: watch::Sender<PathBuf>,
    cut: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl MovingAddress {
    pub async fn of(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (leads_to, (cut, cuts)) = (watch::Sender::new(socket), watch::channel(0));
        let target = leads_to.subscribe();
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let socket = target.borrow().clone();
                tokio::spawn(carry(client, socket, cuts.clone()));
            }
        });
        Self {
            port,
            leads_to,
            cut,
            task,
        }
    }

    /// New connections lead to the new socket; open connections stay.
    pub fn move_to(&self, socket: PathBuf) {
        self.leads_to.send_replace(socket);
    }

    /// Ends all connections.
    pub fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for MovingAddress {
    fn drop(&mut self) {
        self.cut();
        self.task.abort();
    }
}

async fn carry(mut client: TcpStream, socket: PathBuf, mut cut: watch::Receiver<u64>) {
    cut.mark_unchanged();
    let Ok(mut server) = UnixStream::connect(socket).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = cut.changed() => {}
    }
}
