//! Bytes as addresses of stores.

use std::fmt::Debug;

use tidegate::store::memcached::Servers;
use tidegate::store::redis::{Credentials, RedisConfig, RedisConfigError, SocketType, Topology};

use super::Outcome;

/// Reads the text as an address of every kind.
pub(crate) fn run(bytes: &[u8]) -> Outcome {
    let Ok(text) = std::str::from_utf8(bytes) else { return Outcome::Refused };
    let read = [
        check(text, RedisConfig::new(text, SocketType::Tcp, None)),
        check(text, RedisConfig::new(text, SocketType::Unix, None)),
        check(text, RedisConfig::sentinel(text)),
        check(text, RedisConfig::cluster(text)),
        Servers::listed(text).is_ok(),
        Servers::srv(text).is_ok(),
    ];
    match read.contains(&true) {
        true => Outcome::Taken,
        false => Outcome::Refused,
    }
}

/// What is read says no password; why it cannot be read quotes at most a scheme.
fn check(text: &str, read: Result<RedisConfig, RedisConfigError>) -> bool {
    let config = match read {
        Ok(config) => config,
        Err(error) => {
            assert!(error.to_string().len() < text.len() + 300, "{error}");
            return false;
        }
    };
    hides(text, &config.dialing.login, &(&config, config.describe()));
    if let Topology::Sentinel { login, .. } = &config.topology {
        hides(text, login, &(&config, config.describe()));
    }
    true
}

/// A password that stands in the text once, as a password, is not shown.
fn hides(text: &str, login: &Credentials, shown: &impl Debug) {
    let Credentials::Given(login) = login else { return };
    let Some(password) = &login.password else { return };
    let password = password.expose();
    // A short one may be part of any word, and of what stands for it.
    if password.len() < 6 || text.matches(password).count() > 1 || "[redacted]".contains(password) {
        return;
    }
    let shown = format!("{shown:?}");
    assert!(!shown.contains(password), "{shown}");
}
