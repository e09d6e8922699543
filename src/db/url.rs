//! The database URL with one or several hosts, as libpq reads it.
//!
//! sqlx reads URLs of one host. This module splits a URL into one for each host, and reads `target_session_attrs`.

use std::{borrow::Cow, fmt, str::FromStr};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sqlx::postgres::PgConnectOptions;

/// The hosts of a database.
#[derive(Clone, Debug)]
pub struct DatabaseUrl {
    /// At least one, in the order in which they are tried.
    pub hosts: Vec<Host>,
    /// Which of them may be used.
    pub target: TargetSessionAttrs,
}

/// A host of a database.
#[derive(Clone)]
pub struct Host {
    /// The host, or the folder of its socket, and the port. It has no credentials.
    pub name: String,
    /// How to connect to it.
    pub options: PgConnectOptions,
}

/// The options have the password.
impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.name).finish()
    }
}

/// Which hosts may be used: the parameter `target_session_attrs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetSessionAttrs {
    /// The default. Pools that write need a host that takes writes all the same.
    #[default]
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// Why a text is no database URL. No message contains the URL, which may have a password.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseUrlError {
    #[error("it does not start with postgres://")]
    Scheme,
    // Where a password is not percent-encoded, a part of it may stand in the place of the port.
    #[error("a port is not a number from 1 to 65535")]
    Port,
    #[error("it has {ports} ports for {hosts} hosts: give one port for all hosts, or one for each")]
    PortCount { ports: usize, hosts: usize },
    #[error("an address in brackets does not end with `]` or `]:port`")]
    Brackets,
    #[error("a host is no UTF-8")]
    NotUtf8,
    #[error(
        "target_session_attrs is none of `any`, `read-write`, `primary`, `read-only`, `standby`, `prefer-standby`"
    )]
    Target,
    #[error(
        "target_session_attrs asks for a server that takes no writes: use `read-write`, `primary` or `any`"
    )]
    NoWrites,
    #[error(
        "target_session_attrs asks for a server that takes writes: use `standby`, `prefer-standby`, `read-only` or `any`"
    )]
    OnlyWrites,
    #[error(transparent)]
    Options(#[from] sqlx::Error),
}

impl DatabaseUrl {
    /// Reads the URL of a database that is written to.
    pub fn for_writes(url: &str) -> Result<Self, DatabaseUrlError> {
        use TargetSessionAttrs::{Any, Primary, ReadWrite};
        let url: Self = url.parse()?;
        match url.target {
            Any | Primary | ReadWrite => Ok(url),
            _ => Err(DatabaseUrlError::NoWrites),
        }
    }

