//! Real inputs: the reference's conversations, the rules that are shipped, the settings'
//! own values, and what servers answer.

use std::path::Path;

use prost::Message as _;
use prost_types::Any;
use serde_json::{Map, Value, json};
use tidegate::settings::Settings;
use tidegate::wire::discovery::TYPE_URL;
use tidegate::wire::json::Json;
use tidegate::wire::pb::envoy::service::discovery::v3::DiscoveryResponse;
use tidegate::wire::pb::ratelimit::config::ratelimit::v3 as config;

use super::targets::environment::PASSWORD;
use super::targets::rules::SEPARATOR;
use crate::support::conversations::conversations;

/// The conversations with the reference, every third of the random ones.
fn transcripts() -> Vec<Value> {
    let is_kept =
        |(i, (name, _)): &(usize, (String, Value))| !name.contains("random-") || i % 3 == 0;
    let kept = conversations().into_iter().enumerate().filter(is_kept);
    kept.map(|(_, (_, conversation))| conversation).collect()
}

/// Requests in JSON: those of the conversations, asked of the domains that there are here.
pub(super) fn json() -> Vec<Vec<u8>> {
    let mut requests: Vec<Vec<u8>> = Vec::new();
    for transcript in transcripts() {
        let steps = transcript["steps"].as_array().unwrap();
        for step in steps.iter().filter_map(|step| step.get("request")).step_by(5) {
            requests.push(request(step).to_string().into_bytes());
        }
    }
    let keys = [
        "user",
        "most",
        "sliding",
        "slidingmost",
        "bucket",
        "bucketslow",
        "both",
        "network",
        "pattern",
        "listed",
        "closed",
        "open",
        "shadow",
        "quota",
        "replacing",
        "one",
        "two",
    ];
    for domain in ["shop", "together"] {
        for (at, key) in keys.iter().enumerate() {
            let other = keys[(at * 7 + 3) % keys.len()];
            let value = ["a1", "10.0.0.1", "/v1/x", "gold", "::1"][at % 5];
            let entry = |key: &str| json!([{"key": key, "value": value}]);
            let request = json!({"domain": domain, "hitsAddend": at % 4, "descriptors": [
                {"entries": entry(key)},
                {"entries": entry(other), "hitsAddend": at.to_string(), "isNegativeHits": at % 5 == 0},
                {"entries": entry(key), "limit": {"requestsPerUnit": at, "unit": "HOUR"}},
                {"entries": [{"key": "user", "value": value}, {"key": "path", "value": key}]},
                {"entries": entry(key)},
            ]});
            requests.push(request.to_string().into_bytes());
        }
    }
    requests
}

fn request(request: &Value) -> Value {
    let descriptors = request["descriptors"].as_array().unwrap().iter().map(|descriptor| {
        let pairs = descriptor["entries"].as_array().unwrap().iter();
        let entries: Vec<_> = pairs.map(|pair| json!({"key": pair[0], "value": pair[1]})).collect();
        let mut message = Map::from_iter([("entries".to_owned(), json!(entries))]);
        if let Some(limit) = descriptor.get("limit") {
            let limit = json!({"requestsPerUnit": limit[0], "unit": limit[1]});
            message.insert("limit".to_owned(), limit);
        }
        if let Some(hits) = descriptor.get("hits") {
            message.insert("hitsAddend".to_owned(), hits.clone());
        }
        Value::Object(message)
    });
    json!({
        "domain": request["domain"],
        "descriptors": descriptors.collect::<Vec<_>>(),
        "hitsAddend": request.get("hits").cloned().unwrap_or(json!(0)),
    })
}

/// The same requests as messages.
pub(super) fn messages() -> Vec<Vec<u8>> {
    let translator = Json::new().unwrap();
    json().iter().map(|text| translator.request(text).unwrap().encode_to_vec()).collect()
}

/// The rule files of the conversations, of the examples, and what goes beyond both.
pub(super) fn rules() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for transcript in transcripts() {
        let files = |files: &Value| {
            let files = files.as_object().unwrap().values().filter_map(Value::as_str);
            let files: Vec<_> = files.map(str::as_bytes).collect();
            files.join(&SEPARATOR)
        };
        all.push(files(&transcript["rules"]));
        let steps = transcript["steps"].as_array().unwrap().iter();
        all.extend(steps.filter_map(|step| step.get("write")).map(files));
    }
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/rules/example.yaml");
    all.push(std::fs::read(example).unwrap());
    for _ in 0..10 {
        all.extend(RULES.map(|text| text.as_bytes().to_vec()));
    }
    all
}

