//! What sets of resources mean: the rules that come of them, and those that do not.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use tidegate::rules::{self, Options, Problem};
use tidegate::sources::RuleSet as _;
use tidegate::sources::xds::ResourceSet;
use tidegate::wire::discovery::{TYPE_URL, resources};
use tidegate::wire::pb::envoy::service::discovery::v3::DiscoveryResponse;
use tidegate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::wire::pb::ratelimit::config::ratelimit::v3::{
    RateLimitConfig, RateLimitDescriptor, RateLimitPolicy, RateLimitReplace, RateLimitUnit,
};

use super::{both, config, leaf, node, shop};

/// The set that these resources decode to.
fn set(configs: &[RateLimitConfig]) -> ResourceSet {
    use prost::Message as _;
    let any = |config: &RateLimitConfig| prost_types::Any {
        type_url: TYPE_URL.to_owned(),
        value: config.encode_to_vec(),
    };
    let response = DiscoveryResponse {
        type_url: TYPE_URL.to_owned(),
        resources: configs.iter().map(any).collect(),
        ..DiscoveryResponse::default()
    };
    ResourceSet::new(resources(&response).unwrap())
}

/// Everything that is wrong with them.
fn errors(configs: &[RateLimitConfig], merge_domains: bool) -> Vec<String> {
    let rejected = set(configs).load(Options { merge_domains, ..Options::default() }).unwrap_err();
    assert!(rejected.errors.iter().all(|error| error.line == 0 && error.column == 0));
    rejected.errors.iter().map(Problem::to_string).collect()
}

/// Holds that one descriptor in the domain `shop` is refused for this.
fn check(descriptor: RateLimitDescriptor, expected: &str) {
    let found = errors(&[config("shop", vec![descriptor])], false);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("shop: ") && found[0].contains(expected), "{found:?}");
}

fn limited(policy: RateLimitPolicy) -> RateLimitDescriptor {
    RateLimitDescriptor { rate_limit: Some(policy), ..node("user", "", vec![]) }
}

fn replacing(name: &str, replaced: &str) -> RateLimitPolicy {
    RateLimitPolicy {
        unit: RateLimitUnit::Hour.into(),
        name: name.to_owned(),
        replaces: vec![RateLimitReplace { name: replaced.to_owned() }],
        ..RateLimitPolicy::default()
    }
}

#[test]
fn what_a_file_may_not_say_a_resource_may_not_say_either() {
    let of_unit = |unit: i32| limited(RateLimitPolicy { unit, ..Default::default() });
    check(node("", "x", vec![]), "key is empty");
    check(node("a", "", vec![node("", "", vec![])]), "shop.a: key is empty");
    check(of_unit(8), "shop.user: unit is \"8\"");
    check(of_unit(-3), "shop.user: unit is \"-3\"");
    check(of_unit(0), "shop.user: unit is \"UNKNOWN\"");
    let unlimited = RateLimitPolicy { unlimited: true, unit: 3, ..Default::default() };
    check(limited(unlimited), "unlimited stands beside unit \"HOUR\"");
    check(limited(replacing("", "")), "a replaces element names no limit");
    check(limited(replacing("own", "own")), "the limit \"own\" replaces itself");
}

#[test]
fn every_error_of_every_resource_comes_at_once() {
    let twice = vec![node("a", "b", vec![]), node("a_b", "", vec![]), node("", "", vec![])];
    let found = errors(
        &[config("z", vec![node("", "", vec![]), node("", "", vec![])]), config("a", twice)],
        false,
    );
    assert_eq!(
        found,
        [
            "a: a.a_b: a second descriptor of this path, after a; \
             key and value joined by `_` must differ from their siblings",
            "a: a: key is empty; a descriptor needs a non-empty key",
            "z: z: key is empty; a descriptor needs a non-empty key",
            "z: z: key is empty; a descriptor needs a non-empty key",
        ]
    );
    let named = |name: &str, domain: &str| RateLimitConfig {
        name: name.to_owned(),
        domain: domain.to_owned(),
        descriptors: vec![],
    };
    assert_eq!(
        errors(&[named("one", "d"), named("two", "d"), named("three", "")], false),
        [
            "three: domain is missing or empty; a non-empty domain is required",
            "two: domain \"d\" is taken by one; \
             one resource for each domain is allowed, unless domains are merged",
        ]
    );
    assert!(errors(&[named("", "")], false)[0].starts_with("a resource: domain is missing"));
}

#[test]
fn domains_add_up_where_they_are_merged() {
    let part = |name: &str, key: &str| RateLimitConfig {
        name: name.to_owned(),
        ..config("shop", vec![leaf(key, "", 1)])
    };
    let merged = set(&[part("b", "two"), part("a", "one"), part("a", "three")]);
    let loaded = merged.load(Options { merge_domains: true, ..Options::default() }).unwrap();
    let paths: Vec<&str> = loaded.ruleset.rules().iter().map(|rule| &*rule.path).collect();
    assert_eq!((loaded.ruleset.domain_count(), paths.len(), paths[2]), (1, 3, "shop.two"));
    let found = errors(&[part("a", "one"), part("b", "one")], true);
    assert!(found.len() == 1 && found[0].starts_with("b: shop.one: a second"), "{found:?}");
    assert!(merged.load(Options { merge_domains: false, ..Options::default() }).is_err());
}

