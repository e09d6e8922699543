//! The address of a client, read through trusted proxies, and the key under which its requests are counted.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use axum::http::{HeaderMap, HeaderName};
use ipnet::{IpNet, Ipv4Net};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks of proxies whose `X-Forwarded-For` is trusted.
///
/// Parsed from addresses and CIDR networks separated by commas, such as `10.0.0.0/8, 2001:db8::1`. An empty text, like the
/// default, trusts no proxy: then the client is the peer of the connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Arc<[IpNet]>,
}

/// An entry of the list is neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}` is neither an IP address nor a network like 10.0.0.0/8")]
pub struct InvalidTrustedProxy {
    entry: String,
}

impl TrustedProxies {
    /// Whether `peer` is one of the trusted proxies.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.networks.iter().any(|network| network.contains(&peer))
    }

    /// The address of a request's client. An IPv4-mapped IPv6 address is returned as IPv4.
    ///
    /// An untrusted peer is the client. Behind a trusted peer, `X-Forwarded-For` is read from the right, because each proxy
    /// appends the address of its own peer. The first untrusted hop is the client. Entries to the left of it may be forged and
    /// are not read. If an entry is not an address, the hop to its right is the client.
    pub fn client_address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
        let mut hops = lines.flat_map(|line| line.as_bytes().rsplit(|&byte| byte == b','));
        while self.trusts(client) {
            match hops.next().and_then(parse_hop) {
                Some(hop) => client = hop,
                None => break,
            }
        }
        client
    }
}

impl FromStr for TrustedProxies {
    type Err = InvalidTrustedProxy;

    fn from_str(list: &str) -> Result<Self, Self::Err> {
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let networks = entries.map(parse_network).collect::<Result<_, _>>()?;
        Ok(Self { networks })
    }
}

/// The key under which the requests of a client are counted: its IPv4 address, or its IPv6 /64.
///
/// An IPv6 customer usually has a whole /64, and could use a new address for each request.
pub fn client_key(client: IpAddr) -> String {
    match client_network(client) {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(network) => format!("{network}/64"),
    }
}

/// The first address of the network that is counted as one client: the IPv4 address itself, or the first of the IPv6 /64.
pub fn client_network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

/// The address of an entry of `X-Forwarded-For`. Some proxies add brackets or a port.
fn parse_hop(entry: &[u8]) -> Option<IpAddr> {
    let entry = str::from_utf8(entry).ok()?.trim();
    let bare = entry
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(entry);
    let address = bare
        .parse()
        .or_else(|_| entry.parse().map(|socket: SocketAddr| socket.ip()));
    address.ok().map(|address| address.to_canonical())
}

fn parse_network(entry: &str) -> Result<IpNet, InvalidTrustedProxy> {
    let network = entry
        .parse()
        .or_else(|_| entry.parse().map(|address: IpAddr| IpNet::from(address)));
    match network {
        Ok(network) => Ok(canonical(network.trunc())),
        Err(_) => Err(InvalidTrustedProxy {
            entry: entry.to_owned(),
        }),
    }
}

