//! Configured hosts and origins. Each is normalised to the form in requests, or refused if no request could match.

use std::{net::Ipv6Addr, str::FromStr, sync::Arc};

use axum::http::HeaderValue;
use url::{Host, Url};

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
    let entry = entry.to_lowercase();
    let name = entry.strip_prefix("https://").or(entry.strip_prefix("http://"));
    let name = name.unwrap_or(&entry).trim_end_matches('/');
    if let Some(domain) = name.strip_prefix("*.") {
        return Err(format!("write `.{domain}` for a domain and all its subdomains"));
    }
    if let Ok(address) = name.parse::<Ipv6Addr>() {
        return Ok(format!("[{address}]"));
    }
    let name = match name.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => name,
    };
    let name = name.trim_end_matches('.');
    let (dot, domain) = match name.strip_prefix('.') {
        Some(domain) => (".", domain),
        None => ("", name),
    };
    let host = Host::parse(domain).ok().filter(|_| !domain.contains('*'));
    let host = host.ok_or("write the name or address of one host, such as shop.example")?;
    Ok(format!("{dot}{host}"))
}

/// The normalised origin: lower case, without path and default port.
fn origin(entry: &str) -> Result<HeaderValue, String> {
    let url = Url::parse(entry).ok().filter(|url| {
        let is_bare = ["", "/"].contains(&url.path()) && url.query().is_none() && url.fragment().is_none();
        is_bare && url.username().is_empty() && url.password().is_none()
    });
    let origin = url.as_ref().and_then(|url| {
        let host = url
            .host_str()
            .filter(|host| !host.is_empty() && !host.contains('*'))?;
        let port = url.port().map(|port| format!(":{port}"));
        let origin = format!("{}://{host}{}", url.scheme(), port.unwrap_or_default());
        HeaderValue::try_from(origin).ok()
    });
    origin.ok_or_else(|| "write the scheme and host of one origin, such as https://shop.example".to_owned())
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
            ("2001:DB8:0::1", "[2001:db8::1]"),
            ("[::1]:8000", "[::1]"),
            ("10.0.0.5", "10.0.0.5"),
            ("münchen.example", "xn--mnchen-3ya.example"),
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
        let form = "such as shop.example";
        for (entry, advice) in [
            ("*.shop.example", "write `.shop.example`"),
            ("shop.*", form),
            ("shop.example/admin", form),
            (".", form),
            ("shop example", form),
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
            ("https://münchen.example", "https://xn--mnchen-3ya.example"),
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
        for entry in [
            "shop.example",
            "*",
            "https://*.shop.example",
            "https://shop.example/app",
            "https://shop.example?x",
            "https://shop.example#x",
            "https://ada@shop.example",
            "https://",
            "https://shop.example:port",
            "https://shop.example:70000",
            "null",
        ] {
            let error = entry.parse::<AllowedOrigins>().unwrap_err().to_string();
            let advice = "such as https://shop.example";
            assert!(error.contains(entry) && error.contains(advice), "{error}");
        }
    }
}
