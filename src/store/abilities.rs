//! What a store can count, and which rules that leaves out.

use crate::rules::{Algorithm, Limit, Rule, Ruleset, Spending};

/// What a store can count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Abilities {
    /// Whatever rules can say.
    #[default]
    Everything,
    /// Fixed windows that count refused hits too, each for itself.
    FixedWindows,
}

impl Abilities {
    /// Why rules cannot be counted, one sentence for each that cannot; none if all can.
    pub fn refused(self, ruleset: &Ruleset) -> Vec<String> {
        match self {
            Self::Everything => Vec::new(),
            Self::FixedWindows => {
                let domains = ruleset.domains().filter_map(|(name, domain)| {
                    let found = "a refused request spends nothing";
                    (domain.spending == Spending::AllOrNothing).then(|| refusal(name, found))
                });
                let rules = ruleset.rules().iter().filter_map(|rule| {
                    beyond_fixed_windows(rule).map(|found| refusal(&rule.path, found))
                });
                domains.chain(rules).collect()
            }
        }
    }
}

/// What of a rule is more than a fixed window that counts every hit.
fn beyond_fixed_windows(rule: &Rule) -> Option<&'static str> {
    let any = |is: fn(&Limit) -> bool| rule.limits.iter().any(|named| is(&named.limit));
    if any(|limit| matches!(limit.algorithm, Algorithm::SlidingWindow)) {
        Some("a sliding window")
    } else if any(|limit| matches!(limit.algorithm, Algorithm::TokenBucket { .. })) {
        Some("a token bucket")
    } else if rule.limits.len() > 1 {
        Some("several limits that hold together")
    } else if any(|limit| !limit.count_refused) {
        Some("refused hits that do not count")
    } else {
        None
    }
}

fn refusal(path: &str, found: &str) -> String {
    format!(
        "{path}: {found}; memcached can only count fixed windows that count refused hits too, \
         each for itself"
    )
}
