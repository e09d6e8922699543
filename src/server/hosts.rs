//! Requests are answered only for the hosts that the server is known by: links are made from the Host header.

use std::sync::Arc;

use axum::{
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::web::Problem;

/// Host names that requests may be for: `example.com`, `.example.com` with its subdomains, or `*`.
#[derive(Clone, Debug)]
pub(super) struct AllowedHosts(Arc<[String]>);

impl AllowedHosts {
    pub fn new(hosts: &[String]) -> Self {
        let hosts = hosts.iter().map(|host| host.trim().to_ascii_lowercase());
        Self(hosts.filter(|host| !host.is_empty()).collect())
    }

    /// Whether a request is for one of them.
    pub fn allow_request(&self, request: &Request) -> bool {
        let header = request
            .headers()
            .get(header::HOST)
            .map(|host| host.to_str().unwrap_or_default());
        // An absolute request line names the host itself.
        let host = header.or_else(|| request.uri().authority().map(axum::http::uri::Authority::as_str));
        host.is_some_and(|host| self.allow(host))
    }

    /// Whether a Host header, with or without a port, names one of them.
    fn allow(&self, host: &str) -> bool {
        let name = without_port(host).trim_end_matches('.').to_ascii_lowercase();
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        !name.is_empty()
            && name.chars().all(is_name)
            && self.0.iter().any(|allowed| {
                allowed == "*"
                    || *allowed == name
                    || allowed.strip_prefix('.').is_some_and(|domain| {
                        name.strip_suffix(domain)
                            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                    })
            })
    }
}

pub(super) fn refusal() -> Response {
    Problem::detail(
        StatusCode::BAD_REQUEST,
        "Host not allowed: name it in ALLOWED_HOSTS.",
    )
    .into_response()
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
    fn hosts_match_by_name_by_domain_or_all() {
        let hosts = AllowedHosts::new(&["localhost".into(), ".shop.example".into(), "[::1]".into()]);
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
        assert!(AllowedHosts::new(&["*".into()]).allow("anything.example:1"));
    }
}
