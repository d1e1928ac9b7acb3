//! The markup of the status page: a function of what it shows.

use std::time::Duration;

use humantime::{format_duration, format_rfc3339_seconds};
use maud::{DOCTYPE, Markup, html};

use super::pulse::{BEAT, Rate};
use super::{DomainView, RulesView, View};
use crate::health::{Component, Level, Overall};
use crate::telemetry::Refused;

/// How many domains show their rules at first.
const OPEN_DOMAINS: usize = 3;

/// The size of the picture of rates, in its own units.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 100.0;

/// The page.
pub(super) fn render(view: &View) -> String {
    let name = match view.environment.as_str() {
        "" => "Tidegate".to_owned(),
        environment => format!("Tidegate, {environment}"),
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="refresh" content=(BEAT.as_secs());
                title { (state(view.overall).0) " - " (name) }
                link rel="stylesheet" href="/status.css";
            }
            body {
                (header(view, &name))
                main {
                    (components(&view.components))
                    (rules(&view.rules))
                    (traffic(&view.history))
                    (domains(view))
                    (refused(&view.refused))
                }
                (footer())
            }
        }
    };
    page.into_string()
}

fn header(view: &View, name: &str) -> Markup {
    let (word, class) = state(view.overall);
    html! {
        header {
            h1 { (name) }
            span.state.(class) { (word) }
            span.soft {
                "version " (view.version) ", up " (rough(view.uptime)) ", "
                time { (format_rfc3339_seconds(view.now.to_system())) }
            }
        }
    }
}

fn state(overall: Overall) -> (&'static str, &'static str) {
    match overall {
        Overall::Ready => ("ready", "good"),
        Overall::Degraded => ("degraded", "warn"),
        Overall::NotReady => ("not ready", "bad"),
        Overall::Draining => ("draining", "warn"),
    }
}

fn components(components: &[Component]) -> Markup {
    let level = |level| match level {
        Level::Up => ("up", "good"),
        Level::Degraded => ("degraded", "warn"),
        Level::Down => ("down", "bad"),
    };
    html! {
        h2 { "Health" }
        div.cards {
            @for component in components {
                @let (word, class) = level(component.level);
                div.card {
                    h3 { (component.name) span.state.(class) { (word) } }
                    @if let Some(latency) = component.latency {
                        p.soft { "last probe took " (fine(latency)) }
                    }
                    @if !component.reason.is_empty() { p { (component.reason) } }
                }
            }
        }
    }
}

fn rules(rules: &RulesView) -> Markup {
    html! {
        h2 { "Rules" }
        @match rules.age {
            Some(age) => p {
                (rules.limits) " limits in " (rules.domains) " domains, version "
                code { (rules.version) } ", loaded " (rough(age)) " ago"
            },
            None => p { "None are loaded yet." },
        }
        @if let Some((error, age)) = &rules.error {
            p.bad { "The last load was refused, " (rough(*age)) " ago:" }
            div.problem { (error) }
        }
    }
}

fn traffic(history: &[Rate]) -> Markup {
    let now = history.last().copied().unwrap_or_default();
    let highest = history.iter().map(|rate| rate.allowed.max(rate.refused)).fold(1.0, f64::max);
    let line = |part: fn(&Rate) -> f64| {
        let step = WIDTH / (history.len().max(2) - 1) as f64;
        let height = |rate: &Rate| HEIGHT - part(rate) / highest * (HEIGHT - 4.0) - 2.0;
        let points = history.iter().enumerate();
        let points: Vec<String> =
            points.map(|(i, rate)| format!("{:.1},{:.1}", i as f64 * step, height(rate))).collect();
        points.join(" ")
    };
    html! {
        h2 { "Traffic" }
        p {
            span.allowed { (per_second(now.allowed)) " hits/s allowed" } ", "
            span.refused { (per_second(now.refused)) " hits/s over limit" }
            span.soft { "; the last " (rough(BEAT * history.len() as u32)) ", up to " (per_second(highest)) "/s" }
        }
        svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img"
            aria-label="Hits a second, allowed and over limit" {
            polyline.allowed points=(line(|rate| rate.allowed)) {}
            polyline.refused points=(line(|rate| rate.refused)) {}
        }
    }
}

