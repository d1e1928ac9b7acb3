//! What became of a call that is traced: of its request no more than the domain, the number
//! of descriptors and the rules that matched.

use http::StatusCode;
use tonic::Code;

use super::super::observer::{Decided, Failed};
use crate::limiter::Verdict;

/// The longest domain that is kept, in bytes.
const MAX_DOMAIN: usize = 128;

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The caller's name for the call, or ours.
    pub request_id: Box<str>,
    /// The domain, or its beginning.
    pub domain: Box<str>,
    /// How many descriptors were judged; none, if there was no decision.
    pub descriptors: usize,
    /// The paths of the rules that matched, each once, in the order of the descriptors.
    pub rules: Vec<Box<str>>,
    /// How it ended.
    pub status: Status,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It may pass.
    Ok,
    /// It may not.
    OverLimit,
    /// It may pass, as everything is in shadow mode.
    Shadowed,
    /// There was no decision.
    Failed {
        /// What a caller by gRPC was told.
        code: Code,
        /// What a caller by HTTP was told.
        http: StatusCode,
    },
}

impl Ending {
    /// There was a decision.
    pub(in super::super) fn decided(request_id: &str, decided: &Decided<'_, '_>) -> Self {
        let Decided { request, ruleset, decision, .. } = *decided;
        let mut rules: Vec<Box<str>> = Vec::new();
        for id in decision.statuses.iter().filter_map(|status| status.rule) {
            let path = &ruleset.rule(id).path;
            if !rules.iter().any(|rule| **rule == **path) {
                rules.push((**path).into());
            }
        }
        Self {
            request_id: request_id.into(),
            domain: beginning(request.domain).into(),
            descriptors: decision.statuses.len(),
            rules,
            status: match decision.overall {
                _ if decision.shadowed => Status::Shadowed,
                Verdict::OverLimit => Status::OverLimit,
                _ => Status::Ok,
            },
        }
    }

    /// There was none.
    pub(in super::super) fn failed(request_id: &str, failed: &Failed<'_>) -> Self {
        Self {
            request_id: request_id.into(),
            domain: beginning(failed.domain).into(),
            descriptors: 0,
            rules: Vec::new(),
            status: Status::Failed { code: failed.code, http: failed.http },
        }
    }
}

impl Status {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::OverLimit => "over_limit",
            Self::Shadowed => "shadowed",
            Self::Failed { .. } => "error",
        }
    }

    /// The code for gRPC; who may not pass was answered, too.
    pub fn code(self) -> Code {
        match self {
            Self::Failed { code, .. } => code,
            _ => Code::Ok,
        }
    }

    /// The status for HTTP.
    pub fn http(self) -> StatusCode {
        match self {
            Self::Ok | Self::Shadowed => StatusCode::OK,
            Self::OverLimit => StatusCode::TOO_MANY_REQUESTS,
            Self::Failed { http, .. } => http,
        }
    }
}

fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_DOMAIN)]
}
