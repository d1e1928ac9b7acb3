//! What an editor tells of each key of a rule file, in a sentence or two. `docs/rules.md` has
//! the rest; that every key is told of, the tests of `schema` hold.

/// What an editor tells of a key.
pub(super) fn description(key: &str) -> Option<&'static str> {
    Some(match key {
        "domain" => "Requests name the domain whose rules they meet.",
        "descriptors" => "The next level: what a request's next entry may be.",
        "all_or_nothing" => "A refused request spends from none of its limits.",
        "defaults" => "Holds for every limit of this file that does not say otherwise.",
        "key" => "The key of the entry. A `*` stands for any run of bytes.",
        "value" => {
            "The value of the entry; any value without it. A `*` stands for any run of bytes."
        }
        "match" => "Which values this is for, instead of `value`: one of any_of, cidr and regex.",
        "any_of" => "The value is one of these texts.",
        "cidr" => "The value is an address or a network that lies in one of these networks.",
        "regex" => {
            "The expression occurs in the value. No look-around, no back-references; `^` and `$` \
             bind it to the ends."
        }
        "rate_limit" => "The limit of requests that end here.",
        "rate_limits" => "Several limits instead of rate_limit: all of them must hold.",
        "shadow_mode" => "Over limit is counted, and answered with OK.",
        "quota_mode" => "The request is refused only when all its quota rules are over limit.",
        "share_threshold" => "All values that the wildcard or match matches share one counter.",
        "value_to_metric" => "The value of the request becomes part of the metric path.",
        "detailed_metric" => "All keys and values of the request make the metric path.",
        "metadata" => "Any map; sent back as dynamic metadata when the descriptor passes.",
        "unit" => {
            "The length of the window: second, minute, hour, day, week, month (30 days) or year (365)."
        }
        "unit_multiplier" => "The window is so many units long, at most five years.",
        "requests_per_unit" => {
            "What a window admits, or what a bucket gains in it; 0 refuses everything."
        }
        "unlimited" => "Passes and is not counted; instead of a unit.",
        "name" => "The name of a limit: it is told in answers, and `replaces` refers to it.",
        "replaces" => "The limits of these names, met by the same request, do not count.",
        "algorithm" => "How hits are counted; fixed_window unless it says otherwise.",
        "burst" => "What a full token_bucket holds; requests_per_unit unless it says otherwise.",
        "count_refused" => {
            "Whether refused hits are spent. By default only fixed_window does that."
        }
        "accuracy" => {
            "exact, or leased: blocks of hits are taken from Redis and spent locally; it never \
             admits more, and may refuse a little too early."
        }
        "on_store_error" => {
            "What is answered while the store cannot say: error, allow, deny, or local (count here, \
             with a share of the limit)."
        }
        _ => return None,
    })
}