const RULES: [&str; 4] = [
    "domain: d
all_or_nothing: on
defaults: {accuracy: leased, on_store_error: allow}
descriptors:
- {key: k, match: {cidr: [10.0.0.0/8, '::/0']}, share_threshold: y}
- key: k
  match: {regex: '^(?i)a+\\d{2}$'}
  rate_limits: [{unit: day, unit_multiplier: 2, algorithm: token_bucket, burst: 9}]
- {key: k, match: {any_of: [a, 1]}, rate_limit: {unit: day, count_refused: n}}
",
    "domain: shop
descriptors:
- &a {key: \"k\", value: 'v*', share_threshold: yes, <<: {metadata: {a: !!binary aGk=}}}
- key: |
    k
  rate_limit: {unit: day, requests_per_unit: 0x10, replaces: [{name: >-
   x}]}
  descriptors: [*a, ? b : c]
...
---
",
    "domain: shop
descriptors:
- key: a
  value: x*
  detailed_metric: true
  rate_limit: &l {unit: week, requests_per_unit: 5, name: n, algorithm: sliding_window}
  metadata: {list: [1, .inf, .nan, 1e400, 0b11, 0o7, ~, {deep: [yes, no]}]}
  descriptors:
  - {key: b, value: '*', rate_limit: *l, shadow_mode: true}
  - {key: b, rate_limit: {unlimited: true}, quota_mode: true}
  - {<<: {key: c, rate_limit: *l}, value_to_metric: true}
",
    "domain: shop
descriptors:
- {key: a, rate_limit: {unit: second, requests_per_unit: 5}}
\u{1e}domain: shop
descriptors:
- {key: b, rate_limits: [{unit: second, requests_per_unit: 5}, {unit: day, requests_per_unit: 9}]}
\u{1e}domain: other
descriptors:
- {key: b, rate_limit: {unit: MONTH, requests_per_unit: 1_000, replaces: [{name: x}]}}
",
];

/// Environments: of the conversations, of every variable at its default, and with passwords.
pub(super) fn environments() -> Vec<Vec<u8>> {
    let mut all: Vec<String> = Vec::new();
    let line = |(name, value): (&String, &Value)| format!("{name}={}", value.as_str().unwrap());
    for transcript in transcripts() {
        let env = transcript["env"].as_object().unwrap();
        all.push(env.iter().map(line).collect::<Vec<_>>().join("\n"));
    }
    let declared = Settings::reference();
    for variables in declared.chunks(4) {
        let line = |d: &tidegate::settings::Declared| format!("{}={}", d.name, d.default);
        all.push(variables.iter().map(line).collect::<Vec<_>>().join("\n"));
        all.push(variables.iter().map(|d| format!("{}=1", d.name)).collect::<Vec<_>>().join("\n"));
    }
    for _ in 0..10 {
        all.extend(ENVIRONMENTS.map(|text| text.replace("PASSWORD", PASSWORD)));
    }
    all.into_iter().map(String::into_bytes).collect()
}

const ENVIRONMENTS: [&str; 8] = [
    "BACKEND_TYPE=redis\nREDIS_URL=redis://me:PASSWORD@redis:6379/3\nREDIS_TLS=true",
    "REDIS_AUTH=PASSWORD\nREDIS_TYPE=SENTINEL\nREDIS_URL=main,redis://:PASSWORD@a:26379,b:26379",
    "REDIS_TYPE=cluster\nREDIS_URL=a:1,rediss://u:PASSWORD@b:2\nREDIS_SENTINEL_AUTH=u:PASSWORD",
    "REDIS_PERSECOND=true\nREDIS_PERSECOND_URL=redis://:PASSWORD@x\nREDIS_PERSECOND_AUTH=PASSWORD",
    "CONFIG_TYPE=GRPC_XDS_SOTW\nCONFIG_GRPC_XDS_CLIENT_ADDITIONAL_HEADERS=authorization:PASSWORD,a:b\n\
     CONFIG_GRPC_XDS_SERVER_URL=xds:18000",
    "USE_DOG_STATSD=true\nUSE_DOG_STATSD_MOGRIFIERS=A,B\nDOG_STATSD_MOGRIFIER_A_PATTERN=^(.*)\\.x$\n\
     DOG_STATSD_MOGRIFIER_A_NAME=$1\nDOG_STATSD_MOGRIFIER_A_TAGS=a:$1,b:c\nEXTRA_TAGS=a:b,c:d",
    "TIDEGATE_DRAIN_DELAY=1h2m3.5s\nTIDEGATE_REPLICAS=3\nTIDEGATE_MAX_MESSAGE_BYTES=0x10_000\nNEAR_LIMIT_RATIO=0.8\n\
     GRPC_MAX_CONNECTION_AGE=24h\nHOST=[::1]\nPROMETHEUS_ADDR=:9090\nUSE_PROMETHEUS=true",
    "BACKEND_TYPE=memcache\nMEMCACHE_HOST_PORT=a:11211,/run/m.sock\nMEMCACHE_SRV=_a._tcp.b\nTIDEGATE_TYPO=1",
];

/// What Redis, a node of a cluster and a sentinel answer. The first byte stands for what was
/// asked.
pub(super) fn replies() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for asked in [0_u8, 4, 8, 12, 3, 7, 130] {
        all.extend(REPLIES.map(|text| [&[asked], text.as_bytes()].concat()));
    }
    all
}