fn domains(view: &View) -> Markup {
    html! {
        h2 { "Domains" }
        @if view.domains.is_empty() { p.soft { "There are none." } }
        @for (index, domain) in view.domains.iter().enumerate() {
            (domain_of(domain, index < OPEN_DOMAINS))
        }
        @if view.hidden_domains > 0 {
            p.soft { "and " (view.hidden_domains) " that are less busy" }
        }
    }
}

fn domain_of(domain: &DomainView, is_open: bool) -> Markup {
    html! {
        details open[is_open] {
            summary {
                span.name { (domain.name) }
                span.allowed { (per_second(domain.rate.allowed)) "/s allowed" }
                span.refused { (per_second(domain.rate.refused)) "/s over limit" }
            }
            div.table {
                table {
                    thead {
                        tr {
                            th { "rule" } th { "limit" }
                            th.number { "allowed/s" } th.number { "over limit/s" }
                        }
                    }
                    tbody {
                        @for rule in &domain.rules {
                            tr {
                                td { code { (rule.path) } }
                                td { (rule.limits) }
                                td.number.allowed { (per_second(rule.rate.allowed)) }
                                td.number.refused { (per_second(rule.rate.refused)) }
                            }
                        }
                    }
                }
            }
            @if domain.hidden_rules > 0 {
                p.soft { "and " (domain.hidden_rules) " that are less busy; all are at " a href="/rlconfig" { "/rlconfig" } }
            }
        }
    }
}

fn refused(refused: &[Refused]) -> Markup {
    html! {
        h2 { "Refused most" }
        @if refused.is_empty() { p.soft { "Nothing lately." } }
        @else {
            div.table {
                table {
                    thead { tr { th { "rule" } th { "for" } th.number { "refused" } } }
                    tbody {
                        @for one in refused {
                            tr {
                                td { code { (one.rule) } }
                                td { code { (one.values) } }
                                td.number {
                                    (one.count)
                                    @if one.error > 0 { span.soft { " (at most " (one.error) " too many)" } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn footer() -> Markup {
    let links = [
        ("/rlconfig", "all limits"),
        ("/stats", "process and counters"),
        ("/top", "refused most"),
        ("/log", "log level"),
    ];
    html! {
        footer.soft {
            "More: "
            @for (index, (path, what)) in links.iter().enumerate() {
                @if index > 0 { ", " }
                a href=(path) { (what) }
            }
            ". This page looks again by itself."
        }
    }
}

/// A rate as people read it.
fn per_second(rate: f64) -> String {
    match rate {
        0.0 => "0".to_owned(),
        few if few < 10.0 => format!("{few:.1}"),
        many if many < 10_000.0 => format!("{many:.0}"),
        thousands => format!("{:.0}k", thousands / 1000.0),
    }
}

/// A long time, to its two largest parts.
fn rough(time: Duration) -> String {
    let text = format_duration(Duration::from_secs(time.as_secs())).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// A short time.
fn fine(time: Duration) -> String {
    match time.as_secs_f64() * 1000.0 {
        short if short < 10.0 => format!("{short:.2} ms"),
        long => format!("{long:.0} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let check = |rate, expected| assert_eq!(per_second(rate), expected);
        check(0.0, "0");
        check(0.04, "0.0");
        check(3.15, "3.1");
        check(120.4, "120");
        check(54_321.0, "54k");
        assert_eq!(rough(Duration::from_secs(0)), "0s");
        assert_eq!(rough(Duration::from_secs(90_061)), "1day 1h");
        assert_eq!(fine(Duration::from_micros(1234)), "1.23 ms");
        assert_eq!(fine(Duration::from_millis(250)), "250 ms");
    }
}
