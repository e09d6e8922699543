//! One HTTP request on a connection of its own: no redirects, no proxies, and no more of the answer than its head.

use std::sync::{Arc, LazyLock};

use http_body_util::Full;
use hyper::{Request, Uri, body::Bytes, client::conn::http1, http::response::Parts};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

/// Longest head of an answer, in bytes.
const LONGEST_HEAD: usize = 16 * 1024;

/// Why a request was not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error("it cannot be reached: {0}")]
    Unreachable(#[source] std::io::Error),
    #[error("TLS: {0}")]
    Tls(#[source] std::io::Error),
    #[error("no answer: {0}")]
    NoAnswer(#[from] hyper::Error),
    #[error("the TLS library does not take its name or its settings")]
    Unusable,
}

/// Sends a request to `url`, and returns the head of what is answered. The body is not read: whatever the receiver has to
/// say, it is its status that counts.
pub(super) async fn send(url: &Uri, request: Request<Full<Bytes>>) -> Result<Parts, RequestError> {
    let tls = url.scheme_str() == Some("https");
    let host = url.host().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_u16().unwrap_or(if tls { 443 } else { 80 });
    let connection = TcpStream::connect((host, port))
        .await
        .map_err(RequestError::Unreachable)?;
    if !tls {
        return exchange(connection, request).await;
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| RequestError::Unusable)?;
    let config = TLS.clone().ok_or(RequestError::Unusable)?;
    let connection = TlsConnector::from(config)
        .connect(name, connection)
        .await
        .map_err(RequestError::Tls)?;
    exchange(connection, request).await
}

async fn exchange(
    connection: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Parts, RequestError> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(LONGEST_HEAD)
        .handshake(TokioIo::new(connection))
        .await?;
    // Dropped with this future, and with it the connection.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    Ok(sender.send_request(request).await?.into_parts().0)
}

/// Trusts the authorities that Mozilla trusts.
static TLS: LazyLock<Option<Arc<ClientConfig>>> = LazyLock::new(|| {
    let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?;
    Some(Arc::new(
        config.with_root_certificates(roots).with_no_client_auth(),
    ))
});
