//! Readiness: the facts, and the report made of them.
//!
//! Pure apart from [`Health`], the cell that holds the facts and wakes who watches them.

use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Timestamp;

/// How the process is as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overall {
    /// Every component is up.
    Ready,
    /// Requests are answered, but something is wrong.
    Degraded,
    /// Requests cannot be answered yet.
    NotReady,
    /// The process is about to stop.
    Draining,
}

impl Overall {
    /// Whether probes shall send traffic here.
    pub fn is_serving(self) -> bool {
        matches!(self, Self::Ready | Self::Degraded)
    }
}

/// How a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// It works.
    Up,
    /// It works with a fault.
    Degraded,
    /// It does not work.
    Down,
}

/// A component's line of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// `rules`, `store` or `listeners`.
    pub name: &'static str,
    /// How it is.
    pub level: Level,
    /// How long its last probe took, where there is one.
    pub latency: Option<Duration>,
    /// Why it is not up. When it is, what is worth knowing; mostly nothing.
    pub reason: String,
}

/// What rules there must be to be ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RulesNeeded {
    /// None: they may come later.
    Nothing,
    /// A set that was loaded, be it empty.
    #[default]
    Loaded,
    /// A set with at least one domain.
    Domain,
}

/// What is known about the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RulesFacts {
    /// What there must be to be ready.
    pub needed: RulesNeeded,
    /// Digest of the rules in force; empty before the first load.
    pub version: String,
    /// When they were loaded.
    pub loaded_at: Option<Timestamp>,
    /// Why and when a load was refused, if the last one was.
    pub last_error: Option<(String, Timestamp)>,
    /// Domains in force.
    pub domains: usize,
    /// Limits in force.
    pub limits: usize,
    /// The management server they come from, if it is not files.
    pub xds: Option<XdsFacts>,
}

/// What is known about the management server that rules come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XdsFacts {
    /// Where it is.
    pub server: String,
    /// There is a connection. The server need not have sent rules by it.
    pub is_connected: bool,
    /// Why there is none.
    pub fault: Option<String>,
    /// What the server calls the rules that were last accepted; empty before that.
    pub version: String,
    /// When it last sent rules.
    pub contact: Option<Timestamp>,
    /// How often what it sent was accepted.
    pub accepted: u64,
    /// How often it was not.
    pub rejected: u64,
}

impl XdsFacts {
    /// What an operator wants to know.
    fn describe(&self) -> String {
        let Self { server, version, .. } = self;
        match (&self.fault, self.is_connected, self.contact) {
            (Some(fault), ..) => format!("no stream to the management server at {server}: {fault}"),
            (None, false, _) => format!("connecting to the management server at {server}"),
            (None, true, None) => {
                format!("the management server at {server} has sent no rules yet")
            }
            (None, true, Some(_)) => {
                format!("from the management server at {server}, version {version:?}")
            }
        }
    }
}

/// What of the store there must be to be ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreNeeded {
    /// One answer since the start.
    #[default]
    Answered,
    /// That, and a connection now.
    Connected,
}

/// What is known about the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreFacts {
    /// What there must be to be ready.
    pub needed: StoreNeeded,
    /// There is a connection, or none is needed.
    pub is_connected: bool,
    /// Its name.
    pub name: &'static str,
    /// How many connections to its servers decisions do not use, as those did not answer in
    /// time.
    pub open_circuits: usize,
    /// It answered at least once since the start.
    pub has_answered: bool,
    /// Why it does not answer now.
    pub fault: Option<String>,
    /// How long the last probe took.
    pub latency: Option<Duration>,
}

/// All that readiness follows from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// When the process started.
    pub started_at: Timestamp,
    /// Where it runs, in the operator's words.
    pub environment: String,
    /// The rules.
    pub rules: RulesFacts,
    /// The store.
    pub store: StoreFacts,
    /// The listeners are open.
    pub listening: bool,
    /// The process was asked to stop.
    pub draining: bool,
}

