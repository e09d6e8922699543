//! The client's scheme and address, directly or through a trusted proxy.

use std::net::{IpAddr, SocketAddr};

use axum::{
    extract::{ConnectInfo, Request},
    http::HeaderName,
};
use redis_rate_limit::TrustedProxies;

use crate::telemetry::LineLimit;

/// How a client reached the server: an extension of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Whether a trusted proxy received the request through TLS. Links in responses then begin with `https`.
    pub is_tls: bool,
    /// The client's address; behind a trusted proxy, the one that the proxy tells.
    pub address: Option<IpAddr>,
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Log lines a minute about proxies that are not trusted.
static UNTRUSTED_PROXIES: LineLimit = LineLimit::new(1);

/// Notes how the client reached the server. `X-Forwarded-Proto` counts from a trusted proxy or one on this machine;
/// `X-Forwarded-For` only from a trusted one.
pub(super) fn note(proxies: &TrustedProxies, request: &mut Request) {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map(|peer| peer.0.ip());
    if let Some(peer) = peer {
        warn_about_proxy(proxies, peer, request);
    }
    let believed = peer.is_some_and(|peer| peer.is_loopback() || proxies.trusts(peer));
    let proto = request.headers().get(X_FORWARDED_PROTO);
    let is_tls = believed && proto.is_some_and(|proto| proto == "https");
    let address = peer.map(|peer| proxies.client_address(peer, request.headers()));
    request.extensions_mut().insert(Client { is_tls, address });
}

fn warn_about_proxy(proxies: &TrustedProxies, peer: IpAddr, request: &Request) {
    if !proxies.trusts(peer)
        && request.headers().contains_key(X_FORWARDED_FOR)
        && let Some(left_out) = UNTRUSTED_PROXIES.admit(None)
    {
        tracing::warn!(
            %peer,
            left_out,
            "X-Forwarded-For is ignored: if this peer is your reverse proxy, name it in TRUSTED_PROXIES, else its clients share one address"
        );
    }
}

pub(super) fn is_behind_tls(request: &Request) -> bool {
    let client = request.extensions().get::<Client>();
    client.is_some_and(|client| client.is_tls)
}