const REPLIES: [&str; 11] = [
    // Of a call with sums and steps; the last counters are one set.
    "*12\r\n$16\r\n1700000123456789\r\n:8\r\n:0\r\n*4\r\n:3\r\n:1700000100\r\n:1\r\n:0\r\n\
     *4\r\n:3\r\n:1700000129456789\r\n:0\r\n:10\r\n:0\r\n*4\r\n:1\r\n:1700000129456789\r\n:3\r\n:10\r\n\
     *4\r\n:3\r\n:1700000129456789\r\n:0\r\n:10\r\n*2\r\n:3\r\n:3\r\n*2\r\n:3\r\n:2\r\n\
     *4\r\n:3\r\n:1700000100\r\n:2\r\n:0\r\n*4\r\n:3\r\n:1700000135456789\r\n:0\r\n:10\r\n",
    "*12\r\n:1700000123456789\r\n*1\r\n$19\r\n9223372036854775807\r\n$2\r\n-5\r\n:1\r\n:2\r\n:3\r\n\
     :4\r\n:5\r\n:6\r\n:7\r\n:8\r\n:9\r\n",
    "*12\r\n:1700000123456789\r\n-ERR another counter of the set failed\r\n:0\r\n-WRONGTYPE x\r\n\
     :0\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n:0\r\n",
    "-NOSCRIPT No matching script. Please use EVAL.\r\n",
    "-MOVED 3999 127.0.0.1:6381\r\n",
    "-ASK 3999 [::1]:6381\r\n",
    "-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
    "*2\r\n*3\r\n:0\r\n:8191\r\n*4\r\n$9\r\n127.0.0.1\r\n:7000\r\n$2\r\nid\r\n*2\r\n$8\r\nhostname\r\n$1\r\na\r\n\
     *4\r\n:8192\r\n:16383\r\n*4\r\n$1\r\n?\r\n:7001\r\n$2\r\nid\r\n*2\r\n$2\r\nip\r\n$7\r\n1.2.3.4\r\n\
     *3\r\n$0\r\n\r\n:7002\r\n$2\r\nid\r\n\u{1e}$53\r\ncluster_state:ok\r\ncluster_current_epoch:18446744073\r\na:b\r\n",
    "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$-1\r\n:7000\r\n\u{1e}$18\r\ncluster_state:fail\r\n",
    "*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n\u{1e}*2\r\n*4\r\n$2\r\nip\r\n$9\r\n127.0.0.2\r\n$4\r\nport\r\n$5\r\n26379\r\n\
     *3\r\n$4\r\nport\r\n$1\r\n1\r\n$2\r\nip\r\n",
    "*-1\r\n\u{1e}*0\r\n",
];

/// Lines that memcached answers.
pub(super) fn lines() -> Vec<Vec<u8>> {
    const LINES: [&str; 10] = [
        "18446744073709551615\r\n",
        "0\r\n",
        "7\r\n",
        "NOT_FOUND\r\n",
        "SERVER_ERROR out of memory storing object\r\n",
        "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
        "STORED\r\n",
        "NOT_STORED\r\n",
        "VERSION 1.6.18\r\n",
        "ERROR\r\n",
    ];
    LINES.map(|line| line.as_bytes().to_vec()).to_vec()
}

