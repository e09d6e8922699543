//! Configured hosts and origins. Each is normalised to the form in requests, or refused if no request could match.

use std::{net::Ipv6Addr, str::FromStr, sync::Arc};

use axum::http::{HeaderValue, Uri, uri::Scheme};

/// Allowed host names, parsed from a comma-separated list: `example.com`, `.example.com` with its subdomains, or `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHosts(Arc<[String]>);

/// Origins whose pages may read responses, parsed from a comma-separated list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedOrigins(Arc<[HeaderValue]>);

/// A host or origin that no request could match, with advice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}` would never match: {advice}")]
pub struct NeverMatches {
    entry: String,
    advice: String,
}

const THIS_MACHINE: &str = "localhost,127.0.0.1";

impl AllowedHosts {
    /// In lower case, without ports.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl AllowedOrigins {
    /// In the form that browsers send.
    pub fn origins(&self) -> &[HeaderValue] {
        &self.0
    }
}

impl FromStr for AllowedHosts {
    type Err = NeverMatches;

    /// A blank list means this machine.
    fn from_str(list: &str) -> Result<Self, NeverMatches> {
        let list = if list.trim().is_empty() {
            THIS_MACHINE
        } else {
            list
        };
        each(list, host).map(Self)
    }
}

impl FromStr for AllowedOrigins {
    type Err = NeverMatches;

    fn from_str(list: &str) -> Result<Self, NeverMatches> {
        each(list, origin).map(Self)
    }
}

fn each<T>(list: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Arc<[T]>, NeverMatches> {
    let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let read = entries.map(|entry| {
        read(entry).map_err(|advice| NeverMatches {
            entry: entry.to_owned(),
            advice,
        })
    });
    read.collect()
}

/// The normalised host, for comparison without ports.
fn host(entry: &str) -> Result<String, String> {
    if entry == "*" {
        return Ok(entry.to_owned());
    }
    let entry = entry.to_ascii_lowercase();
    let name = entry.strip_prefix("https://").or(entry.strip_prefix("http://"));
    let name = name.unwrap_or(&entry).trim_end_matches('/');
    if name.parse::<Ipv6Addr>().is_ok() {
        return Ok(format!("[{name}]"));
    }
    let name = match name.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => name,
    };
    let name = name.trim_end_matches('.');
    if let Some(domain) = name.strip_prefix("*.") {
        return Err(format!("write `.{domain}` for a domain and all its subdomains"));
    }
    check_name(name.trim_start_matches('.')).map(|()| name.to_owned())
}

/// The normalised origin: lower case, without path and default port.
fn origin(entry: &str) -> Result<HeaderValue, String> {
    if entry == "*" {
        return Err("name each origin, such as https://shop.example".to_owned());
    }
    let Some((scheme, rest)) = entry.split_once("://") else {
        return Err(format!("write it with its scheme, such as https://{entry}"));
    };
    let rest = rest.trim_end_matches('/').to_ascii_lowercase();
    if !rest.is_ascii() {
        return Err(NOT_ASCII.to_owned());
    }
    let uri: Uri = format!("http://{rest}/")
        .parse()
        .map_err(|_| "write a scheme and a host, such as https://shop.example".to_owned())?;
    let Some(authority) = uri
        .authority()
        .filter(|_| uri.path() == "/" && uri.query().is_none())
    else {
        return Err("write a scheme and a host without a path, such as https://shop.example".to_owned());
    };
    if rest.contains('@') {
        return Err("write it without a user".to_owned());
    }
    check_name(authority.host())?;
    let scheme = Scheme::try_from(scheme.to_ascii_lowercase().as_str())
        .map_err(|_| "its scheme is none".to_owned())?;
    let usual = match scheme.as_str() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    };
    let host = authority.host();
    let port = authority.port_u16();
    if port.is_none() && authority.as_str() != host {
        return Err("write a scheme and a host, with a port in digits if it has one".to_owned());
    }
    let origin = match port.filter(|port| Some(*port) != usual) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    };
    HeaderValue::try_from(origin).map_err(|_| "it cannot stand in a header".to_owned())
}

const NOT_ASCII: &str = "write it as browsers send it, beginning with `xn--`";

fn check_name(name: &str) -> Result<(), String> {
    if name.contains('*') {
        return Err("`*` cannot be a part of a name: name each host".to_owned());
    }
    if !name.is_ascii() {
        return Err(NOT_ASCII.to_owned());
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_address = name.starts_with('[') && name.ends_with(']');
    if name.is_empty() || !(is_address || name.chars().all(is_part)) {
        return Err("write a host's name or address, such as shop.example".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_entries_are_normalized() {
        for (entry, name) in [
            ("Shop.Example", "shop.example"),
            ("shop.example:8000", "shop.example"),
            ("https://shop.example/", "shop.example"),
            (".Shop.example.", ".shop.example"),
            ("::1", "[::1]"),
            ("[::1]:8000", "[::1]"),
            ("10.0.0.5", "10.0.0.5"),
            ("*", "*"),
        ] {
            assert_eq!(entry.parse::<AllowedHosts>().unwrap().names(), [name], "{entry}");
        }
        let both = " a.example ,, b.example".parse::<AllowedHosts>().unwrap();
        assert_eq!(both.names(), ["a.example", "b.example"]);
        let blank = " ".parse::<AllowedHosts>().unwrap();
        assert_eq!(blank.names(), ["localhost", "127.0.0.1"]);
    }

    #[test]
    fn invalid_host_entries_are_rejected_with_advice() {
        for (entry, advice) in [
            ("*.shop.example", "write `.shop.example`"),
            ("shop.*", "name each host"),
            ("shop.example/admin", "such as shop.example"),
            ("münchen.example", "xn--"),
            (".", "such as shop.example"),
            ("shop example", "such as shop.example"),
        ] {
            let error = entry.parse::<AllowedHosts>().unwrap_err().to_string();
            assert!(error.contains(entry) && error.contains(advice), "{error}");
        }
    }

    #[test]
    fn origin_entries_are_normalized() {
        for (entry, origin) in [
            ("https://shop.example/", "https://shop.example"),
            ("HTTPS://Shop.Example", "https://shop.example"),
            ("https://shop.example:443", "https://shop.example"),
            ("http://shop.example:80/", "http://shop.example"),
            ("http://shop.example:443", "http://shop.example:443"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(
                entry.parse::<AllowedOrigins>().unwrap().origins(),
                [origin],
                "{entry}"
            );
        }
        assert_eq!("".parse::<AllowedOrigins>().unwrap(), AllowedOrigins::default());
    }

    #[test]
    fn invalid_origin_entries_are_rejected_with_advice() {
        for (entry, advice) in [
            ("shop.example", "such as https://shop.example"),
            ("*", "name each origin"),
            ("https://*.shop.example", "name each host"),
            ("https://shop.example/app", "without a path"),
            ("https://shop.example?x", "without a path"),
            ("https://ada@shop.example", "without a user"),
            ("https://", "a scheme and a host"),
            ("https://shop.example:port", "a port in digits"),
            ("https://shop.example:70000", "a scheme and a host"),
            ("https://münchen.example", "xn--"),
            ("null", "https://null"),
        ] {
            let error = entry.parse::<AllowedOrigins>().unwrap_err().to_string();
            assert!(error.contains(entry) && error.contains(advice), "{error}");
        }
    }
}
