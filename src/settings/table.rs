//! The table of variables: name, default, what it does.

use std::time::Duration;

use super::reader::Reader;
use super::value::{Header, Ratio};
use super::{
    Bounds, Rules, Settings, Shutdown, faults, leases, listeners, logs, metrics, otel, sentry,
    store, transport, xds,
};
use crate::health::RulesNeeded;
use crate::limiter::{KeyFormat, Keys, Policy};
use crate::rules::OnStoreError;
use crate::sources::files;
use crate::wire::{self, HeaderNames, Layout};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

const MIB: usize = 1024 * 1024;
const MILLION: usize = 1_000_000;

/// Reads every variable that is honoured; wrong ones leave their default.
pub(super) fn read(r: &mut Reader<'_>) -> Settings {
    let listeners = listeners::read(r);
    let (metrics, prometheus) = metrics::read(r, listeners.prometheus);
    let mut settings = Settings {
        http: listeners.http,
        debug: listeners.debug,
        admin_token: listeners.admin_token,
        grpc: listeners.grpc,
        prometheus,
        metrics,
        log: logs::read(r),
        otel: otel::read(r),
        environment: r.read(
            "TIDEGATE_ENVIRONMENT",
            String::new(),
            "What this deployment calls itself in telemetry, such as `production`.",
        ),
        errors: None,
        rules: rules(r),
        store: store::read(r),
        refusal_cache_bytes: refusal_cache(r),
        replicas: faults::replicas(r),
        faults: faults::read(r),
        leases: leases::read(r),
        limiter: limiter(r),
        answer: answer(r),
        bounds: bounds(r),
        workers: workers(r),
        shutdown: shutdown(r),
        warnings: Vec::new(),
    };
    settings.errors = sentry::read(r, &settings.environment);
    settings.limiter.on_store_error = settings.faults.on_store_error;
    settings
}

fn rules(r: &mut Reader<'_>) -> Rules {
    r.group("Rules");
    Rules {
        files: rule_files(r),
        is_default: !r.is_any_set(&[
            "RUNTIME_ROOT",
            "RUNTIME_SUBDIRECTORY",
            "RUNTIME_APPDIRECTORY",
        ]),
        merge_domains: r.read(
            "MERGE_DOMAIN_CONFIG",
            false,
            "Files, or resources, of one domain add up instead of excluding each other.",
        ),
        needed: rules_needed(r),
        xds: xds::read(r),
    }
}

fn rules_needed(r: &mut Reader<'_>) -> RulesNeeded {
    let none = r.read(
        "FORCE_START_WITHOUT_INITIAL_CONFIG",
        false,
        "Be ready before the first rules are loaded; requests until then are errors.",
    );
    let domain = r.read(
        "HEALTHY_WITH_AT_LEAST_ONE_CONFIG_LOADED",
        false,
        "Be ready only while the rules have at least one domain; goes before the former.",
    );
    match (domain, none) {
        (true, _) => RulesNeeded::Domain,
        (false, true) => RulesNeeded::Nothing,
        (false, false) => RulesNeeded::Loaded,
    }
}

fn rule_files(r: &mut Reader<'_>) -> files::Options {
    let text = |text: &str| text.to_owned();
    files::Options {
        root: r
            .read(
                "RUNTIME_ROOT",
                text("/srv/runtime_data/current"),
                "The directory that holds the rules; may be a link that is flipped.",
            )
            .into(),
        subdirectory: r.read("RUNTIME_SUBDIRECTORY", text(""), "A directory below it."),
        app_directory: r.read(
            "RUNTIME_APPDIRECTORY",
            text("config"),
            "A directory below that; or, with `RUNTIME_WATCH_ROOT`, what the paths of rule files \
             begin with, up to a dot or a slash.",
        ),
        ignore_dot_files: r.read(
            "RUNTIME_IGNOREDOTFILES",
            false,
            "Skip files and directories that begin with a dot. Those that begin with two are \
             always skipped.",
        ),
        watch_root: r.read(
            "RUNTIME_WATCH_ROOT",
            true,
            "Walk root and subdirectory for files that begin with the app directory, instead of \
             walking the app directory.",
        ),
        max_file_bytes: r.within(
            "TIDEGATE_RULES_MAX_FILE_BYTES",
            8 * MIB as u64,
            1..=1024 * MIB as u64,
            "The largest rule file that is read.",
        ),
        max_files: r.within(
            "TIDEGATE_RULES_MAX_FILES",
            1000,
            1..=100_000,
            "How many rule files are read.",
        ),
        poll_interval: r.within(
            "TIDEGATE_RULES_POLL_INTERVAL",
            250 * MS,
            10 * MS..=10 * SECOND,
            "How often the rule files are looked at for changes.",
        ),
    }
}