impl Facts {
    /// The state as a whole.
    pub fn overall(&self) -> Overall {
        let levels = self.components().map(|component| component.level);
        if self.draining {
            Overall::Draining
        } else if !self.is_able() {
            Overall::NotReady
        } else if levels.iter().all(|level| *level == Level::Up) {
            Overall::Ready
        } else {
            Overall::Degraded
        }
    }

    /// The components, in the order of the report.
    pub fn components(&self) -> [Component; 3] {
        [self.rules_component(), self.store_component(), self.listeners_component()]
    }

    /// Whether requests can be answered: a store that fell silent later does not change
    /// it unless a connection is asked for, as what to do then is the caller's choice and
    /// restarts would not help.
    fn is_able(&self) -> bool {
        let has_rules = match self.rules.needed {
            RulesNeeded::Nothing => true,
            RulesNeeded::Loaded => self.rules.loaded_at.is_some(),
            RulesNeeded::Domain => self.rules.domains > 0,
        };
        let has_store = match self.store.needed {
            StoreNeeded::Answered => self.store.has_answered,
            StoreNeeded::Connected => self.store.has_answered && self.store.is_connected,
        };
        has_rules && has_store && self.listening
    }

    fn rules_component(&self) -> Component {
        let xds = self.rules.xds.as_ref();
        let source = xds.map(XdsFacts::describe);
        let (level, reason) = match (&self.rules.last_error, self.rules.loaded_at) {
            (Some((error, _)), Some(_)) => {
                (Level::Degraded, format!("the last load was refused, older rules hold: {error}"))
            }
            (Some((error, _)), None) => (Level::Down, error.clone()),
            (None, None) => {
                let source = source.map(|source| format!(": {source}")).unwrap_or_default();
                (Level::Down, format!("no rules are loaded yet{source}"))
            }
            (None, Some(_)) => match xds.is_some_and(|xds| xds.fault.is_some()) {
                true => (Level::Degraded, source.unwrap_or_default()),
                false => (Level::Up, source.unwrap_or_default()),
            },
        };
        Component { name: "rules", level, latency: None, reason }
    }

    fn store_component(&self) -> Component {
        let level = match (&self.store.fault, self.store.has_answered) {
            (None, true) if self.store.open_circuits > 0 => Level::Degraded,
            (None, true) => Level::Up,
            _ => Level::Down,
        };
        let open = match self.store.open_circuits {
            0 => None,
            open => Some(format!("{open} open circuits: decisions do without these connections")),
        };
        let reason = match (&self.store.fault, open) {
            (Some(fault), Some(open)) => format!("{fault} ({open})"),
            (Some(fault), None) => fault.clone(),
            (None, Some(open)) if level == Level::Degraded => open,
            (None, _) if level == Level::Up => String::new(),
            (None, _) => "the store has not answered yet".to_owned(),
        };
        Component { name: "store", level, latency: self.store.latency, reason }
    }

    fn listeners_component(&self) -> Component {
        let (level, reason) = match (self.listening, self.draining) {
            (_, true) => (Level::Degraded, "draining"),
            (true, false) => (Level::Up, ""),
            (false, false) => (Level::Down, "not open yet"),
        };
        Component { name: "listeners", level, latency: None, reason: reason.to_owned() }
    }
}

/// The facts, shared by all who learn or tell them.
#[derive(Debug)]
pub struct Health(watch::Sender<Facts>);

impl Health {
    /// A cell with these facts.
    pub fn new(facts: Facts) -> Self {
        Self(watch::Sender::new(facts))
    }

    /// The facts now.
    pub fn facts(&self) -> Facts {
        self.0.borrow().clone()
    }

    /// Changes the facts; watchers wake only if anything is different afterwards.
    pub fn update(&self, change: impl FnOnce(&mut Facts)) {
        self.0.send_if_modified(|facts| {
            let before = facts.clone();
            change(facts);
            before != *facts
        });
    }

    /// A receiver that wakes at every change.
    pub fn watch(&self) -> watch::Receiver<Facts> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Facts {
        Facts {
            rules: RulesFacts { loaded_at: Some(Timestamp::from_secs(1)), ..Default::default() },
            store: StoreFacts { has_answered: true, ..Default::default() },
            listening: true,
            ..Facts::default()
        }
    }