    /// Reads the URL of replicas.
    pub fn for_reads(url: &str) -> Result<Self, DatabaseUrlError> {
        use TargetSessionAttrs::{Primary, ReadWrite};
        let url: Self = url.parse()?;
        match url.target {
            Primary | ReadWrite => Err(DatabaseUrlError::OnlyWrites),
            _ => Ok(url),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = DatabaseUrlError;

    fn from_str(url: &str) -> Result<Self, DatabaseUrlError> {
        let text = Parts::split(url)?;
        let query = Query::split(text.query)?;
        let (hosts, ports) = places(text.places)?;
        let hosts = query.hosts.unwrap_or(hosts);
        let ports = query.ports.unwrap_or(ports);
        let default = PgConnectOptions::new_without_pgpass();
        let of_host = |(index, host): (usize, &Option<String>)| {
            let port = match &ports[..] {
                [] => None,
                [of_all] => *of_all,
                of_each => of_each[index],
            };
            let host = host.as_deref().unwrap_or(default.get_host());
            let port = port.unwrap_or(default.get_port());
            text.with(&query.others, host, port)
        };
        if ports.len() > 1 && ports.len() != hosts.len() {
            let (ports, hosts) = (ports.len(), hosts.len());
            return Err(DatabaseUrlError::PortCount { ports, hosts });
        }
        Ok(Self {
            hosts: hosts.iter().enumerate().map(of_host).collect::<Result<_, _>>()?,
            target: query.target,
        })
    }
}

impl FromStr for TargetSessionAttrs {
    type Err = DatabaseUrlError;

    fn from_str(text: &str) -> Result<Self, DatabaseUrlError> {
        Ok(match text {
            "any" => Self::Any,
            "read-write" => Self::ReadWrite,
            "read-only" => Self::ReadOnly,
            "primary" => Self::Primary,
            "standby" => Self::Standby,
            "prefer-standby" => Self::PreferStandby,
            _ => return Err(DatabaseUrlError::Target),
        })
    }
}

/// `postgres://login@places/path?query`.
struct Parts<'a> {
    login: Option<&'a str>,
    places: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn split(url: &'a str) -> Result<Self, DatabaseUrlError> {
        let rest = ["postgres://", "postgresql://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme))
            .ok_or(DatabaseUrlError::Scheme)?;
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (login, places) = match authority.rsplit_once('@') {
            Some((login, places)) => (Some(login), places),
            None => (None, authority),
        };
        Ok(Self {
            login,
            places,
            path,
            query,
        })
    }

    /// The host with these parts. Host and port are parameters, because sqlx takes an IPv6 address only there.
    fn with(&self, parameters: &str, host: &str, port: u16) -> Result<Host, DatabaseUrlError> {
        let login = self.login.map(|login| format!("{login}@localhost"));
        let url = format!(
            "postgres://{}{}?{parameters}host={}&port={port}",
            login.unwrap_or_default(),
            if self.path.is_empty() { "/" } else { self.path },
            utf8_percent_encode(host, NON_ALPHANUMERIC),
        );
        let name = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        Ok(Host {
            name,
            options: url.parse()?,
        })
    }
}

type Hosts = Vec<Option<String>>;
type Ports = Vec<Option<u16>>;

/// The parameters of a URL.
struct Query {
    hosts: Option<Hosts>,
    ports: Option<Ports>,
    target: TargetSessionAttrs,
    /// All others as in the URL, each with a `&` after it.
    others: String,
}

impl Query {
    fn split(query: &str) -> Result<Self, DatabaseUrlError> {
        let (mut addresses, mut hosts, mut ports) = (None, None, None);
        let mut target = TargetSessionAttrs::default();
        let mut others = String::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            match &*name {
                "hostaddr" => addresses = Some(value.split(',').map(host).collect()),
                "host" => hosts = Some(value.split(',').map(host).collect()),
                "port" => ports = Some(value.split(',').map(port).collect::<Result<_, _>>()?),
                "target_session_attrs" => target = value.parse()?,
                _ => others.extend([pair, "&"]),
            }
        }
        Ok(Self {
            hosts: addresses.or(hosts),
            ports,
            target,
            others,
        })
    }
}

/// The hosts and ports before the path.
fn places(places: &str) -> Result<(Hosts, Ports), DatabaseUrlError> {
    let place = |place| {
        let (name, number) = split_port(place)?;
        Ok((host(&decode(name)?), port(number)?))
    };
    let places: Result<Vec<_>, DatabaseUrlError> = places.split(',').map(place).collect();
    Ok(places?.into_iter().unzip())
}

/// The host and the port of `host:port`, `host`, `[address]:port` or `[address]`.
fn split_port(place: &str) -> Result<(&str, &str), DatabaseUrlError> {
    let Some(rest) = place.strip_prefix('[') else {
        return Ok(place.split_once(':').unwrap_or((place, "")));
    };
    let (address, rest) = rest.split_once(']').ok_or(DatabaseUrlError::Brackets)?;
    let port = match rest {
        "" => "",
        rest => rest.strip_prefix(':').ok_or(DatabaseUrlError::Brackets)?,
    };
    Ok((address, port))
}

fn host(text: &str) -> Option<String> {
    Some(text.trim())
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

fn port(text: &str) -> Result<Option<u16>, DatabaseUrlError> {
    match text.trim() {
        "" => Ok(None),
        text => match text.parse() {
            Ok(port @ 1..) => Ok(Some(port)),
            _ => Err(DatabaseUrlError::Port),
        },
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>, DatabaseUrlError> {
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| DatabaseUrlError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(url: &str) -> Vec<String> {
        let url: DatabaseUrl = url.parse().unwrap();
        url.hosts.into_iter().map(|host| host.name).collect()
    }

    #[test]
    fn hosts_and_ports_are_read_as_by_libpq() {
        for (url, expected) in [
            ("postgres://u@a/db", &["a:5432"][..]),
            ("postgres://u:p@a:5433,b/db", &["a:5433", "b:5432"]),
            ("postgresql://a,b:5433,c:5434", &["a:5432", "b:5433", "c:5434"]),
            ("postgres://[::1]:5433,[::2]/db", &["[::1]:5433", "[::2]:5432"]),
            (
                "postgres://u@%2Frun%2Fa:5433,%2Frun%2Fb/db",
                &["/run/a:5433", "/run/b:5432"],
            ),
            ("postgres:///db?host=a,b&port=5433", &["a:5433", "b:5433"]),
            (
                "postgres://u@/db?host=%2Frun%2Fa,b&port=5433,",
                &["/run/a:5433", "b:5432"],
            ),
            ("postgres://u@:5433/db?host=a,b", &["a:5433", "b:5433"]),
            (
                "postgres://x/db?host=a,b&hostaddr=10.0.0.1,10.0.0.2",
                &["10.0.0.1:5432", "10.0.0.2:5432"],
            ),
        ] {
            assert_eq!(names(url), expected, "{url}");
        }
    }

    #[test]
    fn other_parts_apply_to_every_host() {
        let url = "postgres://u%40x:p%2C%3A@a:1,%2Frun%2Fb:2/d%20b?sslmode=disable&options=-c%20work_mem%3D1MB\
                   &target_session_attrs=read-write&application_name=shop#end";
        let url: DatabaseUrl = url.parse().unwrap();
        assert_eq!(url.target, TargetSessionAttrs::ReadWrite);
        let [tcp, socket] = &url.hosts[..] else {
            panic!("{url:?}")
        };
        for Host { options, .. } in [tcp, socket] {
            assert_eq!(options.get_username(), "u@x");
            assert_eq!(options.get_database(), Some("d b"));
            assert_eq!(options.get_application_name(), Some("shop"));
            assert_eq!(options.get_options(), Some("-c work_mem=1MB"));
            assert!(format!("{options:?}").contains("p,:"));
        }
        assert_eq!((tcp.options.get_host(), tcp.options.get_port()), ("a", 1));
        assert_eq!(tcp.options.get_socket(), None);
        let folder = socket.options.get_socket().unwrap();
        assert_eq!((folder.to_str(), socket.options.get_port()), (Some("/run/b"), 2));
        assert_eq!(format!("{url:?}").find("p,:"), None, "a password is not printed");
    }

    #[test]
    fn wrong_urls_have_clear_errors_without_the_url() {
        for (url, expected) in [
            ("mysql://secret@a/", "it does not start with postgres://"),
            (
                "postgres://secret@a:5x/db",
                "a port is not a number from 1 to 65535",
            ),
            (
                "postgres://secret@a:0/db",
                "a port is not a number from 1 to 65535",
            ),
            (
                "postgres://secret@x/db?host=a,b,c&port=1,2",
                "it has 2 ports for 3 hosts: give one port for all hosts, or one for each",
            ),
            (
                "postgres://secret@[::1/db",
                "an address in brackets does not end with `]` or `]:port`",
            ),
            ("postgres://secret@%FF/db", "a host is no UTF-8"),
            (
                "postgres://secret@a,b/db?target_session_attrs=readwrite",
                "target_session_attrs is none of `any`, `read-write`, `primary`, `read-only`, `standby`, \
                 `prefer-standby`",
            ),
            (
                "postgres://secret@a,b/db?target_session_attrs=standby",
                "target_session_attrs asks for a server that takes no writes: use `read-write`, `primary` or `any`",
            ),
        ] {
            assert_eq!(
                DatabaseUrl::for_writes(url).unwrap_err().to_string(),
                expected,
                "{url}"
            );
        }
    }
}