/// Mapping files; the first lines of some are mogrifiers.
pub(super) fn mappings() -> Vec<Vec<u8>> {
    const TEXTS: [&str; 4] = [
        "defaults:\n  timer_type: histogram\n  buckets: [1, 2.5]\n  ttl: 1h\nmappings:\n\
         - match: \"^ratelimit\\\\.(.*)\\\\.(.*)$\"\n  match_type: regex\n  name: deep_$1\n\
         - match: ratelimit.service.rate_limit.*.*.total_hits\n  name: hits\n  labels: {first: \"$1\", all: \"${0}\"}\n\
         - match: ratelimit_server.*.response_time\n  match_metric_type: timer\n  name: time\n  scale: 0.001\n\
         \x20 histogram_options: {buckets: [7]}\n- match: .\n  match_type: regex\n  action: drop\n  name: dropped\n",
        "mappings: [{match: '*.*.*.*.*.*', name: '1$1-$2', labels: {le_: $99999999999999999999}}]\n",
        "# ^ratelimit\\.(.*)\\.(.*)$|(x)?\n# $1 ${2} $3 $9\n# $1\nmappings: []\n",
        "a(.*)|\nname.$1.$2\n${1}${1}\n",
    ];
    let mut all: Vec<Vec<u8>> = TEXTS.map(|text| text.as_bytes().to_vec()).to_vec();
    all.push(TEXTS[2].replace("# ", "").replace("mappings: []\n", "").into_bytes());
    all
}

/// Addresses of every kind.
pub(super) fn addresses() -> Vec<Vec<u8>> {
    const TEXTS: [&str; 14] = [
        "localhost:6379",
        "redis",
        "redis://me:passw0rd@redis:6379/3",
        "rediss://:passw0rd@[::1]:6380",
        "rediss://u%40x:p%40ssw0rd@redis:6379/0?protocol=resp3",
        "redis+unix:///run/redis.sock?db=2&user=me&pass=passw0rd",
        "unix:///run/redis.sock",
        "/run/redis.sock",
        "main,a:26379,redis://:passw0rd@b:26379,[::1]:26379",
        "a:7000,b:7001,rediss://u:passw0rd@c:7002",
        "a:11211,/run/memcached.sock,[::1]:11211",
        "_memcached._tcp.example.org",
        "redis://h:99999/-1",
        "valkeys://x",
    ];
    TEXTS.map(|text| text.as_bytes().to_vec()).to_vec()
}

/// Answers of a management server: the resources that rules would be.
pub(super) fn discoveries() -> Vec<Vec<u8>> {
    let limit = |unit: i32, requests: u32, name: &str| config::RateLimitPolicy {
        unit,
        requests_per_unit: requests,
        name: name.to_owned(),
        replaces: match name {
            "" => Vec::new(),
            _ => vec![config::RateLimitReplace { name: "other".to_owned() }],
        },
        ..Default::default()
    };
    let leaf = |key: &str, value: &str, unit| config::RateLimitDescriptor {
        key: key.to_owned(),
        value: value.to_owned(),
        rate_limit: Some(limit(unit, 5, key)),
        ..Default::default()
    };
    let resource = |domain: &str, unit: i32| config::RateLimitConfig {
        name: domain.to_owned(),
        domain: domain.to_owned(),
        descriptors: vec![
            leaf("a", "", unit),
            config::RateLimitDescriptor {
                descriptors: vec![leaf("b", "x*", 1), leaf("b", "", 7)],
                shadow_mode: true,
                rate_limit: None,
                ..leaf("c", "v", 2)
            },
        ],
    };
    let answer = |resources: &[config::RateLimitConfig]| DiscoveryResponse {
        version_info: "1".to_owned(),
        type_url: TYPE_URL.to_owned(),
        nonce: "n".to_owned(),
        resources: resources
            .iter()
            .map(|r| Any { type_url: TYPE_URL.to_owned(), value: r.encode_to_vec() })
            .collect(),
    };
    let answers = [
        answer(&[resource("shop", 1)]),
        answer(&[resource("shop", 3), resource("other", 6)]),
        answer(&[resource("shop", 3), resource("shop", 4)]),
        answer(&[resource("", 0), resource("x", 99)]),
        answer(&[]),
    ];
    let answers = answers.iter().map(DiscoveryResponse::encode_to_vec);
    answers.chain((0..8).map(|unit| resource("shop", unit).encode_to_vec())).collect()
}