    fn check(change: impl FnOnce(&mut Facts), expected: Overall) {
        let mut facts = ready();
        change(&mut facts);
        assert_eq!(facts.overall(), expected, "{facts:?}");
    }

    #[test]
    fn the_whole_follows_from_the_parts() {
        check(|_| (), Overall::Ready);
        check(|f| f.listening = false, Overall::NotReady);
        check(|f| f.rules.loaded_at = None, Overall::NotReady);
        check(|f| f.store.has_answered = false, Overall::NotReady);
        check(|f| f.store.fault = Some("gone".into()), Overall::Degraded);
        check(
            |f| f.rules.last_error = Some(("bad".into(), Timestamp::default())),
            Overall::Degraded,
        );
        check(|f| f.store.open_circuits = 1, Overall::Degraded);
        check(|f| f.draining = true, Overall::Draining);
    }

    #[test]
    fn the_store_tells_of_its_open_circuits() {
        let check = |fault: Option<&str>, open_circuits, expected: (Level, &str)| {
            let mut facts = ready();
            (facts.store.fault, facts.store.open_circuits) = (fault.map(Into::into), open_circuits);
            let store = facts.store_component();
            assert_eq!((store.level, store.reason.as_str()), expected);
        };
        let open = "2 open circuits: decisions do without these connections";
        check(None, 0, (Level::Up, ""));
        check(None, 2, (Level::Degraded, open));
        check(Some("silent"), 0, (Level::Down, "silent"));
        check(Some("silent"), 2, (Level::Down, &format!("silent ({open})")));
    }

    #[test]
    fn rules_tell_of_their_management_server() {
        let check = |xds: XdsFacts, is_loaded: bool, expected: (Level, &str)| {
            let mut facts = ready();
            facts.rules.loaded_at = is_loaded.then(Timestamp::default);
            facts.rules.xds = Some(XdsFacts { server: "xds:1".into(), ..xds });
            let rules = facts.rules_component();
            assert_eq!((rules.level, rules.reason.as_str()), expected);
        };
        let new = XdsFacts::default();
        let connected = XdsFacts { is_connected: true, ..new.clone() };
        let contact = Some(Timestamp::default());
        let good = XdsFacts { version: "7".into(), contact, ..connected.clone() };
        let lost = XdsFacts { fault: Some("gone".into()), is_connected: false, ..good.clone() };
        let none = "no rules are loaded yet: ";
        let text = format!("{none}connecting to the management server at xds:1");
        check(new, false, (Level::Down, &text));
        let text = format!("{none}the management server at xds:1 has sent no rules yet");
        check(connected, false, (Level::Down, &text));
        let text = "from the management server at xds:1, version \"7\"";
        check(good, true, (Level::Up, text));
        let text = "no stream to the management server at xds:1: gone";
        check(lost, true, (Level::Degraded, text));
    }

    #[test]
    fn a_connection_can_be_needed() {
        let needed = |needed, is_connected| StoreFacts {
            needed,
            is_connected,
            has_answered: true,
            ..StoreFacts::default()
        };
        check(|f| f.store = needed(StoreNeeded::Answered, false), Overall::Ready);
        check(|f| f.store = needed(StoreNeeded::Connected, true), Overall::Ready);
        check(|f| f.store = needed(StoreNeeded::Connected, false), Overall::NotReady);
    }

    #[test]
    fn fewer_or_more_rules_can_be_needed() {
        let needed = |needed, loaded_at, domains| RulesFacts {
            needed,
            loaded_at,
            domains,
            ..RulesFacts::default()
        };
        let loaded = Some(Timestamp::default());
        check(|f| f.rules = needed(RulesNeeded::Nothing, None, 0), Overall::Degraded);
        check(|f| f.rules = needed(RulesNeeded::Loaded, loaded, 0), Overall::Ready);
        check(|f| f.rules = needed(RulesNeeded::Domain, loaded, 0), Overall::NotReady);
        check(|f| f.rules = needed(RulesNeeded::Domain, loaded, 1), Overall::Ready);
    }
}
