//! `match`: values, networks or an expression, read and compiled.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Display;
use std::hash::Hash;

use regex::{Regex, RegexBuilder};

use super::fields::{Field, Fields};
use super::level::Level;
use super::matcher::Matcher;
use super::network::{Network, Wrong};
use super::read::is_given;
use super::report::{Report, Reported, Spot, clip};
use super::yaml::{Kind, Node, Place};

/// How much memory a compiled expression may take, in bytes; and how much each thread
/// may keep to search faster.
const LARGEST_REGEX: usize = 512 << 10;

/// How long an expression may be, in bytes: reading it takes a hundred times as much.
pub(super) const LONGEST_REGEX: usize = 16 << 10;

/// How many different expressions a set of files may hold.
const MAX_REGEXES: usize = 1000;

const ONE_OF: &str = "one of any_of, cidr and regex is required";

const NETWORK: &str = "a network such as 10.0.0.0/8 or fd00::/8 is allowed";

/// A valid `match`.
#[derive(Debug)]
pub(super) struct Criteria {
    pub(super) matcher: Matcher,
    /// Where each value or network stands.
    pub(super) places: Vec<Place>,
}

/// The expressions of a set of files, compiled once each.
#[derive(Debug, Default)]
pub(super) struct Regexes(HashMap<Box<str>, Result<Regex, String>>);

/// Reads `match`; `None` where there is none.
pub(super) fn read(
    field: Option<&Field<'_>>,
    path: &str,
    regexes: &mut Regexes,
    report: &mut Report,
) -> Result<Option<Criteria>, Reported> {
    let (Some(field), [_, ..]) = (field, report.maps(field, path)?) else {
        return Ok(None);
    };
    let fields = Fields::gather(field.maps());
    fields.report(Level::Match, path, report);
    let given = Level::Match.keys().iter().filter_map(|name| fields.get(name));
    let given: Vec<_> = given.filter(|field| is_given(Some(field))).collect();
    let mut reader = Reader { path, report };
    let [one] = *given else {
        return Err(match *given {
            [] if !fields.belong(Level::Match) => Reported,
            [] => reader.error(field.at, "match is empty".to_owned(), ONE_OF),
            [first, second, ..] => {
                let found = format!("{} stands beside {}", second.name, first.name);
                reader.error(second.at.max(first.at), found, "one of the two is allowed")
            }
            [_] => Reported,
        });
    };
    match one.name {
        "any_of" => reader.any_of(one),
        "cidr" => reader.cidr(one),
        _ => reader.regex(one, regexes),
    }
    .map(Some)
}

struct Reader<'r> {
    path: &'r str,
    report: &'r mut Report,
}

