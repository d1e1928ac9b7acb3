//! IP networks: as a rule file names them, as a request gives them, and the table that
//! finds the smallest one around an address.
//!
//! IPv4 stands in the same space as IPv6, where IPv6 maps it: `::ffff:0:0/96`. So an
//! address means the same in both notations, and no wider IPv6 network holds it.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::HashMap;
use std::fmt;

use super::ruleset::NodeId;

/// The bits of `::ffff:0:0/96`.
const MAPPED: Network = Network { bits: 0xffff << 32, length: 96 };

/// An address and how many of its leading bits count; the others are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Network {
    bits: u128,
    length: u8,
}

/// Why a text of a rule file is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It is nothing of the kind.
    Text,
    /// An address alone.
    Address(Network),
    /// Bits beyond the prefix are set.
    HostBits(Network),
}

impl Network {
    /// The network that a rule file names, which must be written as such.
    pub(super) fn strict(text: &str) -> Result<Self, Wrong> {
        let (bits, length) = split(text).ok_or(Wrong::Text)?;
        let network = Self { bits, length }.cut(length);
        if !text.contains('/') {
            Err(Wrong::Address(network))
        } else if network.bits != bits {
            Err(Wrong::HostBits(network))
        } else {
            Ok(network)
        }
    }

    /// What a request says: an address, or a network as Envoy's `masked_remote_address`.
    fn of_request(text: &str) -> Option<Self> {
        split(text).map(|(bits, length)| Self { bits, length }.cut(length))
    }

    /// The network of that length around this one.
    fn cut(self, length: u8) -> Self {
        let bits = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        Self { bits: self.bits & bits, length }
    }

    fn is_v4(self) -> bool {
        self.length >= MAPPED.length && self.cut(MAPPED.length) == MAPPED
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_v4() {
            write!(f, "{}/{}", Ipv4Addr::from(self.bits as u32), self.length - MAPPED.length)
        } else {
            write!(f, "{}/{}", Ipv6Addr::from(self.bits), self.length)
        }
    }
}

/// The bits of an address, and how many of them count: all, unless `/` limits them.
fn split(text: &str) -> Option<(u128, u8)> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(prefix_length(length)?)),
        None => (text, None),
    };
    let (bits, widest, above) = match address.parse().ok()? {
        IpAddr::V4(address) => (address.to_ipv6_mapped().to_bits(), 32, MAPPED.length),
        IpAddr::V6(address) => (address.to_bits(), 128, 0),
    };
    let length = length.unwrap_or(widest);
    (length <= widest).then(|| (bits, above + length))
}

fn prefix_length(text: &str) -> Option<u8> {
    let is_plain = text == "0" || text.starts_with(|c: char| matches!(c, '1'..='9'));
    text.parse().ok().filter(|_| is_plain)
}

/// Networks that lead to nodes.
#[derive(Debug, Default)]
pub(super) struct Networks {
    nodes: HashMap<Network, NodeId>,
    /// The lengths that occur, longest first: a look-up tries each of them.
    lengths: Vec<u8>,
}

impl Networks {
    /// The node of exactly this network.
    pub(super) fn get(&self, network: Network) -> Option<NodeId> {
        self.nodes.get(&network).copied()
    }

    pub(super) fn insert(&mut self, network: Network, node: NodeId) {
        let order = |length: &u8| network.length.cmp(length);
        if let Err(index) = self.lengths.binary_search_by(order) {
            self.lengths.insert(index, network.length);
        }
        self.nodes.insert(network, node);
    }

    /// The node of the smallest network that holds all of what `value` names.
    pub(super) fn around(&self, value: &str) -> Option<NodeId> {
        if self.lengths.is_empty() {
            return None;
        }
        let named = Network::of_request(value)?;
        let least = if named.is_v4() { MAPPED.length } else { 0 };
        let fitting = self.lengths.iter().filter(|length| (least..=named.length).contains(length));
        fitting.copied().find_map(|length| self.get(named.cut(length)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Network, Networks, Wrong};

    fn check(text: &str, expected: &str) {
        let shown = match Network::strict(text) {
            Ok(network) => format!("{network}"),
            Err(Wrong::Text) => "no network".to_owned(),
            Err(Wrong::Address(network)) => format!("address, {network}"),
            Err(Wrong::HostBits(network)) => format!("host bits, {network}"),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn networks_are_read_strictly() {
        check("10.0.0.0/8", "10.0.0.0/8");
        check("0.0.0.0/0", "0.0.0.0/0");
        check("FD00::/8", "fd00::/8");
        check("::/0", "::/0");
        check("::ffff:10.0.0.0/104", "10.0.0.0/8");
        check("::ffff:0:0/96", "0.0.0.0/0");
        check("10.1.2.3/8", "host bits, 10.0.0.0/8");
        check("10.1.2.3/0", "host bits, 0.0.0.0/0");
        check("2001:db8::1/32", "host bits, 2001:db8::/32");
        check("10.0.0.1", "address, 10.0.0.1/32");
        check("::1", "address, ::1/128");
        for text in ["", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/08"] {
            check(text, "no network");
        }
        for text in ["10.0.0/8", "10.0.0.0/+8", "10.0.0.0/8/8", "010.0.0.0/8", " ::/0", "host"] {
            check(text, "no network");
        }
    }

    /// What longest prefix means, said as simply as possible.
    fn naive(networks: &[Network], value: &str) -> Option<u32> {
        let named = Network::of_request(value)?;
        let holds = |n: &&Network| {
            n.is_v4() == named.is_v4() && n.length <= named.length && named.cut(n.length) == **n
        };
        let longest = networks.iter().filter(holds).max_by_key(|n| n.length)?;
        networks.iter().position(|n| n == longest).map(|index| index as u32)
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_the_naive_search(
            networks in proptest::collection::vec((0u8..4, 0u8..4, 0u8..=32, 0u8..2), 0..12),
            value in (0u8..4, 0u8..4, 0u8..=32, 0u8..3),
        ) {
            let text = |(a, b, length, kind): (u8, u8, u8, u8)| match kind {
                0 => format!("{a}.{b}.0.0/{length}"),
                1 => format!("{a}::{b}/{}", u32::from(length) * 4),
                _ => format!("::ffff:{a}.{b}.0.0/{}", 96 + length),
            };
            let networks: Vec<_> =
                networks.into_iter().filter_map(|n| Network::of_request(&text(n))).collect();
            let mut table = Networks::default();
            for (index, network) in networks.iter().enumerate().rev() {
                table.insert(*network, index as u32);
            }
            let value = text(value);
            assert_eq!(table.around(&value), naive(&networks, &value), "{networks:?} {value}");
        }
    }
}
