//! The client of a login: its address, browser and session.

use std::net::IpAddr;

use redis_rate_limit::client_key;

use super::{TokenHash, login_throttle};
use crate::audit::{Actor, AuditContext};

/// The client of a login.
#[derive(Clone, Debug)]
pub struct ClientInfo {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The request, by `X-Request-Id`.
    pub request_id: Option<String>,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// The current session of the browser.
    pub token: Option<TokenHash>,
}

impl ClientInfo {
    /// The context of audit entries about this client.
    pub fn audit_context(&self, actor: Actor) -> AuditContext {
        AuditContext {
            actor,
            address: self.address,
            request_id: self.request_id.clone(),
        }
    }

    /// The address as a text.
    pub fn from(&self) -> String {
        let address = self.address.map(|address| address.to_string());
        address.unwrap_or_else(|| login_throttle::UNKNOWN.to_owned())
    }

    /// The key of the throttle: an IPv4 address or an IPv6 network.
    pub(super) fn key(&self) -> String {
        self.address.map_or_else(|| self.from(), client_key)
    }
}
