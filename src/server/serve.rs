//! The loop that takes connections, and how it ends.

use std::{
    future::Future,
    io::{self, Read, Write},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    task::unconstrained,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep},
};
use tokio_util::task::TaskTracker;

use super::{App, connection, connections::Connections, limits::Limits};

/// Files that a server has open beside its connections: those to its servers, and its own.
const OTHER_FILES: u64 = 256;
/// The pause after the system could not hand over a connection, and between two complaints about that.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// Serves until it is told to stop. Then it takes no more connections, ends those that are silent, and lets the requests
/// under way finish, those included whose client has gone.
///
/// # Errors
/// None as yet: what goes wrong with one connection, or with taking one, does not end the server.
pub async fn run(listener: TcpListener, app: App) -> io::Result<()> {
    let limits = Limits {
        connections: within_open_files(app.limits.connections),
        ..app.limits
    };
    let (stop, writes) = (app.stop.clone(), app.writes.clone());
    let mut server = Server {
        connections: Connections::new(limits),
        tasks: TaskTracker::new(),
        look: interval(limits.tick()),
        complained: None,
        app,
    };
    server.look.set_missed_tick_behavior(MissedTickBehavior::Delay);

    let told = stop.announced.clone();
    server
        .accept_until(&listener, async move {
            told.cancelled().await;
            if !limits.delay.is_zero() {
                tracing::info!(
                    "no longer ready; serving for another {} s",
                    limits.delay.as_secs()
                );
                sleep(limits.delay).await;
            }
        })
        .await;
    stop.draining.cancel();
    server.connections.finish();
    // Those that the system has taken already would be reset; their requests may be there. All of them are taken: a task's
    // budget would end before they do.
    while let Some(Ok((stream, peer))) = unconstrained(listener.accept()).now_or_never() {
        server.take(stream, peer);
    }
    drop(listener);
    server.finish(limits.drain, writes).await;
    Ok(())
}

struct Server {
    app: App,
    connections: Arc<Connections>,
    tasks: TaskTracker,
    look: Interval,
    complained: Option<Instant>,
}

impl Server {
    async fn accept_until(&mut self, listener: &TcpListener, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                _ = self.look.tick() => self.look_around(),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.take(stream, peer),
                    Err(error) => self.not_accepted(&error).await,
                },
            }
        }
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        let Some(place) = self.connections.place() else {
            metrics::counter!("afforo_http_shed_total", "reason" => "connections").increment(1);
            refuse(stream);
            return;
        };
        // Without it, the last part of an answer may wait for the client to acknowledge the part before.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps Nagle's algorithm");
        }
        let app = self.app.router.clone();
        self.tasks.spawn(async move {
            connection::serve(stream, peer, app, place.notes.clone()).await;
            drop(place);
        });
    }

    /// The server goes on: with a pause, so that it does not spin, and with fewer connections if it is they that are too
    /// many.
    async fn not_accepted(&mut self, error: &io::Error) {
        use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
        if matches!(
            error.kind(),
            ConnectionAborted | ConnectionRefused | ConnectionReset
        ) {
            return;
        }
        if self.complained.is_none_or(|last| last.elapsed() > COMPLAIN_EVERY) {
            self.complained = Some(Instant::now());
            tracing::error!(%error, "no connection can be taken");
        }
        self.connections.make_room();
        sleep(ACCEPT_PAUSE).await;
    }

    fn look_around(&self) {
        let open = self.connections.look();
        #[expect(clippy::cast_precision_loss, reason = "there are fewer than 2^52")]
        metrics::gauge!("afforo_http_connections").set(open as f64);
    }

    async fn finish(mut self, drain: Duration, writes: TaskTracker) {
        self.tasks.close();
        writes.close();
        let tasks = self.tasks.clone();
        // Connections start the writes.
        let mut finished = pin!(async {
            tasks.wait().await;
            writes.wait().await;
        });
        let mut late = pin!(sleep(drain));
        loop {
            tokio::select! {
                () = &mut finished => break,
                _ = self.look.tick() => self.look_around(),
                () = &mut late => {
                    tracing::warn!("some requests did not finish within {} s", drain.as_secs());
                    self.connections.end();
                    break;
                }
            }
        }
    }
}

/// Tells a connection that there is no room, as far as that can be done without waiting.
fn refuse(stream: TcpStream) {
    const DETAIL: &str = r#"{"detail":"There are too many connections, try again later."}"#;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n{DETAIL}",
        DETAIL.len()
    );
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(answer.as_bytes());
        // What is unread when it is closed resets it, and the client would not see the answer.
        let _ = stream.read(&mut [0; 4096]);
    }
}

/// As many connections as the process may have open files for, and not more than `wanted`. It may have as many as the system
/// lets it ask for.
fn within_open_files(wanted: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = wanted as u64 + OTHER_FILES;
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if enough(current) {
        return wanted;
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current,
    };
    if enough(limit) {
        return wanted;
    }
    let limit = limit.unwrap_or(needed);
    let possible =
        usize::try_from(limit.saturating_sub(OTHER_FILES)).map_or(wanted, |possible| possible.max(1));
    tracing::warn!(
        "MAX_CONNECTIONS is {wanted}, but the process may have {limit} files open: it takes {possible} connections"
    );
    possible
}

/// Describes the metrics of the server.
pub fn describe_metrics() {
    metrics::describe_gauge!("afforo_http_connections", "Connections that clients have open");
}
