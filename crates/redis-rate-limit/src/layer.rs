//! The layer and its settings.

use std::{sync::Arc, time::Duration};

use redis::Client;
use tower::Layer;

use super::{key::TrustedProxies, link::Link, service::RateLimit};

/// The settings of a limiter.
#[derive(Clone, Debug)]
pub struct RateLimitConfig {
    /// Its name in headers, metrics and keys: printable ASCII without `"` and `\`. Limiters with the same name share counts.
    pub name: &'static str,
    /// Prefix of its keys, if several installations share a Redis.
    pub key_prefix: String,
    /// Requests of a client per window. With 0, none pass.
    pub limit: u32,
    /// The length of the window, at least a millisecond; fractions of one are dropped.
    pub window: Duration,
    /// Timeout of a decision, after which a request passes uncounted.
    pub timeout: Duration,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: TrustedProxies,
}

impl RateLimitConfig {
    /// 20 requests per minute, decided within 50 ms, without trusted proxies.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            key_prefix: String::new(),
            limit: 20,
            window: Duration::from_mins(1),
            timeout: Duration::from_millis(50),
            trusted_proxies: TrustedProxies::default(),
        }
    }
}

/// Layer that applies the [`RateLimit`] middleware.
///
/// All services that come from one layer and its clones share one connection to Redis and one count. See the
/// [crate docs](crate) for an example.
#[derive(Clone)]
#[must_use]
pub struct RateLimitLayer {
    link: Option<Arc<Link>>,
}

impl RateLimitLayer {
    /// A limiter that keeps its counts in the Redis of `client`. Connects at the first request.
    ///
    /// # Panics
    ///
    /// If the name cannot stand in a header, or the window is shorter than a millisecond.
    pub fn new(client: Client, config: RateLimitConfig) -> Self {
        let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        assert!(
            config.name.bytes().all(plain),
            "{:?} cannot stand in a header",
            config.name
        );
        assert!(
            config.window.as_millis() > 0,
            "a window lasts at least a millisecond"
        );
        Self {
            link: Some(Link::new(client, config)),
        }
    }

    /// A layer that passes all requests unchanged, without Redis.
    pub fn disabled() -> Self {
        Self { link: None }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit {
            inner,
            link: self.link.clone(),
        }
    }
}
