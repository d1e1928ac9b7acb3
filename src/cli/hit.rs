//! `tidegate hit`: one question to a running server, and its answer for people.

use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use tidegate::wire::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use tidegate::wire::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::Entry;
use tidegate::wire::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus,
};
use tidegate::wire::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use tidegate::wire::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tonic::Status;

use super::dial::Dial;

/// The question.
#[derive(Args, Debug)]
pub(crate) struct Hit {
    /// Descriptors, each `key=value,key=value`; a comma or backslash in a value is written
    /// with a backslash before it.
    #[arg(required = true, value_name = "KEY=VALUE,..")]
    pub(crate) descriptors: Vec<Descriptor>,
    /// The domain of the rules.
    #[arg(long)]
    pub(crate) domain: String,
    /// Hits of each descriptor; 0 looks without counting.
    #[arg(long, default_value_t = 1)]
    pub(crate) hits: u64,
    /// Gives the hits back instead of spending them.
    #[arg(long)]
    pub(crate) give_back: bool,
    #[command(flatten)]
    pub(crate) dial: Dial,
}

/// A descriptor as written on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Descriptor(Vec<(String, String)>);

impl FromStr for Descriptor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let pair = |text: String| match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(format!("{text:?} is not key=value")),
        };
        split(text).into_iter().map(pair).collect::<Result<_, _>>().map(Self)
    }
}

/// Splits at commas that no backslash precedes.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let literal = match c {
            ',' => {
                parts.push(String::new());
                continue;
            }
            '\\' => chars.next().unwrap_or('\\'),
            c => c,
        };
        if let Some(part) = parts.last_mut() {
            part.push(literal);
        }
    }
    parts
}

/// Asks and prints. Any decision is a success; not getting one is a failure.
pub(crate) fn run(hit: Hit) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let response = runtime.block_on(ask(&hit))?;
    print!("{}", render(&hit, &response));
    Ok(ExitCode::SUCCESS)
}

async fn ask(hit: &Hit) -> anyhow::Result<RateLimitResponse> {
    let channel = hit.dial.connect().await?;
    let answer = RateLimitServiceClient::new(channel).should_rate_limit(request(hit)).await;
    Ok(answer.map_err(|status| no_decision(&status, &hit.dial.server))?.into_inner())
}

/// What the server said; or that the connection to it broke, which has a cause of its own.
fn no_decision(status: &Status, server: &str) -> anyhow::Error {
    match std::error::Error::source(status) {
        None => anyhow::anyhow!("no decision: {} ({:?})", status.message(), status.code()),
        Some(cause) => anyhow::anyhow!(
            "no decision: {server} closed the connection, or is no gRPC server ({cause})"
        ),
    }
}

fn request(hit: &Hit) -> RateLimitRequest {
    let entry = |(key, value): &(String, String)| Entry { key: key.clone(), value: value.clone() };
    let descriptor = |descriptor: &Descriptor| RateLimitDescriptor {
        entries: descriptor.0.iter().map(entry).collect(),
        hits_addend: Some(hit.hits),
        is_negative_hits: hit.give_back,
        ..Default::default()
    };
    RateLimitRequest {
        domain: hit.domain.clone(),
        descriptors: hit.descriptors.iter().map(descriptor).collect(),
        hits_addend: 0,
    }
}

fn render(hit: &Hit, response: &RateLimitResponse) -> String {
    let mut text = format!("{}\n", word(response.overall_code()));
    for (descriptor, status) in hit.descriptors.iter().zip(&response.statuses) {
        let pairs: Vec<_> = descriptor.0.iter().map(|(k, v)| format!("{k}={v}")).collect();
        text += &format!("  {}  {}: {}\n", word(status.code()), pairs.join(", "), line(status));
    }
    for header in &response.response_headers_to_add {
        text += &format!("  {}: {}\n", header.key, header.value);
    }
    text
}

fn line(status: &DescriptorStatus) -> String {
    let Some(limit) = &status.current_limit else {
        return match status.limit_remaining {
            u32::MAX => "unlimited".to_owned(),
            _ => "no rule".to_owned(),
        };
    };
    let name = match limit.name.as_str() {
        "" => String::new(),
        name => format!(" ({name})"),
    };
    let unit = limit.unit().as_str_name().to_lowercase();
    let reset = status.duration_until_reset.unwrap_or_default().seconds;
    format!(
        "{} of {} per {unit} left{name}, starts anew in {}",
        status.limit_remaining,
        limit.requests_per_unit,
        humantime::format_duration(Duration::from_secs(reset.try_into().unwrap_or_default()))
    )
}

fn word(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::OverLimit => "OVER LIMIT",
        Code::Unknown => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_read_as_written() {
        let check = |text: &str, expected: &[(&str, &str)]| {
            let pairs = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
            assert_eq!(text.parse(), Ok(Descriptor(pairs.collect())), "{text}");
        };
        check("user=alice,path=/x", &[("user", "alice"), ("path", "/x")]);
        check("q=a=b", &[("q", "a=b")]);
        check("q=", &[("q", "")]);
        check(r"q=a\,b\\c", &[("q", r"a,b\c")]);
        assert!("alice".parse::<Descriptor>().is_err());
        assert!("a=1,,b=2".parse::<Descriptor>().is_err());
    }
}
