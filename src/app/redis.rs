//! The series about Redis: what is sent to which server, and who is not asked.

use std::collections::BTreeMap;

use super::{Fronts, counters};
use crate::store::redis::{Circuit, Traffic};
use crate::telemetry::{Observed, Page, own};

/// Adds them to `page`, workers taken together.
pub(super) fn collect(fronts: &Fronts, page: &mut Page) {
    let stores = || fronts.iter().map(|front| counters::innermost(&front.service.store));
    let mut circuits: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for Circuit { server, is_open, opened } in stores().flat_map(|store| store.circuits()) {
        let (open, sum) = circuits.entry(server).or_default();
        *open += u64::from(is_open);
        *sum += opened;
    }
    for (server, (open, opened)) in &circuits {
        page.sample(&own::CIRCUITS_OPEN, &[server], *open as f64);
        page.sample(&own::CIRCUITS_OPENED, &[server], *opened as f64);
    }
    let mut servers: BTreeMap<String, Traffic> = BTreeMap::new();
    for traffic in stores().flat_map(|store| store.traffic()) {
        match servers.get_mut(&traffic.server) {
            Some(sum) => add(sum, &traffic),
            None => drop(servers.insert(traffic.server.clone(), traffic)),
        }
    }
    let sizes = servers.values().map(|traffic| traffic.sizes.clone());
    if let Some(total) = Observed::total(sizes) {
        page.histogram(&own::REDIS_GROUP_SIZE, &[], total);
    }
    for (server, traffic) in servers {
        page.histogram(&own::REDIS_CALL_DURATION, &[&server], traffic.durations);
        for (family, value) in [
            (&own::REDIS_COMMANDS, traffic.commands),
            (&own::REDIS_OPERATIONS, traffic.operations),
            (&own::REDIS_WAITING, traffic.waiting),
        ] {
            page.sample(family, &[&server], value as f64);
        }
    }
}

fn add(sum: &mut Traffic, more: &Traffic) {
    sum.durations.add(&more.durations);
    sum.sizes.add(&more.sizes);
    sum.commands += more.commands;
    sum.operations += more.operations;
    sum.waiting += more.waiting;
}
