//! Middleware that limits how often a client may ask, by an exact sliding window kept in Redis.
//!
//! In any window of the configured length, no client gets more than the configured number of requests
//! through, whatever number of processes serve it. Each request that reaches the middleware is counted,
//! whatever its method and however it is answered, except those that the middleware itself turns away. So it
//! belongs on the routes that are meant, not on a whole application.
//!
//! # Answers
//!
//! Every answer to a counted request carries `X-RateLimit-Limit`, `X-RateLimit-Remaining` and
//! `X-RateLimit-Reset`, the whole seconds until the oldest counted request leaves the window; and the same as
//! `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-11. A request too many is
//! answered with 429, these headers, `Retry-After` and a JSON body; the inner service does not see it. The
//! error type of the inner service is kept, for the middleware itself never fails.
//!
//! # When Redis is slow or away
//!
//! A request waits for its decision for 50 ms at most, then passes uncounted and without the headers. While
//! Redis is known to be away, or to refuse, requests pass at once; that it decides again is noticed within a
//! second. The log has a line when limiting is suspended and one when it is back. The metric
//! `afforo_rate_limit_decisions_total{limiter, decision}` has the decisions `allowed`, `limited`, and `failed`
//! for requests that passed uncounted.
//!
//! # Deployment caveat
//!
//! A client is the peer of its connection (`ConnectInfo<SocketAddr>`), an IPv6 one together with its /64.
//! Behind a reverse proxy this is the proxy, and all clients share one quota, unless the proxy is among the
//! [`TrustedProxies`]; then the client is read from `X-Forwarded-For`. Trust only proxies that append the
//! address they see to this header, and only if clients cannot reach the service from a trusted address by
//! another way. If the server does not provide `ConnectInfo` nothing is limited, which is logged as an error
//! once.
//!
//! # Example
//!
//! ```
//! # use std::time::Duration;
//! # use axum::{Router, routing::get};
//! # use afforo::rate_limit::RateLimitLayer;
//! let redis = redis::Client::open("redis://127.0.0.1/")?;
//! let limit = RateLimitLayer::builder(redis)
//!     .name("autocomplete")
//!     .limit(20)
//!     .window(Duration::from_mins(1))
//!     .trusted_proxies("10.0.0.0/8".parse()?)
//!     .build();
//! let routes: Router = Router::new().route("/suggest", get(async || "…").layer(limit));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod key;
mod layer;
mod link;
mod service;
mod window;

pub use answer::Exceeded;
pub use key::{InvalidTrustedProxy, TrustedProxies, client_key, client_network};
pub use layer::{RateLimitBuilder, RateLimitLayer};
pub use service::{RateLimit, describe_metrics};