#[test]
fn the_order_of_resources_means_nothing() {
    let (a, b, c) = (shop(1), config("b", vec![leaf("k", "v", 2)]), config("c", vec![]));
    let sets = [
        set(&[a.clone(), b.clone(), c.clone()]),
        set(&[c.clone(), a.clone(), b.clone()]),
        set(&[b.clone(), c.clone(), a.clone()]),
    ];
    assert!(sets.iter().all(|other| *other == sets[0] && other.digest() == sets[0].digest()));
    let others = [set(&[a.clone(), b.clone()]), set(&[shop(2), b, c]), set(&[a]), set(&[])];
    for other in &others {
        assert_ne!(other.digest(), sets[0].digest());
    }
    // Inside a resource it does: the first wildcard wins.
    let wild = |values: [&str; 2]| config("w", values.map(|value| leaf("k", value, 1)).into());
    assert_ne!(set(&[wild(["a*", "*b"])]).digest(), set(&[wild(["*b", "a*"])]).digest());
}

#[test]
fn a_resource_means_what_the_file_of_its_content_means() {
    let value = |kind| Value { kind: Some(kind) };
    let list = vec![value(Kind::NumberValue(1.5)), value(Kind::NullValue(0))];
    let fields = [
        ("on", value(Kind::BoolValue(true))),
        ("<<", value(Kind::StringValue("yes".to_owned()))),
        ("list", value(Kind::ListValue(ListValue { values: list }))),
        ("none", Value { kind: None }),
        ("large", value(Kind::NumberValue(f64::INFINITY))),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value)).into();
    let descriptor = RateLimitDescriptor {
        shadow_mode: true,
        quota_mode: true,
        detailed_metric: true,
        metadata: Some(Struct { fields }),
        descriptors: vec![node("008", "null", vec![leaf("~", "0x10", u32::MAX)])],
        ..limited(RateLimitPolicy {
            requests_per_unit: 0,
            unit: RateLimitUnit::Week.into(),
            ..replacing("mine", "other")
        })
    };
    let unlimited = RateLimitPolicy { unlimited: true, unit: 99, ..RateLimitPolicy::default() };
    let unlimited = RateLimitDescriptor { key: "free".to_owned(), ..limited(unlimited) };
    let loaded = set(&[config("true", vec![descriptor, unlimited])]).load(Options::default());
    let text = r#"
domain: "true"
descriptors:
- key: user
  shadow_mode: true
  quota_mode: true
  detailed_metric: true
  metadata: {"on": true, "<<": "yes", "list": [1.5, null], "none": null, "large": "Infinity"}
  rate_limit: {unit: week, requests_per_unit: 0, name: mine, replaces: [{name: other}]}
  descriptors:
  - key: "008"
    value: "null"
    descriptors:
    - {key: "~", value: "0x10", rate_limit: {unit: year, requests_per_unit: 4294967295}}
- {key: free, rate_limit: {unlimited: true}}
"#;
    let file = rules::SourceFile { name: "f.yaml".to_owned(), bytes: text.into() };
    let expected = rules::load(&[file], Options::default()).unwrap();
    let loaded = loaded.unwrap();
    assert_eq!(format!("{:?}", loaded.ruleset.rules()), format!("{:?}", expected.ruleset.rules()));
    assert_eq!((loaded.warnings.len(), expected.warnings.len()), (1, 1));
}

#[test]
fn deep_trees_compile_and_deeper_ones_are_no_messages() {
    use prost::Message as _;
    let nested = |depth: usize| {
        let mut descriptor = leaf("k", "", 1);
        for _ in 1..depth {
            descriptor = node("k", "", vec![descriptor]);
        }
        config("deep", vec![descriptor])
    };
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    let compiled = thread
        .spawn(move || set(&[nested(95)]).load(Options::default()).unwrap().ruleset.rules().len());
    assert_eq!(compiled.unwrap().join().unwrap(), 1);
    let any =
        prost_types::Any { type_url: TYPE_URL.to_owned(), value: nested(200).encode_to_vec() };
    let type_url = TYPE_URL.to_owned();
    let response = DiscoveryResponse { type_url, resources: vec![any], ..Default::default() };
    assert!(resources(&response).unwrap_err().to_string().contains("recursion limit"));
}

