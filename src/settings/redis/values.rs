//! How the words of Redis' variables become values.

use crate::health::StoreNeeded;
use crate::settings::value::Value;
use crate::store::redis::SocketType;
use crate::tls::NameCheck;

/// What `REDIS_TYPE` says.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Single,
    Sentinel,
    Cluster,
}

impl Value for Kind {
    const ALLOWED: &'static str = "single, sentinel or cluster, in any case";

    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "single" => Some(Self::Single),
            "sentinel" => Some(Self::Sentinel),
            "cluster" => Some(Self::Cluster),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Single => "single".to_owned(),
            Self::Sentinel => "sentinel".to_owned(),
            Self::Cluster => "cluster".to_owned(),
        }
    }
}

impl Value for SocketType {
    const ALLOWED: &'static str = "tcp or unix";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn show(&self) -> String {
        match self {
            Self::Tcp => "tcp".to_owned(),
            Self::Unix => "unix".to_owned(),
        }
    }
}

impl Value for NameCheck {
    const ALLOWED: &'static str = bool::ALLOWED;

    fn parse(text: &str) -> Option<Self> {
        bool::parse(text).map(|skip| if skip { Self::Skip } else { Self::Verify })
    }

    fn show(&self) -> String {
        (*self == Self::Skip).show()
    }
}

impl Value for StoreNeeded {
    const ALLOWED: &'static str = bool::ALLOWED;

    fn parse(text: &str) -> Option<Self> {
        bool::parse(text).map(|always| if always { Self::Connected } else { Self::Answered })
    }

    fn show(&self) -> String {
        (*self == Self::Connected).show()
    }
}
