//! What a node says of its cluster: who owns which slots, and whether that is worth
//! believing.
//!
//! Pure: replies in, a view or a redirection out.

use std::fmt;

use redis::{Pipeline, ServerError, ServerErrorKind, Value};

use super::address::Address;
use super::slots::SLOTS;

/// What one node believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Whether it thinks that the cluster works, and the epoch up to which it has followed
    /// its changes. The greatest of several views is the one to believe: a node that was
    /// cut off takes the cluster for broken or has seen less of it.
    pub(super) standing: (bool, u64),
    /// Slots, first and last, and the primary that owns them.
    pub(super) owners: Vec<(u16, u16, Address)>,
}

/// Where a refused command belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The slot has moved for good.
    Moved(Address),
    /// The slot is moving, and the counters of this command are not where it was sent.
    Ask(Address),
    /// Nowhere for now: the cluster does not work, or some of the counters have moved and
    /// some have not.
    Later(String),
}

/// The questions that [`View::read`] takes the answers of.
pub(super) fn questions() -> Pipeline {
    let mut questions = Pipeline::with_capacity(2);
    questions.cmd("CLUSTER").arg("SLOTS").cmd("CLUSTER").arg("INFO");
    questions
}

impl View {
    /// What the node at `asked` has answered.
    ///
    /// # Errors
    ///
    /// It knows of no slots, says why when it can, or speaks another language.
    pub(super) fn read(replies: &[Value], asked: &Address) -> Result<Self, String> {
        let owners = match replies.first() {
            Some(Value::Array(ranges)) => {
                ranges.iter().filter_map(|range| owner(range, asked)).collect::<Vec<_>>()
            }
            Some(Value::ServerError(error)) => return Err(error.to_string()),
            _ => return Err("an answer that is no list of slots".to_owned()),
        };
        if owners.is_empty() {
            return Err("it knows of no slots".to_owned());
        }
        // Whoever may not ask for the state takes what the node believes as it is.
        let info = replies.get(1).and_then(text).unwrap_or_default();
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.strip_prefix(':')).map(str::trim)
        };
        let works = field("cluster_state").is_none_or(|state| state == "ok");
        let epoch = field("cluster_current_epoch").and_then(|epoch| epoch.parse().ok());
        Ok(Self { standing: (works, epoch.unwrap_or(0)), owners })
    }
}

impl Direction {
    /// What the error of the node at `asked` says, if it is the wrong one to ask.
    pub(super) fn read(error: &ServerError, asked: &Address) -> Option<Self> {
        let named = || {
            let (_, address) = error.details()?.split_once(' ')?;
            let (host, port) = address.trim().rsplit_once(':')?;
            endpoint(host, port.parse().ok()?, asked)
        };
        let nowhere = || Self::Later(error.to_string());
        match error.kind()? {
            ServerErrorKind::Moved => Some(named().map_or_else(nowhere, Self::Moved)),
            ServerErrorKind::Ask => Some(named().map_or_else(nowhere, Self::Ask)),
            ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown => Some(nowhere()),
            _ => None,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Moved(address) => write!(f, "the slot is said to be at {address}"),
            Self::Ask(address) => write!(f, "the slot is said to be moving to {address}"),
            Self::Later(reason) => f.write_str(reason),
        }
    }
}

/// One element of `CLUSTER SLOTS`: first, last, the primary, replicas.
fn owner(range: &Value, asked: &Address) -> Option<(u16, u16, Address)> {
    let Value::Array(range) = range else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = &range[..] else {
        return None;
    };
    let [host, Value::Int(port), rest @ ..] = &primary[..] else { return None };
    let host = match text(host) {
        // The node prefers host names and knows none of this one.
        Some("?") => rest.get(1).and_then(|facts| fact(facts, "ip"))?,
        Some(host) => host,
        None => "",
    };
    let slot = |slot: &i64| u16::try_from(*slot).ok().filter(|slot| *slot < SLOTS);
    Some((slot(first)?, slot(last)?, endpoint(host, u16::try_from(*port).ok()?, asked)?))
}

/// The address of a node; a host that is left out is the one that was asked.
fn endpoint(host: &str, port: u16, asked: &Address) -> Option<Address> {
    match (host, asked) {
        ("?", _) => None,
        ("", Address::Tcp(host, _)) => Some(Address::Tcp(host.clone(), port)),
        ("", Address::Unix(_)) => None,
        _ => Some(Address::Tcp(host.to_owned(), port)),
    }
}

/// A fact from the list of names and values that stands beside a node.
fn fact<'v>(facts: &'v Value, name: &str) -> Option<&'v str> {
    match facts {
        Value::Array(facts) => facts
            .chunks_exact(2)
            .find_map(|pair| if text(&pair[0]) == Some(name) { text(&pair[1]) } else { None }),
        Value::Map(facts) => facts
            .iter()
            .find_map(|(key, value)| if text(key) == Some(name) { text(value) } else { None }),
        _ => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn asked() -> Address {
        tcp("seed", 7000)
    }

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp(host.to_owned(), port)
    }

    fn slots(host: Value, facts: &[&str]) -> Value {
        let facts = Value::Array(facts.iter().map(|fact| bulk(fact)).collect());
        let primary = Value::Array(vec![host, Value::Int(7001), bulk("id"), facts]);
        Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(16383), primary])])
    }

    #[test]
    fn a_primary_is_named_in_many_ways() {
        let check = |host: Value, facts: &[&str], expected: Option<Address>| {
            let view = View::read(&[slots(host, facts)], &asked());
            assert_eq!(view.ok().map(|view| view.owners[0].2.clone()), expected);
        };
        check(bulk("10.0.0.1"), &[], Some(tcp("10.0.0.1", 7001)));
        check(bulk("node-1.redis"), &["ip", "10.0.0.1"], Some(tcp("node-1.redis", 7001)));
        check(bulk("::1"), &[], Some(tcp("::1", 7001)));
        check(bulk(""), &[], Some(tcp("seed", 7001)));
        check(Value::Nil, &[], Some(tcp("seed", 7001)));
        check(bulk("?"), &["ip", "10.0.0.1"], Some(tcp("10.0.0.1", 7001)));
        check(bulk("?"), &[], None);
    }

    #[test]
    fn a_working_cluster_stands_above_a_broken_one_and_a_later_one_above_an_earlier() {
        let view = |info: &str| {
            let view = View::read(&[slots(bulk("a"), &[]), bulk(info)], &asked());
            view.map(|view| view.standing)
        };
        let broken = view("cluster_state:fail\r\ncluster_current_epoch:9\r\n");
        let early = view("cluster_state:ok\r\ncluster_current_epoch:6\r\n");
        let late = view("cluster_state:ok\r\ncluster_current_epoch:7\r\n");
        assert_eq!((broken.clone(), late.clone()), (Ok((false, 9)), Ok((true, 7))));
        assert!(broken < early && early < late);
        assert_eq!(view(""), Ok((true, 0)));
    }

    #[test]
    fn what_is_no_map_is_refused() {
        for reply in
            [Value::Nil, Value::Int(1), Value::Array(vec![]), Value::Array(vec![bulk("x")])]
        {
            assert!(View::read(&[reply], &asked()).is_err());
        }
        assert!(View::read(&[], &asked()).is_err());
    }
}