#[test]
fn the_wire_is_read_by_number() {
    // name, domain and a descriptor: key, value, policy, child, the flags, metadata.
    let policy = [8, 7, 16, 0xac, 2, 34, 1, b'n', 42, 3, 10, 1, b'o'];
    let mut descriptor = vec![10, 1, b'k', 18, 1, b'v', 26, policy.len() as u8];
    descriptor.extend(policy);
    let child = [10, 1, b'c', 26, 2, 24, 1];
    descriptor.extend([34, child.len() as u8]);
    descriptor.extend(child);
    descriptor.extend([40, 1, 48, 1, 56, 1, 66, 9, 10, 7, 10, 1, b'm', 18, 2, 32, 1]);
    let mut bytes = vec![10, 1, b'r', 18, 1, b'd', 26, descriptor.len() as u8];
    bytes.extend(descriptor);
    let any = prost_types::Any { type_url: TYPE_URL.to_owned(), value: bytes };
    let type_url = TYPE_URL.to_owned();
    let response = DiscoveryResponse { type_url, resources: vec![any], ..Default::default() };
    let found = resources(&response).unwrap();
    let limit = rules::RateLimit {
        unit: "WEEK".to_owned(),
        requests_per_unit: 300,
        name: "n".to_owned(),
        replaces: vec!["o".to_owned()],
        unlimited: false,
    };
    let free = rules::RateLimit {
        unit: "UNKNOWN".to_owned(),
        unlimited: true,
        ..rules::RateLimit::default()
    };
    let below = rules::Descriptor {
        key: "c".to_owned(),
        rate_limit: Some(free),
        ..rules::Descriptor::default()
    };
    let descriptor = rules::Descriptor {
        key: "k".to_owned(),
        value: "v".to_owned(),
        rate_limit: Some(limit),
        descriptors: vec![below],
        shadow_mode: true,
        detailed_metric: true,
        quota_mode: true,
        metadata: serde_json::json!({"m": true}).as_object().cloned(),
    };
    let (name, domain) = ("r".to_owned(), "d".to_owned());
    assert_eq!(found, [rules::Resource { name, domain, descriptors: vec![descriptor] }]);
}

#[tokio::test]
async fn an_empty_set_lets_everything_pass() {
    let (mut server, follower) = both(&[]).await;
    let mut stream = server.stream().await;
    stream.request().await;
    stream.send("1", "a", &[shop(0)]).await;
    stream.request().await;
    assert_eq!(follower.ask("shop", &[("user", "eve")]).await, Code::OverLimit);
    stream.send("2", "b", &[]).await;
    assert_eq!(stream.request().await.version_info, "2");
    assert_eq!(follower.ask("shop", &[("user", "eve")]).await, Code::Ok);
    let facts = follower.core.health.facts();
    assert_eq!((facts.rules.domains, facts.rules.limits, follower.loads()), (0, 0, (2.0, 0.0)));
}

#[tokio::test]
async fn the_rules_of_envoy_gateway_hold() {
    let (mut server, follower) = both(&[]).await;
    let mut stream = server.stream().await;
    stream.request().await;
    // One policy of 256 rules in each of three listeners, all matches of a rule chained.
    let route = "httproute/default/backend/rule/0/match/0/www_example_com";
    let rule = |r: usize| {
        let address = leaf("remote_address", "", 2);
        let masked = node("masked_remote_address", "invert:10.0.0.0/8", vec![address]);
        let path = node(&format!("rule-{r}-path"), "/v1", vec![masked]);
        let method = node(&format!("rule-{r}-method"), "GET", vec![path]);
        node(&format!("rule-{r}-match-0"), &format!("rule-{r}-match-0"), vec![method])
    };
    let listener = |name: &str| {
        let mut rules: Vec<_> = (0..256).map(rule).collect();
        rules.push(leaf("rule-256-match--1", "rule-256-match--1", 0));
        config(&format!("default/gateway/{name}"), vec![node(route, route, rules)])
    };
    stream.send("1", "a", &["http", "https", "admin"].map(listener)).await;
    assert_eq!(stream.request().await.version_info, "1");
    assert_eq!(follower.limits().len(), 3 * 257);
    let ask = |address: &'static str, r: usize| {
        let follower = &follower;
        async move {
            let (matched, method, path) =
                (format!("rule-{r}-match-0"), format!("rule-{r}-method"), format!("rule-{r}-path"));
            let entries = [
                (route, route),
                (&*matched, &*matched),
                (&*method, "GET"),
                (&*path, "/v1"),
                ("masked_remote_address", "invert:10.0.0.0/8"),
                ("remote_address", address),
            ];
            follower.ask("default/gateway/https", &entries).await
        }
    };
    for expected in [Code::Ok, Code::Ok, Code::OverLimit] {
        assert_eq!(ask("192.0.2.1", 255).await, expected);
    }
    assert_eq!(ask("192.0.2.2", 255).await, Code::Ok, "each address counts for itself");
    assert_eq!(ask("192.0.2.1", 254).await, Code::Ok, "and each rule");
    let blocked = [(route, route), ("rule-256-match--1", "rule-256-match--1")];
    assert_eq!(follower.ask("default/gateway/http", &blocked).await, Code::OverLimit);
}
