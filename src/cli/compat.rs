//! The companion programs of envoyproxy/ratelimit, for scripts that call them: the program
//! acts as one of them under its name. Its own name and `ratelimit` mean the same.
//!
//! Their flags are written as Go reads them: with one dash or two, values after a space or
//! an equals sign, `=true` only with an equals sign.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{ArgAction, Parser};
use tidegate::rules::{Options, SourceFile};

use super::check;
use super::dial::{Dial, Manner};
use super::hit::{self, Descriptor, Hit};

/// A companion program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Companion {
    /// Checks a directory of rules.
    ConfigCheck,
    /// Asks for a decision.
    Client,
}

impl Companion {
    /// The one that goes by the name of `program`, if any.
    pub(crate) fn named(program: &OsStr) -> Option<Self> {
        match Path::new(program).file_name()?.to_str()? {
            "ratelimit_config_check" | "config_check" => Some(Self::ConfigCheck),
            "ratelimit_client" | "client" => Some(Self::Client),
            _ => None,
        }
    }

    /// Runs it; `arguments` begin with the program's name.
    pub(crate) fn run(self, arguments: impl Iterator<Item = OsString>) -> anyhow::Result<ExitCode> {
        let arguments = arguments.map(two_dashes);
        match self {
            Self::ConfigCheck => config_check(&ConfigCheck::parse_from(arguments)),
            Self::Client => hit::run(Client::parse_from(arguments).into()),
        }
    }
}

/// Go's `-flag` as `--flag`.
fn two_dashes(argument: OsString) -> OsString {
    let is_go = argument.to_str().is_some_and(|text| {
        let name = text.strip_prefix('-').unwrap_or_default();
        name.len() > 1 && name.starts_with(|c: char| c.is_ascii_alphabetic())
    });
    if !is_go {
        return argument;
    }
    let mut doubled = OsString::from("-");
    doubled.push(argument);
    doubled
}

/// Reads every file of a directory as rules and says everything that is wrong with them.
#[derive(Debug, Parser)]
#[command(name = "ratelimit_config_check", version)]
struct ConfigCheck {
    /// The directory; none of its entries may be a directory.
    #[arg(long = "config_dir", value_name = "DIR")]
    directory: PathBuf,
    /// Files of one domain add up.
    #[arg(long = "merge_domain_configs", action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_value = "false", default_missing_value = "true",
          value_parser = boolean)]
    merge_domains: bool,
}

fn config_check(check: &ConfigCheck) -> anyhow::Result<ExitCode> {
    let directory = &check.directory;
    println!("checking the rules in {}", directory.display());
    let unreadable = || format!("cannot read {}", directory.display());
    let entries = fs::read_dir(directory).with_context(unreadable)?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .with_context(unreadable)?;
    paths.sort();
    let mut files = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for path in paths {
        println!("reading {}", path.display());
        match fs::read(&path) {
            Ok(bytes) => files.push(SourceFile { name: path.display().to_string(), bytes }),
            Err(error) => {
                eprintln!("error: cannot read {}: {error}", path.display());
                code = ExitCode::FAILURE;
            }
        }
    }
    let verdict =
        check::judge(&files, Options { merge_domains: check.merge_domains, ..Options::default() });
    if [code, verdict] == [ExitCode::SUCCESS; 2] {
        println!("all rules are ok");
        return Ok(verdict);
    }
    Ok(ExitCode::FAILURE)
}

/// Asks a server for one decision.
#[derive(Debug, Parser)]
#[command(name = "ratelimit_client", version)]
struct Client {
    /// The server's gRPC address.
    #[arg(long = "dial_string", default_value = "localhost:8081", value_name = "HOST:PORT")]
    server: String,
    /// The domain of the rules.
    #[arg(long, default_value = "")]
    domain: String,
    /// A descriptor; may be given several times.
    #[arg(long, value_name = "KEY=VALUE,..")]
    descriptors: Vec<Descriptor>,
    /// Speaks TLS.
    #[arg(long = "grpc-use-tls", action = ArgAction::Set, num_args = 0..=1,
          require_equals = true, default_value = "false", default_missing_value = "true",
          value_parser = boolean)]
    tls: bool,
    /// PEM file of authorities to trust beside those of the system.
    #[arg(long = "grpc-server-ca-file", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// PEM file of a certificate to show.
    #[arg(long = "grpc-cert-file", value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// PEM file of its private key.
    #[arg(long = "grpc-key-file", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Accepted without effect: this client sends no traces.
    #[arg(long = "oltp-protocol", value_name = "PROTOCOL")]
    _traces: Option<String>,
}

impl From<Client> for Hit {
    fn from(client: Client) -> Self {
        // Files without the switch are without effect there, too.
        let tls = client.tls;
        let manner = Manner {
            tls,
            ca: client.ca.filter(|_| tls),
            cert: client.cert.filter(|_| tls),
            key: client.key.filter(|_| tls),
            timeout: 5,
            ..Manner::default()
        };
        let dial = Dial { server: client.server, manner };
        let Client { domain, descriptors, .. } = client;
        Self { descriptors, domain, hits: 1, give_back: false, dial }
    }
}

/// A boolean as Go reads it.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides() {
        let check = |name: &str, expected| {
            assert_eq!(Companion::named(OsStr::new(name)), expected, "{name}");
        };
        check("/bin/ratelimit_config_check", Some(Companion::ConfigCheck));
        check("config_check", Some(Companion::ConfigCheck));
        check("./client", Some(Companion::Client));
        check("ratelimit_client", Some(Companion::Client));
        check("/bin/ratelimit", None);
        check("/client/tidegate", None);
        check("", None);
    }

    #[test]
    fn flags_are_read_as_go_reads_them() {
        let check = |arguments: &[&str], expected: Option<(&str, bool)>| {
            let all = ["config_check"].iter().chain(arguments);
            let read = ConfigCheck::try_parse_from(all.map(|a| two_dashes(a.into())));
            let read = read.ok().map(|read| (read.directory, read.merge_domains));
            assert_eq!(read, expected.map(|(d, merge)| (d.into(), merge)), "{arguments:?}");
        };
        check(&["-config_dir", "rules"], Some(("rules", false)));
        check(&["--config_dir", "rules"], Some(("rules", false)));
        check(&["-config_dir=rules", "-merge_domain_configs"], Some(("rules", true)));
        check(&["-merge_domain_configs=T", "--config_dir=rules"], Some(("rules", true)));
        check(&["-merge_domain_configs=false", "-config_dir", "rules"], Some(("rules", false)));
        check(&["-merge_domain_configs", "true", "-config_dir", "rules"], None);
        check(&["-merge_domain_configs=maybe", "-config_dir", "rules"], None);
        check(&["-config_dir", "rules", "-other"], None);
        check(&[], None);
    }
}
