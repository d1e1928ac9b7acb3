//! Everything between the listeners and the store.

use std::sync::Arc;

use super::stats;
use crate::clock::Clock;
use crate::health::{Facts, Health, RulesFacts, StoreFacts};
use crate::rules::Options;
use crate::server::status::Pulse;
use crate::server::{Activity, Front};
use crate::service::{Rules, Service};
use crate::settings::{self, Settings};
use crate::sources::{Leasing, Reloader, Replaced};
use crate::store::Store;
use crate::store::secret::Secret;
use crate::telemetry::{Caps, DecisionLog, Metrics, Observer, TopRefused, Tracer, Values};

/// The parts of a service that need no socket.
#[derive(Debug)]
pub struct Core<S> {
    /// Answers requests.
    pub front: Arc<Front<S>>,
    /// Takes rules.
    pub reloader: Reloader,
    /// Knows how it is.
    pub health: Arc<Health>,
    /// Knows how much passes now.
    pub pulse: Arc<Pulse>,
}

impl<S: Store> Core<S> {
    /// Assembles the parts; no rules are loaded yet.
    pub fn new(settings: &Settings, store: S, clock: Clock) -> Self {
        Self::traced(settings, store, clock, Arc::default())
    }

    /// The same, and `tracer` decides which calls are traced.
    pub fn traced(settings: &Settings, store: S, clock: Clock, tracer: Arc<Tracer>) -> Self {
        let rules = Arc::new(Rules::empty());
        let caps = Caps {
            value_paths: settings.bounds.max_metric_paths,
            rules: settings.bounds.max_metric_rules,
        };
        let metrics = Arc::new(Metrics::new(caps, stats::naming(&settings.metrics)));
        let health = Arc::new(Health::new(facts(settings, store.name(), &clock)));
        let reloader = Reloader {
            rules: Arc::clone(&rules),
            replaced: Replaced::default(),
            options: Options {
                merge_domains: settings.rules.merge_domains,
                on_store_error: settings.faults.on_store_error,
            },
            abilities: store.abilities(),
            leasing: match settings.store {
                settings::Store::Redis { .. } => Leasing::Blocks,
                _ => Leasing::Exact,
            },
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
            clock: clock.clone(),
        };
        let policy = settings.limiter.clone();
        let observer = Arc::new(Observer { tracer, ..observer(&settings.log) });
        let meters = metrics.meters();
        let service = Service { rules, store, clock, policy, metrics, meters, observer };
        let front = Front {
            service,
            bounds: settings.bounds.request,
            layout: settings.answer.clone(),
            activity: Arc::new(Activity::new(settings.bounds.max_decisions)),
        };
        Self { front: Arc::new(front), reloader, health, pulse: Arc::default() }
    }
}

fn observer(log: &settings::Log) -> Observer {
    let values = Values::new(log.values, log.hash_key.as_ref().map(Secret::expose));
    let values = Arc::new(values);
    Observer {
        decisions: DecisionLog::new(&log.decisions, Arc::clone(&values)),
        refused: TopRefused::new(log.top_refused, values),
        ..Observer::default()
    }
}

fn facts(settings: &Settings, store: &'static str, clock: &Clock) -> Facts {
    Facts {
        started_at: clock.now(),
        environment: settings.environment.clone(),
        rules: RulesFacts { needed: settings.rules.needed, ..Default::default() },
        store: StoreFacts { name: store, needed: settings.store.needed(), ..Default::default() },
        ..Facts::default()
    }
}
