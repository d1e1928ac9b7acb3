//! `tidegate health`: asks a server by the standard health protocol whether it serves, for
//! probes in containers that have no shell and no other program.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tidegate::server::{Address, Endpoint};
use tidegate::settings::Grpc;
use tidegate::tls::NameCheck;
use tidegate::wire::pb::grpc::health::v1::HealthCheckRequest;
use tidegate::wire::pb::grpc::health::v1::health_check_response::ServingStatus;
use tidegate::wire::pb::grpc::health::v1::health_client::HealthClient;

use super::dial::{Dial, Manner};
use super::serve;

/// The question.
#[derive(Args, Debug)]
pub(crate) struct Health {
    /// The server's gRPC address: HOST:PORT, https://HOST:PORT or unix:PATH. Without it the
    /// environment tells, as it tells the server where to listen and whether to speak TLS
    /// (GRPC_HOST, GRPC_PORT, GRPC_UDS, GRPC_SERVER_USE_TLS).
    #[arg(long, value_name = "ADDRESS")]
    server: Option<String>,
    /// The service that is asked for; all that a server knows tell the same.
    #[arg(long, default_value = "", value_name = "NAME")]
    service: String,
    #[command(flatten)]
    manner: Manner,
}

/// Asks and prints the answer. To serve is a success, anything else a failure.
pub(crate) fn run(health: Health) -> anyhow::Result<ExitCode> {
    let Health { server, service, manner } = health;
    let timeout = Duration::from_secs(manner.timeout);
    let dial = match server {
        Some(server) => Dial { server, manner },
        None => own(serve::settings()?.grpc, manner)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(async {
        let asked = tokio::time::timeout(timeout, ask(&dial, service)).await;
        asked.unwrap_or_else(|_| anyhow::bail!("no answer in {timeout:?} from {}", dial.server))
    })?;
    println!("{}", status.as_str_name());
    Ok(if status == ServingStatus::Serving { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn ask(dial: &Dial, service: String) -> anyhow::Result<ServingStatus> {
    let mut client = HealthClient::new(dial.connect().await?);
    let answer = client.check(HealthCheckRequest { service }).await;
    let answer = answer.with_context(|| format!("no answer from {}", dial.server))?;
    Ok(answer.into_inner().status())
}

/// How to reach the server that has this listener, on this machine.
///
/// It is not asked who it is: it is told nothing, and a probe must not fail because an
/// authority is not at hand. Where it wants to know who asks, its own certificate is shown.
fn own(grpc: Grpc, manner: Manner) -> anyhow::Result<Dial> {
    let server = match &grpc.listen {
        Endpoint::Unix(path) => format!("unix:{}", path.display()),
        Endpoint::Tcp(Address { port: 0, .. }) => {
            anyhow::bail!("GRPC_PORT is 0, a free port: say by --server which one it is")
        }
        Endpoint::Tcp(address) => Address { host: near(&address.host), ..*address }.to_string(),
    };
    let Some(tls) = grpc.tls else { return Ok(Dial { server, manner }) };
    let is_stranger = manner.ca.is_none() && manner.server_name.is_none();
    let name_check = if is_stranger { NameCheck::SkipAll } else { NameCheck::Verify };
    let shown = tls.clients.map(|_| tls.identity);
    let (cert, key) = match (manner.cert, manner.key, shown) {
        (None, None, Some(own)) => (Some(own.certificate), Some(own.key)),
        (cert, key, _) => (cert, key),
    };
    Ok(Dial { server, manner: Manner { tls: true, name_check, cert, key, ..manner } })
}

/// A host to reach a listener by that listens there; one that listens everywhere listens
/// near, too.
fn near(host: &str) -> String {
    match host.parse() {
        _ if host.is_empty() => "127.0.0.1".to_owned(),
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => "127.0.0.1".to_owned(),
        Ok(IpAddr::V6(ip)) if ip.is_unspecified() => "::1".to_owned(),
        _ => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_reached_where_it_listens() {
        let check = |host: &str, expected: &str| assert_eq!(near(host), expected, "{host}");
        check("", "127.0.0.1");
        check("0.0.0.0", "127.0.0.1");
        check("::", "::1");
        check("10.0.0.7", "10.0.0.7");
        check("gate.test", "gate.test");
    }
}
