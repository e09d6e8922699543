//! The layer and its builder.

use std::{sync::Arc, time::Duration};

use redis::Client;
use tower::Layer;

use super::{
    key::TrustedProxies,
    link::Link,
    service::{Limiter, RateLimit},
    window::Policy,
};

/// Layer that applies the [`RateLimit`] middleware.
///
/// All services that come from one layer and its clones share one connection to Redis and one count. See the
/// [crate docs](crate) for an example.
#[derive(Clone)]
#[must_use]
pub struct RateLimitLayer {
    limiter: Option<Arc<Limiter>>,
}

/// Configures a [`RateLimitLayer`].
#[must_use]
pub struct RateLimitBuilder {
    client: Client,
    policy: Policy,
    timeout: Duration,
    trusted_proxies: TrustedProxies,
    enabled: bool,
}

impl RateLimitLayer {
    /// A limiter that keeps its counts in the Redis of `client`, by default 20 requests per minute.
    ///
    /// Connects at the first request.
    pub fn builder(client: Client) -> RateLimitBuilder {
        RateLimitBuilder {
            client,
            policy: Policy {
                prefix: String::new(),
                name: "default",
                limit: 20,
                window: Duration::from_mins(1),
            },
            timeout: Duration::from_millis(50),
            trusted_proxies: TrustedProxies::default(),
            enabled: true,
        }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, self.limiter.clone())
    }
}

impl RateLimitBuilder {
    /// The name of the limiter in headers, metrics and keys. Limiters with the same name share counts.
    ///
    /// # Panics
    ///
    /// If the name is not printable ASCII, or has a `"` or `\`, which the headers could not carry.
    pub fn name(mut self, name: &'static str) -> Self {
        let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        assert!(name.bytes().all(plain), "{name:?} cannot stand in a header");
        self.policy.name = name;
        self
    }

    /// Prefix of the limiter's keys, if several installations share a Redis; empty by default.
    pub fn key_prefix(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.policy.prefix);
        self
    }

    /// Requests of a client per window. With 0, none pass.
    pub fn limit(mut self, requests: u32) -> Self {
        self.policy.limit = requests;
        self
    }

    /// The length of the window; fractions of a millisecond are dropped.
    ///
    /// # Panics
    ///
    /// If it is shorter than a millisecond.
    pub fn window(mut self, window: Duration) -> Self {
        assert!(
            window >= Duration::from_millis(1),
            "a window lasts a millisecond at least"
        );
        self.policy.window = window;
        self
    }

    /// Timeout of a decision, after which a request passes uncounted; 50 ms by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Proxies whose `X-Forwarded-For` is trusted; none by default.
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.trusted_proxies = proxies;
        self
    }

    /// With `false`, requests pass unchanged and Redis is not called.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// The finished layer.
    pub fn build(self) -> RateLimitLayer {
        let link = Link::new(self.client, self.policy, self.timeout);
        let limiter = Limiter::new(link, self.trusted_proxies);
        RateLimitLayer {
            limiter: self.enabled.then(|| Arc::new(limiter)),
        }
    }
}
