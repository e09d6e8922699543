//! Limits log lines that clients can cause to a number per minute and address, and counts the rest.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The window in which lines are counted.
const WINDOW: Duration = Duration::from_mins(1);
/// Addresses with a count of their own within a window; the others share one.
const ADDRESSES: usize = 1000;

/// Decides which lines of one kind are written. Make it a `static` beside the line:
///
/// ```ignore
/// static REFUSALS: LineLimit = LineLimit::new(10);
/// if let Some(left_out) = REFUSALS.admit(address) {
///     tracing::warn!(left_out, "request refused");
/// }
/// ```
#[derive(Debug)]
pub struct LineLimit {
    per_address: u32,
    window: Mutex<Option<Window>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    lines: HashMap<Option<IpAddr>, u32>,
    left_out: u64,
}

impl LineLimit {
    /// A limit of so many lines a minute for each address.
    pub const fn new(per_address: u32) -> Self {
        Self {
            per_address,
            window: Mutex::new(None),
        }
    }

    /// Whether to write a line that `address` causes: if so, returns how many lines of this kind were left out since the last
    /// one. Lines without an address share one count, as do the addresses of an IPv6 /64.
    pub fn admit(&self, address: Option<IpAddr>) -> Option<u64> {
        self.admit_at(address, Instant::now())
    }

    fn admit_at(&self, address: Option<IpAddr>, now: Instant) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let window = window.get_or_insert_with(|| Window {
            began: now,
            lines: HashMap::new(),
            left_out: 0,
        });
        if now.saturating_duration_since(window.began) >= WINDOW {
            window.began = now;
            window.lines.clear();
        }
        let network = address.map(network);
        let is_known = window.lines.contains_key(&network) || window.lines.len() < ADDRESSES;
        let lines = window.lines.entry(network.filter(|_| is_known)).or_default();
        if *lines >= self.per_address {
            window.left_out += 1;
            return None;
        }
        *lines += 1;
        Some(std::mem::take(&mut window.left_out))
    }
}

/// An IPv4 address, or the /64 of an IPv6 one, which a single customer gets.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_limit_are_counted() {
        let limit = LineLimit::new(2);
        let [one, other, near] = ["2001:db8::1", "192.0.2.2", "2001:db8::2"].map(|text| text.parse().ok());
        let began = Instant::now();
        assert_eq!(limit.admit_at(one, began), Some(0));
        assert_eq!(limit.admit_at(near, began), Some(0));
        for _ in 0..5 {
            assert_eq!(limit.admit_at(one, began), None);
        }
        assert_eq!(
            limit.admit_at(other, began),
            Some(5),
            "another address has its own"
        );
        assert_eq!(limit.admit_at(None, began), Some(0));
        assert_eq!(limit.admit_at(one, began + Duration::from_secs(59)), None);
        assert_eq!(limit.admit_at(one, began + WINDOW), Some(1));
    }

    #[test]
    fn addresses_beyond_the_table_share_one_count() {
        let limit = LineLimit::new(1);
        let now = Instant::now();
        let addresses = 0..u32::try_from(ADDRESSES).unwrap() * 3;
        let written = addresses.filter(|number| {
            let address = IpAddr::from(number.to_be_bytes());
            limit.admit_at(Some(address), now).is_some()
        });
        assert_eq!(written.count(), ADDRESSES + 1);
        let remembered = limit.window.lock().unwrap().as_ref().unwrap().lines.len();
        assert!(remembered <= ADDRESSES + 1, "{remembered}");
    }
}
