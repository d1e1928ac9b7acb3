//! The one table of errors: what failed, its gRPC code, its HTTP status.

use http::StatusCode;
use tonic::{Code, Status};

use super::json::JsonError;
use super::request::RequestError;
use crate::service::CheckError;
use crate::store::StoreError;
use crate::telemetry::Outcome;

/// A request that was not decided.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It cannot be read.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// It is against the rules of the protocol or beyond a bound.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// As many requests as may be are being decided; how many that is.
    #[error(
        "{0} requests are being decided already, which is the maximum (TIDEGATE_MAX_DECISIONS)"
    )]
    Crowded(usize),
    /// Deciding it broke off, by a fault of ours.
    #[error("the decision broke off")]
    Panicked,
    /// It could not be decided.
    #[error(transparent)]
    Check(#[from] CheckError),
}

impl Failure {
    /// The gRPC code. Never UNKNOWN: callers act on the code.
    pub fn code(&self) -> Code {
        match self {
            Self::Json(_) | Self::Request(_) => Code::InvalidArgument,
            Self::Check(CheckError::EmptyDomain | CheckError::NoDescriptors) => {
                Code::InvalidArgument
            }
            // Not UNAVAILABLE, which clients repeat at once: more of the same would follow.
            Self::Crowded(_) => Code::ResourceExhausted,
            Self::Panicked | Self::Check(CheckError::NoRules) => Code::Unavailable,
            Self::Check(CheckError::Store(error)) => match error {
                StoreError::Unavailable(_) | StoreError::Broken(_) | StoreError::Refused(_) => {
                    Code::Unavailable
                }
                StoreError::Timeout(_) => Code::DeadlineExceeded,
                StoreError::Full(_) => Code::ResourceExhausted,
            },
        }
    }

    /// The HTTP status: 400 where the caller is at fault, else 503.
    pub fn http_status(&self) -> StatusCode {
        match self.code() {
            Code::InvalidArgument => StatusCode::BAD_REQUEST,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl Failure {
    /// Whether the store could not say.
    pub fn is_of_store(&self) -> bool {
        matches!(self, Self::Check(CheckError::Store(_)))
    }

    /// What it counts as.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Json(_) | Self::Request(_) => Outcome::Invalid,
            Self::Check(CheckError::EmptyDomain | CheckError::NoDescriptors) => Outcome::Invalid,
            Self::Crowded(_) => Outcome::Crowded,
            Self::Panicked => Outcome::Panicked,
            Self::Check(CheckError::NoRules) => Outcome::NoRules,
            Self::Check(CheckError::Store(error)) => match error {
                StoreError::Unavailable(_) => Outcome::Unavailable,
                StoreError::Broken(_) => Outcome::Broken,
                StoreError::Timeout(_) => Outcome::Timeout,
                StoreError::Refused(_) => Outcome::Refused,
                StoreError::Full(_) => Outcome::Full,
            },
        }
    }

    /// What the caller is told. What a store says may name addresses and paths, which are for
    /// the log and the health report.
    pub fn told(&self) -> String {
        let error = match self {
            Self::Check(CheckError::Store(error)) => error,
            Self::Json(error) => return error.told(),
            _ => return self.to_string(),
        };
        match error {
            StoreError::Unavailable(_) => "the store is unavailable",
            StoreError::Broken(_) => "the connection to the store broke",
            StoreError::Timeout(_) => "the store did not answer in time",
            StoreError::Refused(_) => "the store answered with an error",
            StoreError::Full(_) => "the store is full",
        }
        .to_owned()
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        Self::new(failure.code(), failure.told())
    }
}
