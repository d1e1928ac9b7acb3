//! How much memory the worst inputs hold that are within the bounds of their size.
//!
//! The bounds are generous: they stand between what is held and what would end a process.

use prost::Message as _;
use tidegate::wire::pb::envoy::service::ratelimit::v3::RateLimitRequest;

use super::targets::{self, Outcome};

const MIB: usize = 1 << 20;
/// The default of TIDEGATE_MAX_MESSAGE_BYTES, which bounds `/json` as well.
const MESSAGE: usize = 4 * MIB;
/// The default of TIDEGATE_RULES_MAX_FILE_BYTES.
const FILE: usize = 8 * MIB;

fn check(name: &str, run: fn(&[u8]) -> Outcome, bytes: &[u8], most: usize) {
    let mut outcome = Outcome::Taken;
    let held = allocation_counter::measure(|| outcome = run(bytes)).bytes_max as usize;
    println!("{name}: {} KiB hold {} MiB, {outcome:?}", bytes.len() >> 10, held / MIB);
    assert!(held < most, "{name}: {held} bytes, {most} are allowed");
}

#[test]
fn messages_of_nothing_but_empty_parts() {
    let run = targets::message::run;
    // A descriptor is a tag and a length.
    let descriptors = [0x12, 0].repeat(1_000_000);
    assert_eq!(RateLimitRequest::decode(&*descriptors).unwrap().descriptors.len(), 1_000_000);
    check("a million empty descriptors", run, &descriptors, 400 * MIB);
    check("as many as fit", run, &[0x12, 0].repeat(MESSAGE / 2), 400 * MIB);
    let mut entries = Vec::from([0x0a, 4, b's', b'h', b'o', b'p', 0x12]);
    let inner = [0x0a, 0].repeat(MESSAGE / 2 - 10);
    prost::encoding::encode_varint(inner.len() as u64, &mut entries);
    entries.extend(inner);
    check("a descriptor of empty entries", run, &entries, 400 * MIB);
}

#[test]
fn json_of_nothing_but_empty_parts() {
    let run = targets::json::run;
    let list = |inner: &str| {
        let mut text = String::from("{\"domain\":\"shop\",\"descriptors\":[");
        text.push_str(&format!("{inner},").repeat(MESSAGE / (inner.len() + 1) - 20));
        text + inner + "]}"
    };
    check("empty descriptors", run, list("{}").as_bytes(), 1500 * MIB);
    check("lists in lists", run, "[".repeat(MESSAGE).as_bytes(), 64 * MIB);
    check("maps in maps", run, "{\"a\":".repeat(MESSAGE / 5).as_bytes(), 64 * MIB);
    check(
        "one long text",
        run,
        format!("{{\"domain\":\"{}\"}}", "x".repeat(MESSAGE)).as_bytes(),
        64 * MIB,
    );
}

#[test]
fn rules_that_stand_for_more_than_they_are() {
    let run = targets::rules::run;
    let mut bomb = "domain: shop\nmetadata:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..60 {
        let alias = format!("*a{}", level - 1);
        bomb += &format!("  a{level}: &a{level} [{}]\n", [alias.as_str(); 9].join(", "));
    }
    check("aliases of aliases", run, bomb.as_bytes(), 64 * MIB);
    let metadata = format!("[{}]", "x, ".repeat(9_000));
    let mut bomb =
        format!("domain: d\ndescriptors:\n- {{key: k, metadata: {{a: &a {metadata}}}}}\n");
    for number in 0..100 {
        bomb += &format!("- {{key: k{number}, metadata: {{a: *a}}, rate_limit: {{unit: day}}}}\n");
    }
    check("aliases within their bound", run, bomb.as_bytes(), 400 * MIB);
    for open in ["[", "{a: ", "- ", "? "] {
        check("nesting", run, open.repeat(FILE / open.len()).as_bytes(), 256 * MIB);
    }
    let wrong = format!("domain: d\ndescriptors:\n{}", "- 1\n".repeat(FILE / 8));
    check("a million errors", run, wrong.as_bytes(), 1500 * MIB);
}

#[test]
fn replies_that_announce_more_than_they_are() {
    let run = targets::redis_reply::run;
    for announced in ["*2147483647\r\n", "$2147483647\r\n", "*9223372036854775807\r\n", "%9\r\n"] {
        check("announced", run, format!("\0{}", announced.repeat(99)).as_bytes(), 128 * MIB);
    }
    check(
        "a list of nothing",
        run,
        ("\0*1000000\r\n".to_owned() + &"*0\r\n".repeat(1_000_000)).as_bytes(),
        400 * MIB,
    );
}
