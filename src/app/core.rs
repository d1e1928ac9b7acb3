//! Everything between the listeners and the store.

use std::sync::Arc;

use crate::clock::Clock;
use crate::health::{Facts, Health, RulesFacts, StoreFacts};
use crate::limiter::{Keys, Policy};
use crate::rules::Options;
use crate::server::{Activity, Front};
use crate::service::{Rules, Service};
use crate::settings::Settings;
use crate::sources::Reloader;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::wire::{Bounds, Layout};

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
        let rules = Arc::new(Rules::empty());
        let metrics = Arc::new(Metrics::new(settings.bounds.max_metric_paths));
        let health = Arc::new(Health::new(facts(settings, store.name(), &clock)));
        let reloader = Reloader {
            rules: Arc::clone(&rules),
            options: Options { merge_domains: settings.rules.merge_domains },
            metrics: Arc::clone(&metrics),
            health: Arc::clone(&health),
            clock: clock.clone(),
        };
        let service = Service { rules, store, clock, policy: policy(settings), metrics };
        let front = Front {
            service,
            bounds: Bounds {
                descriptors: settings.bounds.max_descriptors,
                entries: settings.bounds.max_entries,
                string_bytes: settings.bounds.max_string_bytes,
            },
            layout: Layout {
                headers: settings.answer.headers.clone(),
                dynamic_metadata: settings.answer.dynamic_metadata,
            },
            activity: Arc::new(Activity::default()),
        };
        Self { front: Arc::new(front), reloader, health }
    }
}

fn facts(settings: &Settings, store: &'static str, clock: &Clock) -> Facts {
    Facts {
        started_at: clock.now(),
        environment: settings.environment.clone(),
        rules: RulesFacts { optional: settings.rules.start_without_rules, ..Default::default() },
        store: StoreFacts { name: store, ..Default::default() },
        ..Facts::default()
    }
}

fn policy(settings: &Settings) -> Policy {
    let limiter = &settings.limiter;
    Policy {
        keys: Keys { prefix: limiter.key_prefix.as_str().into(), format: limiter.key_format },
        near_limit_ratio: limiter.near_limit_ratio,
        shadow_mode: limiter.shadow_mode,
        quota_mode: limiter.quota_mode,
    }
}
