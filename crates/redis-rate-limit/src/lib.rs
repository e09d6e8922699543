//! A tower layer that limits each client by an exact sliding window in Redis. The README has the promises and an example.
//!
//! Every request that reaches the layer counts, whatever its method and response status, except those that the layer
//! rejects. Put the layer on routes, not on the whole application.
//!
//! # Responses
//!
//! A counted response carries `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`: the whole seconds
//! until the oldest counted request leaves the window. `RateLimit-Policy` and `RateLimit` say the same by
//! draft-ietf-httpapi-ratelimit-headers-11. A request over the limit gets 429 with these headers, `Retry-After` and a
//! JSON body; the inner service does not see it. The layer never fails, so it keeps the error type of the inner service.
//!
//! # While Redis is slow or down
//!
//! A request waits at most 50 ms for its decision, then passes uncounted and without headers. While Redis is known to
//! be down or to refuse writes, requests pass at once. The log has one line when limiting is suspended and one when it
//! is back. The metric `afforo_rate_limit_decisions_total{limiter, decision}` counts `allowed`, `limited` and `failed`
//! (passed uncounted).
//!
//! # Deployment caveat
//!
//! A client is the peer address of its connection (`ConnectInfo<SocketAddr>`), or its /64 for IPv6. Behind a reverse
//! proxy all clients share one quota, unless the proxy is one of the [`TrustedProxies`]; then the client is read from
//! `X-Forwarded-For`. Trust only proxies that append the address they see to this header, and only if clients cannot
//! connect from a trusted address. Without `ConnectInfo` nothing is limited, which is logged once as an error.

mod answer;
mod key;
mod layer;
mod link;
mod service;
mod window;

pub use answer::Exceeded;
pub use key::{InvalidTrustedProxy, TrustedProxies, client_key, client_network};
pub use layer::{RateLimitConfig, RateLimitLayer};
pub use service::{RateLimit, describe_metrics};