fn refusal_cache(r: &mut Reader<'_>) -> Option<usize> {
    r.group("Before the store");
    let bytes: i64 = r.within(
        "LOCAL_CACHE_SIZE_IN_BYTES",
        0,
        i64::MIN..=1 << 40,
        "Memory for counters that are known to be exhausted, whose requests are refused without \
         asking the store; 0: none, else at least 512 KiB.",
    );
    (bytes != 0).then(|| usize::try_from(bytes).unwrap_or(0))
}

fn limiter(r: &mut Reader<'_>) -> Policy {
    r.group("Decisions");
    Policy {
        on_store_error: OnStoreError::default(),
        patience: None,
        near_limit_ratio: r
            .read("NEAR_LIMIT_RATIO", Ratio(0.8), "A count above this part of a limit is near it.")
            .0,
        shadow_mode: r.read("SHADOW_MODE", false, "Let every request pass that is over limit."),
        quota_mode: r.read(
            "QUOTA_MODE",
            false,
            "Every descriptor is in quota mode: a request is refused only when all are over limit.",
        ),
        stop_when_over: r.read(
            "STOP_CACHE_KEY_INCREMENT_WHEN_OVERLIMIT",
            false,
            "A request that exceeds one of its limits counts against no other.",
        ),
        keys: Keys {
            format: r.read(
                "TIDEGATE_KEY_FORMAT",
                KeyFormat::Tidegate,
                "How counters are named; `envoyproxy` to share one Redis with envoyproxy/ratelimit.",
            ),
            prefix: r
                .read("CACHE_KEY_PREFIX", String::new(), "What every counter key begins with.")
                .into(),
        },
    }
}

fn answer(r: &mut Reader<'_>) -> Layout {
    let header = |name: &str| Header(name.to_owned());
    r.group("Answers");
    let enabled = r.read("LIMIT_RESPONSE_HEADERS_ENABLED", false, "Send the three headers below.");
    let headers = HeaderNames {
        limit: r.read("LIMIT_LIMIT_HEADER", header("RateLimit-Limit"), "Tells the limit.").0,
        remaining: r
            .read(
                "LIMIT_REMAINING_HEADER",
                header("RateLimit-Remaining"),
                "Tells what is left of it.",
            )
            .0,
        reset: r
            .read(
                "LIMIT_RESET_HEADER",
                header("RateLimit-Reset"),
                "Tells the seconds until its window ends.",
            )
            .0,
    };
    Layout {
        headers: enabled.then_some(headers),
        dynamic_metadata: r.read(
            "RESPONSE_DYNAMIC_METADATA",
            false,
            "Send the request's descriptors back as dynamic metadata.",
        ),
    }
}

fn bounds(r: &mut Reader<'_>) -> Bounds {
    r.group("Bounds");
    Bounds {
        max_message_bytes: r.within(
            "TIDEGATE_MAX_MESSAGE_BYTES",
            4 * MIB,
            1024..=256 * MIB,
            "Bytes of a request message.",
        ),
        request: wire::Bounds {
            descriptors: r.within(
                "TIDEGATE_MAX_DESCRIPTORS",
                1000,
                1..=50_000,
                "Descriptors of a request.",
            ),
            entries: r.within("TIDEGATE_MAX_ENTRIES", 100, 1..=MILLION, "Entries of a descriptor."),
            string_bytes: r.within(
                "TIDEGATE_MAX_STRING_BYTES",
                16 * 1024,
                1..=256 * MIB,
                "Bytes of a domain, a key or a value.",
            ),
        },
        max_connections: r.within(
            "TIDEGATE_MAX_CONNECTIONS",
            10_000,
            1..=MILLION,
            "Connections of a listener at a time; beyond it new ones are closed.",
        ),
        max_decisions: transport::max_decisions(r),
        transport: transport::read(r),
        max_metric_paths: r.within(
            "TIDEGATE_MAX_METRIC_PATHS",
            1000,
            0..=MILLION,
            "Different metric paths that values of requests can make; each costs one for every 64 \
             bytes begun. More share the series `tidegate_overflow`.",
        ),
        max_metric_rules: r.within(
            "TIDEGATE_MAX_METRIC_RULES",
            10_000,
            0..=MILLION,
            "Rules that have series of their own in `tidegate_decisions_total`, the first of the \
             rules in force. Those of all others share the rule `tidegate_overflow`.",
        ),
    }
}

fn workers(r: &mut Reader<'_>) -> usize {
    r.within(
        "TIDEGATE_WORKERS",
        0,
        0..=1024,
        "How many threads serve gRPC, each with connections to the store of its own; 0: one for \
         each core that the process may use.",
    )
}

fn shutdown(r: &mut Reader<'_>) -> Shutdown {
    r.group("Shutdown");
    Shutdown {
        drain_delay: r.within(
            "TIDEGATE_DRAIN_DELAY",
            3 * SECOND,
            Duration::ZERO..=HOUR,
            "How long requests are still accepted once readiness is withdrawn.",
        ),
        grace: r.within(
            "TIDEGATE_SHUTDOWN_GRACE",
            30 * SECOND,
            Duration::ZERO..=HOUR,
            "How long running requests get after that.",
        ),
    }
}
