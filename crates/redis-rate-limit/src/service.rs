//! The middleware: gets a decision, then passes the request on or answers 429.

use std::{
    mem,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::ConnectInfo,
    http::{Request, Response},
};
use futures::future::BoxFuture;
use metrics::{counter, describe_counter};
use tower::Service;

use super::{
    answer::{too_many_requests, write_headers},
    key::client_key,
    link::Link,
    window::Decision,
};

/// Describes the metric of the limiter.
pub fn describe_metrics() {
    describe_counter!(
        "afforo_rate_limit_decisions_total",
        "Requests that came to a rate limit: `allowed`, `limited` with a 429, or `failed`, which passed uncounted."
    );
}

/// Middleware that answers 429 to clients over the limit. See the [crate docs](crate) for responses and trusted proxies.
#[derive(Clone)]
pub struct RateLimit<S> {
    pub(super) inner: S,
    /// None if limiting is off.
    pub(super) link: Option<Arc<Link>>,
}

/// The address of the client, if the server provides it.
fn client<B>(request: &Request<B>, link: &Link) -> Option<IpAddr> {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if peer.is_none() {
        link.peer_missing.call_once(|| {
            tracing::error!(
                limiter = link.config().name,
                "no rate limiting: the server does not provide peer addresses (ConnectInfo)"
            );
        });
    }
    let proxies = &link.config().trusted_proxies;
    peer.map(|ConnectInfo(peer)| proxies.client_address(peer.ip(), request.headers()))
}

/// The decision about a request of `client`, or `None` without a client or an answer of Redis.
async fn decide(link: &Arc<Link>, client: Option<IpAddr>) -> Option<Decision> {
    let decision = match client {
        Some(client) => link.decide(&client_key(client)).await.ok(),
        None => None,
    };
    let outcome = match decision {
        Some(Decision { allowed: true, .. }) => "allowed",
        Some(_) => "limited",
        None => "failed",
    };
    let limiter = link.config().name;
    counter!("afforo_rate_limit_decisions_total", "limiter" => limiter, "decision" => outcome).increment(1);
    decision
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for RateLimit<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    ReqBody: Send + 'static,
    ResBody: From<String>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        // The service that was polled ready must take the request; its clone has yet to become ready.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let Some(link) = self.link.clone() else {
            return Box::pin(inner.call(request));
        };
        let client = client(&request, &link);
        Box::pin(async move {
            match decide(&link, client).await {
                Some(decision) if decision.allowed => {
                    let mut response = inner.call(request).await?;
                    write_headers(link.config(), &decision, response.headers_mut());
                    Ok(response)
                }
                Some(decision) => Ok(too_many_requests(link.config(), &decision)),
                None => inner.call(request).await,
            }
        })
    }
}
