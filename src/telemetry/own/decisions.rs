//! Families about what was decided, why, and how long it took.

families! {
    "Decisions"

    REQUESTS = Counter "tidegate_requests_total" ["outcome"]
        "Requests, by outcome: ok, over_limit, shadowed (let pass although a limit in shadow mode \
         was exceeded), or why there was no decision: unavailable, broken, timeout, refused, full, \
         no_rules, crowded, panicked, invalid.";
    DECISIONS = Counter "tidegate_decisions_total" ["domain", "rule", "outcome"]
        "Descriptors, by the rule that they met and its outcome: ok, over_limit, shadow (beyond a \
         limit in shadow mode), unlimited (no limit applied), given_back, unknown (the store could \
         not say). Without a rule, domain and rule are empty.";
    DECISION_DURATION = Histogram "tidegate_decision_duration_seconds" []
        "How long requests took in this process, from the first look at the message to the answer.";
    UNDER_WAY = Gauge "tidegate_decisions_under_way" []
        "Requests that are being decided.";
    CROWDED = Counter "tidegate_decisions_refused_total" []
        "Requests that came while TIDEGATE_MAX_DECISIONS were being decided.";
    LATE = Counter "tidegate_decisions_late_total" []
        "Decisions that did not wait any longer for the store.";
    FALLBACK_DECISIONS = Counter "tidegate_fallback_decisions_total" ["policy"]
        "Decisions in which on_store_error took part, by what it says.";
    COUNTS = Counter "tidegate_counts_total" ["source"]
        "Answers for counters, by who gave them: store, refusal_cache, lease, fallback \
         (on_store_error), nobody.";
}
