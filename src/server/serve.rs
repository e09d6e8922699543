//! Accepts connections, serves them with hyper, and shuts down gracefully.

use std::{
    convert::Infallible,
    future::Future,
    io::{self, Read, Write},
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::{ConnectInfo, Request},
    http::{HeaderValue, header},
    response::Response,
};
use futures::FutureExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::unconstrained,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{App, drained::Drained, open_files};
use crate::{
    http::{Connection, Limits, Routes},
    shutdown::Stop,
    telemetry::LineLimit,
};

/// The longest head of a request, and about what hyper buffers for a connection.
const HEAD_LIMIT: usize = 64 * 1024;
/// How long clients may take for a last request after the listener has closed. It may have been sent already.
const LAST_REQUEST: Duration = Duration::from_secs(1);
/// The pause after an accept that failed, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Log lines a minute about connections that cannot be accepted.
static ACCEPT_ERRORS: LineLimit = LineLimit::new(6);

/// Serves until `app` is told to stop. Then the listener closes, and requests under way finish, including writes whose client
/// has disconnected.
///
/// # Errors
/// None as yet: a failure to accept or serve one connection does not end the server.
pub async fn run(listener: TcpListener, app: App) -> io::Result<()> {
    let stop = app.stop.clone();
    let server = Server::new(app);
    server
        .accept_until(&listener, drain_time(&stop, server.app.limits.delay))
        .await;
    stop.draining.cancel();
    server.draining.store(true, Ordering::Relaxed);
    // Closing the listener resets the connections in its queue, whose requests may be there already. Unconstrained, because
    // the cooperative budget of the task may end before the queue does.
    while let Some(Ok((stream, peer))) = unconstrained(listener.accept()).now_or_never() {
        server.serve(stream, peer);
    }
    drop(listener);
    server.drain().await;
    Ok(())
}

/// Waits until the server has to drain.
async fn drain_time(stop: &Stop, delay: Duration) {
    stop.announced.cancelled().await;
    if !delay.is_zero() {
        tracing::info!("no longer ready; serving for another {} s", delay.as_secs());
        sleep(delay).await;
    }
}

struct Server {
    app: App,
    http: http1::Builder,
    connections: Arc<Semaphore>,
    graceful: GracefulShutdown,
    draining: Arc<AtomicBool>,
    /// Closes all connections at once.
    abort: CancellationToken,
}

impl Server {
    fn new(mut app: App) -> Self {
        let limits = &mut app.limits;
        limits.connections = open_files::available(limits.connections);
        Self {
            http: http1(limits),
            connections: Arc::new(Semaphore::new(limits.connections)),
            graceful: GracefulShutdown::new(),
            draining: Arc::default(),
            abort: CancellationToken::new(),
            app,
        }
    }

    async fn accept_until(&self, listener: &TcpListener, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.serve(stream, peer),
                    Err(error) => after_accept_error(&error).await,
                },
            }
        }
    }

    /// Serves a connection in a task of its own; beyond the limit, it is refused.
    fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        let Ok(permit) = self.connections.clone().try_acquire_owned() else {
            metrics::counter!("afforo_http_shed_total", "reason" => "connections").increment(1);
            return refuse(stream);
        };
        if let Err(error) = configure(&stream, &self.app.limits) {
            tracing::debug!(%error, "a connection keeps the system's options");
        }
        let (routes, draining) = (self.app.routes.clone(), self.draining.clone());
        let abort = self.abort.child_token();
        let connection = Connection(Arc::new(abort.clone()));
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            request.extensions_mut().insert(connection.clone());
            answer(routes.clone(), request, draining.clone())
        });
        let serving = self.http.serve_connection(TokioIo::new(stream), service);
        let serving = self.graceful.watch(serving);
        let open = OpenConnection::new(permit);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                ended = serving => if let Err(error) = ended {
                    tracing::debug!(%error, %peer, "a connection failed");
                },
                () = abort.cancelled() => {}
            }
            drop(open);
        });
    }

    /// Waits for the requests under way, in bounded time.
    async fn drain(self) {
        let limits = self.app.limits;
        let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
        let drained = async {
            let _ = timeout(LAST_REQUEST, self.connections.acquire_many(all)).await;
            self.graceful.shutdown().await;
            // Connections start the writes.
            self.app.writes.close();
            self.app.writes.wait().await;
        };
        if timeout(limits.drain, drained).await.is_err() {
            tracing::warn!("some requests did not finish within {} s", limits.drain.as_secs());
            self.abort.cancel();
        }
    }
}

fn http1(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_LIMIT)
        .max_header_size(HEAD_LIMIT);
    http
}

fn configure(stream: &TcpStream, limits: &Limits) -> io::Result<()> {
    // Otherwise the last part of an answer may wait for the client to acknowledge the part before.
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    {
        let stall = u32::try_from(limits.stall.as_millis()).unwrap_or(u32::MAX);
        rustix::net::sockopt::set_tcp_user_timeout(stream, stall)?;
    }
    Ok(())
}

/// Passes a request to the routes. While the server drains, each answer is the last of its connection.
fn answer(
    mut routes: Routes,
    request: Request<Incoming>,
    draining: Arc<AtomicBool>,
) -> impl Future<Output = Result<Response, Infallible>> {
    let answering = routes.answer(request.map(Drained::body));
    async move {
        let mut response = answering.await;
        if draining.load(Ordering::Relaxed) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Ok(response)
    }
}

/// An open connection, as the limit and the metrics count it.
struct OpenConnection {
    gauge: metrics::Gauge,
    _permit: OwnedSemaphorePermit,
}

impl OpenConnection {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        let gauge = metrics::gauge!("afforo_http_connections");
        gauge.increment(1.0);
        Self {
            gauge,
            _permit: permit,
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
    }
}

async fn after_accept_error(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        return;
    }
    if let Some(left_out) = ACCEPT_ERRORS.admit(None) {
        tracing::error!(%error, left_out, "cannot accept connections");
    }
    sleep(ACCEPT_PAUSE).await;
}

/// Answers that there are too many connections, as far as that is possible without waiting.
fn refuse(stream: TcpStream) {
    const DETAIL: &str = r#"{"detail":"There are too many connections, try again later."}"#;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n{DETAIL}",
        DETAIL.len()
    );
    if let Ok(mut stream) = stream.into_std() {
        let _ = stream.write(answer.as_bytes());
        // Closing with unread input resets the connection, and the client would lose the answer.
        let _ = stream.read(&mut [0; 4096]);
    }
}
