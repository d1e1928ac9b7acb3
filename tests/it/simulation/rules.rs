//! Rule files by chance: every algorithm, exact and leased, every `on_store_error`, several
//! limits on one node, shadow mode, quotas, and a domain of all or nothing.
//!
//! Between reloads only rates change: another window or algorithm is another counter, and a
//! smaller burst would forgive a bucket its debts.

use std::fmt::Write as _;

use fastrand::Rng;
use tidegate::rules::SourceFile;
use tidegate::sources::files::FileSet;

/// What all versions of the rules have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common {
    window: u64,
    small_burst: u32,
    large_burst: u32,
    /// Where to begin in the list of policies.
    policies: usize,
    /// Whether a fixed window counts what it refuses.
    count_refused: bool,
}

/// A descriptor, and whether callers give back to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) key: &'static str,
    pub(super) domain: &'static str,
    pub(super) gives_back: bool,
    /// Of one limit that always counts alone.
    pub(super) is_simple: bool,
}

const fn each(key: &'static str) -> Kind {
    Kind { key, domain: "each", gives_back: false, is_simple: true }
}

const fn all(key: &'static str) -> Kind {
    Kind { key, domain: "all", gives_back: false, is_simple: false }
}

/// The descriptors of the domain in which each limit stands for itself.
pub(super) const EACH: [Kind; 14] = [
    each("fixed"),
    each("sliding"),
    each("bucket"),
    each("leased_fixed"),
    each("leased_sliding"),
    each("leased_bucket"),
    each("local_fixed"),
    each("local_sliding"),
    each("local_bucket"),
    Kind { gives_back: true, ..each("returned") },
    Kind { gives_back: true, ..each("leased_returned") },
    Kind { is_simple: false, ..each("list") },
    each("shadow"),
    each("quota"),
];

/// Those of the domain in which a request spends all or nothing.
pub(super) const ALL: [Kind; 5] =
    [all("fixed"), all("leased_sliding"), all("local_bucket"), all("list"), all("quota")];

impl Common {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            window: rng.u64(2..=3),
            small_burst: rng.u32(4..20),
            large_burst: rng.u32(40..160),
            policies: rng.usize(..4),
            count_refused: rng.bool(),
        }
    }

    /// A version of the rules for these descriptors, which are of one domain.
    pub(super) fn files(&self, kinds: &[Kind], rng: &mut Rng) -> FileSet {
        let domain = kinds[0].domain;
        let mut text = format!("domain: {domain}\n");
        if domain == "all" {
            text += "all_or_nothing: true\n";
        }
        text += "descriptors:\n";
        for (at, kind) in kinds.iter().enumerate() {
            if kind.key == "list" {
                text += &self.list(rng);
                continue;
            }
            let limit = self.limit(kind.key, at, rng);
            let _ = writeln!(text, "- key: {}\n  rate_limit: {limit}", kind.key);
            if matches!(kind.key, "shadow" | "quota") {
                let _ = writeln!(text, "  {}_mode: true", kind.key);
            }
        }
        let file = SourceFile { name: "rules.yaml".to_owned(), bytes: text.into_bytes() };
        FileSet { files: vec![file], warnings: Vec::new() }
    }

    fn list(&self, rng: &mut Rng) -> String {
        let (one, two) = (self.limit("bucket", 1, rng), self.limit("leased_fixed", 2, rng));
        format!("- key: list\n  rate_limits:\n  - {one}\n  - {two}\n")
    }

    /// The limit of a descriptor, as its name says.
    fn limit(&self, key: &str, at: usize, rng: &mut Rng) -> String {
        let is_leased = key.starts_with("leased");
        let rate = if is_leased { rng.u32(40..160) } else { rng.u32(3..30) };
        let policy = match key.starts_with("local") {
            true => "local",
            false => ["error", "allow", "deny", "local"][(at + self.policies) % 4],
        };
        let accuracy = if is_leased { "leased" } else { "exact" };
        let window = self.window;
        let algorithm = match key.rsplit('_').next() {
            Some("sliding") => "sliding_window".to_owned(),
            Some("bucket") => {
                let burst = if is_leased { self.large_burst } else { self.small_burst };
                format!("token_bucket, burst: {burst}")
            }
            _ => format!("fixed_window, count_refused: {}", self.count_refused),
        };
        format!(
            "{{unit: second, unit_multiplier: {window}, requests_per_unit: {rate}, \
             accuracy: {accuracy}, on_store_error: {policy}, algorithm: {algorithm}}}"
        )
    }
}