impl Reader<'_> {
    fn error(&mut self, at: Place, found: String, allowed: &str) -> Reported {
        self.report.error(Spot { at, path: self.path }, found, allowed)
    }

    fn any_of(&mut self, field: &Field<'_>) -> Result<Criteria, Reported> {
        let list = match field.value().map(|node| (node, node.kind())) {
            Some((_, Kind::Sequence(items))) => items,
            Some((node, _)) => {
                return Err(self.report.wrong(
                    "any_of",
                    node,
                    self.path,
                    "a list of strings is allowed",
                ));
            }
            None => return Err(Reported),
        };
        let value = |reader: &mut Self, node| reader.text("any_of", node).map(Box::from);
        let (values, places) =
            self.each(field, list, value, |value| format!("{:?}", clip(value)))?;
        Ok(Criteria { matcher: Matcher::AnyOf(values), places })
    }

    fn cidr(&mut self, field: &Field<'_>) -> Result<Criteria, Reported> {
        let list = match field.value().map(|node| (node, node.kind())) {
            Some((_, Kind::Sequence(items))) => items,
            Some((node, Kind::Scalar(_))) => std::slice::from_ref(node),
            Some((node, Kind::Mapping(_))) => {
                let allowed = "a string or a list of strings is allowed";
                return Err(self.report.wrong("cidr", node, self.path, allowed));
            }
            None => return Err(Reported),
        };
        let (networks, places) =
            self.each(field, list, Self::network, |network: &Network| network.to_string())?;
        Ok(Criteria { matcher: Matcher::Cidr(networks), places })
    }

    /// Reads the elements of a list, which must be there and differ.
    fn each<'n, T: Clone + Eq + Hash, D: Display>(
        &mut self,
        field: &Field<'_>,
        list: &'n [Node<'n>],
        read: impl Fn(&mut Self, &'n Node<'n>) -> Result<T, Reported>,
        show: impl Fn(&T) -> D,
    ) -> Result<(Vec<T>, Vec<Place>), Reported> {
        if list.is_empty() {
            let at = Field::value_at(Some(field), field.at);
            let found = format!("{} is an empty list", field.name);
            return Err(self.error(at, found, "at least one element is required"));
        }
        let (mut items, mut places) = (Vec::new(), Vec::new());
        let mut seen: HashMap<T, Place> = HashMap::new();
        let mut result = Ok(());
        for node in list {
            let item = read(self, node).and_then(|item| match seen.entry(item.clone()) {
                Entry::Vacant(vacant) => {
                    vacant.insert(node.at);
                    Ok(item)
                }
                Entry::Occupied(first) => {
                    let Place { line, column } = first.get();
                    let shown = show(&item);
                    let found =
                        format!("{} holds {shown} twice, first at {line}:{column}", field.name);
                    Err(self.error(node.at, found, "once is enough"))
                }
            });
            match item {
                Ok(item) => {
                    items.push(item);
                    places.push(node.at);
                }
                Err(reported) => result = Err(reported),
            }
        }
        result.map(|()| (items, places))
    }

    fn text(&mut self, name: &str, node: &Node<'_>) -> Result<String, Reported> {
        let text = self.report.text_of(&format!("an element of {name}"), node, self.path)?;
        if text.is_empty() {
            let found = format!("an element of {name} is empty");
            return Err(self.error(node.at, found, "a text is allowed"));
        }
        Ok(text.into_owned())
    }

    fn network(&mut self, node: &Node<'_>) -> Result<Network, Reported> {
        let text = self.text("cidr", node)?;
        let (what, allowed) = match Network::strict(&text) {
            Ok(network) => return Ok(network),
            Err(Wrong::Text) => ("", NETWORK.to_owned()),
            Err(Wrong::Address(network)) => {
                (", which lacks the length of its prefix", format!("did you mean {network}?"))
            }
            Err(Wrong::HostBits(network)) => {
                (", which has bits set beyond its prefix", format!("did you mean {network}?"))
            }
        };
        let found = format!("cidr holds {:?}{what}", clip(&text));
        Err(self.error(node.at, found, &allowed))
    }

    fn regex(&mut self, field: &Field<'_>, regexes: &mut Regexes) -> Result<Criteria, Reported> {
        let text = self.report.text(Some(field), self.path)?;
        let at = Field::value_at(Some(field), field.at);
        if text.is_empty() {
            let allowed = "without match, every value matches";
            return Err(self.error(at, "regex is empty".to_owned(), allowed));
        }
        if text.len() > LONGEST_REGEX {
            let found = format!("regex is {} bytes long", text.len());
            return Err(self.error(at, found, &format!("{LONGEST_REGEX} are allowed")));
        }
        match regexes.compile(&text) {
            Ok(regex) => Ok(Criteria { matcher: Matcher::Regex(regex), places: vec![at] }),
            Err(reason) => {
                let found = format!("regex {:?} does not compile: {reason}", clip(&text));
                Err(self.error(at, found, ""))
            }
        }
    }
}

impl Regexes {
    fn compile(&mut self, text: &str) -> Result<Regex, String> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        let result = if self.0.len() < MAX_REGEXES {
            compile(text)
        } else {
            Err(format!("more than {MAX_REGEXES} different ones in all files"))
        };
        self.0.insert(text.into(), result.clone());
        result
    }
}

/// Compiles an expression, or says in one line why that is not possible.
fn compile(text: &str) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(text);
    let regex = builder.size_limit(LARGEST_REGEX).dfa_size_limit(LARGEST_REGEX).build();
    regex.map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("it takes more than {limit} bytes; [0-9A-Za-z_] is smaller than \\w")
        }
        // The last line is the reason, those before it show the expression.
        error => {
            let text = error.to_string();
            let line = text.lines().last().unwrap_or_default();
            line.strip_prefix("error: ").unwrap_or(line).to_owned()
        }
    })
}
