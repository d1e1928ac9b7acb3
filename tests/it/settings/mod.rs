//! Environments, and the settings or errors they make.

mod duration;
mod errors;
mod faults;
mod memcached;
mod metrics;
mod otel;
mod page;
mod tls;
mod transport;
mod redis;
mod values;
mod variables;
mod xds;

use tidegate::settings::{SettingErrors, Settings};

/// Reads an environment of `NAME=value` words.
fn read(environment: &[&str]) -> Result<Settings, SettingErrors> {
    let variables: Vec<(&str, &str)> =
        environment.iter().map(|word| word.split_once('=').unwrap()).collect();
    let lookup = |name: &str| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    };
    let names: Vec<String> = variables.iter().map(|(key, _)| (*key).to_owned()).collect();
    Settings::from_lookup(&lookup, &names)
}

/// The errors of an environment, one line each; none when it is good.
fn errors(environment: &[&str]) -> Vec<String> {
    read(environment).err().iter().flat_map(|e| &e.0).map(ToString::to_string).collect()
}
