//! Everything between the listeners and the store.

use std::sync::Arc;

use super::stats;
use crate::clock::Clock;
use crate::health::{Facts, Health, RulesFacts, StoreFacts};
use crate::rules::Options;
use crate::server::{Activity, Front};
use crate::service::{Rules, Service};
use crate::settings::{self, Settings};
use crate::sources::{Leasing, Reloader, Replaced};
use crate::store::Store;
use crate::telemetry::{Metrics, Observer, Tracer};

/// The parts of a service that need no socket.
#[derive(Debug)]
pub struct Core<S> {
    /// Answers requests.
    pub front: Arc<Front<S>>,
    /// Takes rules.
    pub reloader: Reloader,
    /// Knows how it is.
    pub health: Arc<Health>,
}

impl<S: Store> Core<S> {
    /// Assembles the parts; no rules are loaded yet.
    pub fn new(settings: &Settings, store: S, clock: Clock) -> Self {
        Self::traced(settings, store, clock, Arc::default())
    }

    /// The same, and `tracer` decides which calls are traced.
    pub fn traced(settings: &Settings, store: S, clock: Clock, tracer: Arc<Tracer>) -> Self {
        let rules = Arc::new(Rules::empty());
        let metrics =
            Metrics::new(settings.bounds.max_metric_paths, stats::naming(&settings.metrics));
        let metrics = Arc::new(metrics);
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
        let observer = Arc::new(Observer { tracer, ..Observer::default() });
        let service = Service { rules, store, clock, policy, metrics, observer };
        let front = Front {
            service,
            bounds: settings.bounds.request,
            layout: settings.answer.clone(),
            activity: Arc::new(Activity::new(settings.bounds.max_decisions)),
        };
        Self { front: Arc::new(front), reloader, health }
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
