//! Refuses requests for other hosts, because links are made from the Host header.

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, header},
};

use super::RouteClass;
use crate::{config::AllowedHosts, http::ApiError};

/// The hosts that requests may name.
#[derive(Clone, Debug)]
pub(super) struct HostCheck(pub AllowedHosts);

impl HostCheck {
    /// Refuses a request for another host, or with several Host headers.
    pub fn check(&self, request: &Request, class: RouteClass) -> Result<(), ApiError> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = hosts.next();
        if hosts.next().is_some() {
            let refusal = "A request has one Host, and this one has several.";
            return Err(ApiError::detail(StatusCode::BAD_REQUEST, refusal));
        }
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        if class == RouteClass::Operators || self.allow(host) {
            return Ok(());
        }
        Err(ApiError::detail(
            StatusCode::BAD_REQUEST,
            "Host not allowed: name it in ALLOWED_HOSTS.",
        ))
    }

    /// Whether a Host header, with or without a port, names an allowed host.
    fn allow(&self, host: &str) -> bool {
        let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        let is_name = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
        };
        !name.is_empty()
            && name.bytes().all(is_name)
            && self.0.names().iter().any(|allowed| {
                allowed == "*"
                    || *allowed == name
                    || allowed.strip_prefix('.').is_some_and(|domain| {
                        name.strip_suffix(domain)
                            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                    })
            })
    }
}

/// Replaces the Host header by the host of the request line, which takes precedence.
pub(super) fn prefer_request_line(request: &mut Request) {
    let is_clear = request.headers().get_all(header::HOST).iter().nth(1).is_none();
    let Some(authority) = request.uri().authority().filter(|_| is_clear) else {
        return;
    };
    let host = match authority.port() {
        Some(port) => format!("{}:{port}", authority.host()),
        None => authority.host().to_owned(),
    };
    if let Ok(host) = HeaderValue::from_str(&host) {
        request.headers_mut().insert(header::HOST, host);
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_by_name_by_subdomain_or_by_wildcard() {
        let hosts = HostCheck("localhost,.shop.example,[::1]".parse().unwrap());
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "shop.example",
            "a.b.shop.example:443",
            "[::1]:8000",
            "localhost.",
        ] {
            assert!(hosts.allow(host), "{host}");
        }
        for host in [
            "",
            "evilshop.example",
            "localhost.evil",
            "local host",
            "127.0.0.1",
            "localhost:80:80",
            "a/localhost",
        ] {
            assert!(!hosts.allow(host), "{host}");
        }
        assert!(HostCheck("*".parse().unwrap()).allow("anything.example:1"));
    }
}