/// An IPv4-mapped IPv6 network as an IPv4 network: addresses are compared in this form.
fn canonical(network: IpNet) -> IpNet {
    let address = network.addr().to_canonical();
    match (address, network.prefix_len().checked_sub(96)) {
        (IpAddr::V4(v4), Some(prefix)) if network.addr().is_ipv6() => {
            Ipv4Net::new(v4, prefix).map_or(network, IpNet::V4)
        }
        _ => network,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const PROXIES: &str = "10.0.0.0/8, 192.0.2.7, 2001:db8:ffff::/48";

    fn client(peer: &str, lines: &[&str]) -> String {
        let proxies: TrustedProxies = PROXIES.parse().unwrap();
        let address = proxies.client_address(peer.parse().unwrap(), &forwarded(lines));
        address.to_string()
    }

    fn forwarded<T: AsRef<[u8]>>(lines: &[T]) -> HeaderMap {
        let values = lines
            .iter()
            .map(|line| HeaderValue::from_bytes(line.as_ref()).unwrap());
        values.map(|value| (X_FORWARDED_FOR, value)).collect()
    }

    #[test]
    fn untrusted_peer_is_the_client_despite_x_forwarded_for() {
        assert_eq!(client("203.0.113.9", &[]), "203.0.113.9");
        assert_eq!(client("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(client("203.0.113.9", &["10.0.0.1"]), "203.0.113.9");
    }

    #[test]
    fn first_untrusted_hop_from_the_right_is_the_client() {
        assert_eq!(client("10.1.2.3", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(
            client("10.1.2.3", &["6.6.6.6, 198.51.100.1, 192.0.2.7,10.9.9.9"]),
            "198.51.100.1"
        );
        assert_eq!(
            client("10.1.2.3", &["6.6.6.6", "198.51.100.1", "192.0.2.7"]),
            "198.51.100.1"
        );
        assert_eq!(client("2001:db8:ffff::1", &["2001:db8:1::5"]), "2001:db8:1::5");
    }

    #[test]
    fn furthest_hop_is_the_client_if_all_hops_are_trusted() {
        assert_eq!(client("10.1.2.3", &[]), "10.1.2.3");
        assert_eq!(client("10.1.2.3", &["10.0.0.5, 10.0.0.6"]), "10.0.0.5");
    }

    #[test]
    fn malformed_hop_makes_the_hop_before_it_the_client() {
        for malformed in [
            "unknown",
            "_hidden",
            "",
            "1.2.3",
            "1.2.3.4/8",
            "fe80::1%eth0",
            "1.2.3.4 5.6.7.8",
        ] {
            let line = format!("198.51.100.1, {malformed}, 10.0.0.6");
            assert_eq!(client("10.1.2.3", &[&line]), "10.0.0.6", "{malformed:?}");
        }
        let proxies: TrustedProxies = PROXIES.parse().unwrap();
        let peer = "10.1.2.3".parse().unwrap();
        assert_eq!(
            proxies.client_address(peer, &forwarded(&[b"198.51.100.1, \xff\xfe"])),
            peer
        );
    }

    #[test]
    fn hops_may_have_ports_brackets_and_ipv4_mapped_addresses() {
        assert_eq!(client("10.1.2.3", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(client("10.1.2.3", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client("10.1.2.3", &["[2001:db8::1]"]), "2001:db8::1");
        assert_eq!(
            client("::ffff:10.1.2.3", &["::ffff:198.51.100.1"]),
            "198.51.100.1"
        );
    }

    #[test]
    fn client_key_is_an_ipv4_address_or_an_ipv6_64() {
        let key = |address: &str| client_key(address.parse().unwrap());
        assert_eq!(key("198.51.100.1"), "198.51.100.1");
        assert_eq!(key("::ffff:198.51.100.1"), "198.51.100.1");
        assert_eq!(key("2001:db8:1:2:aaaa::1"), "2001:db8:1:2::/64");
        assert_eq!(key("2001:db8:1:2:bbbb::2"), "2001:db8:1:2::/64");
        assert_eq!(key("2001:db8:1:3::1"), "2001:db8:1:3::/64");
    }

    #[test]
    fn trusted_proxies_are_addresses_and_networks_separated_by_commas() {
        let trusts = |list: &str, peer: &str| {
            let proxies: TrustedProxies = list.parse().unwrap();
            proxies.trusts(peer.parse().unwrap())
        };
        assert!(!trusts("", "127.0.0.1"));
        assert!(!trusts(" , ", "127.0.0.1"));
        assert!(trusts("127.0.0.1,::1", "::1"));
        assert!(trusts("127.0.0.1", "::ffff:127.0.0.1"));
        assert!(
            trusts("10.20.30.40/8", "10.0.0.1"),
            "bits beyond the prefix do not matter"
        );
        assert!(trusts("::ffff:10.0.0.0/104", "10.255.0.1"));
        assert!(!trusts("::ffff:10.0.0.0/104", "11.0.0.1"));
        assert!(!trusts("::/0", "10.0.0.1"), "all of IPv6 is not IPv4");
    }

    #[test]
    fn invalid_trusted_proxy_is_named_in_the_error() {
        for entry in ["proxy.local", "10.0.0.0/33", "10.0.0", "10.0.0.1:80"] {
            let error = format!("127.0.0.1, {entry}")
                .parse::<TrustedProxies>()
                .unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("`{entry}` is neither an IP address nor a network like 10.0.0.0/8")
            );
        }
    }

    /// A header line from a client: an address, a list of addresses, or noise.
    fn forged_line() -> impl Strategy<Value = Vec<u8>> {
        let address = any::<u32>().prop_map(|bits| std::net::Ipv4Addr::from(bits).to_string().into_bytes());
        let list = proptest::collection::vec(any::<u32>(), 0..4).prop_map(|all| {
            let all: Vec<_> = all
                .iter()
                .map(|&bits| std::net::Ipv4Addr::from(bits).to_string())
                .collect();
            all.join(", ").into_bytes()
        });
        let noise = proptest::collection::vec(0x20u8..0x7f, 0..40);
        let bytes = proptest::collection::vec(0x80u8.., 0..20);
        prop_oneof![address, list, noise, bytes]
    }

    fn untrusted() -> impl Strategy<Value = IpAddr> {
        let proxies: TrustedProxies = PROXIES.parse().unwrap();
        let v4 = any::<u32>().prop_map(|bits| IpAddr::from(bits.to_be_bytes()));
        let v6 = any::<u128>().prop_map(|bits| IpAddr::from(bits.to_be_bytes()).to_canonical());
        prop_oneof![v4, v6].prop_filter("trusted", move |&address| !proxies.trusts(address))
    }

    proptest! {
        #[test]
        fn forged_left_hops_never_change_the_client(
            forged in proptest::collection::vec(forged_line(), 0..4),
            client in untrusted(),
            behind_two in any::<bool>(),
            own_line in any::<bool>(),
        ) {
            let proxies: TrustedProxies = PROXIES.parse().unwrap();
            let mut lines = forged;
            let second = if behind_two { ", 192.0.2.7" } else { "" };
            let mut appended = format!("{client}{second}").into_bytes();
            match lines.last_mut() {
                Some(last) if !own_line => {
                    last.extend_from_slice(b", ");
                    last.append(&mut appended);
                }
                _ => lines.push(appended),
            }
            let found = proxies.client_address("10.1.2.3".parse().unwrap(), &forwarded(&lines));
            prop_assert_eq!(found, client);
            prop_assert_eq!(client_key(found), client_key(client));
        }

        #[test]
        fn random_x_forwarded_for_of_untrusted_peer_is_ignored(
            forged in proptest::collection::vec(forged_line(), 0..4),
            peer in untrusted(),
        ) {
            let proxies: TrustedProxies = PROXIES.parse().unwrap();
            prop_assert_eq!(proxies.client_address(peer, &forwarded(&forged)), peer);
        }
    }
}
