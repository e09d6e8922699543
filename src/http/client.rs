//! How a client reached the server, as far as the server can know.

use std::net::IpAddr;

/// How a client reached the server. It is an extension of every request that the server took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// By what its links begin with.
    pub scheme: Scheme,
    /// From where; trusted proxies are looked behind.
    pub address: Option<IpAddr>,
}

/// By what a link begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    #[default]
    Http,
    /// Through a trusted proxy that ends TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}
