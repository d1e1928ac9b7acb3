//! Certificates are replaced while calls flow.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use tidegate::tls::Identity;
use tokio::task::JoinSet;

use super::{hit, serving, showing, shown, trusting};
use crate::support::certs::Authority;
use crate::support::clients::Client;
use crate::support::process::{PATIENCE, Tidegate, eventually};

/// The time between two looks at what nobody announces.
const PAUSE: Duration = Duration::from_millis(20);

const FAILURES: &str = "tidegate_tls_reload_failures_total";

/// The certificate of a PEM file, in DER.
fn der(identity: &Identity) -> Vec<u8> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_file(&identity.certificate).expect("a certificate").to_vec()
}

/// Waits until new connections are shown `identity`.
async fn is_shown(tidegate: &Tidegate, authority: &Authority, identity: &Identity) {
    let expected = der(identity);
    let wait = async {
        while shown(tidegate, &trusting(authority)).await != expected {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the new certificate in good time");
}

fn copy(from: &Identity, to: &Identity) {
    fs::copy(&from.certificate, &to.certificate).unwrap();
    fs::copy(&from.key, &to.key).unwrap();
}

/// A secret as Kubernetes mounts it: `tls.crt` and `tls.key` through the link `..data`.
fn flip(volume: &Path, version: &str, from: &Identity) -> Identity {
    fs::create_dir(volume.join(version)).unwrap();
    let at = |dir: &Path| Identity { certificate: dir.join("tls.crt"), key: dir.join("tls.key") };
    copy(from, &at(&volume.join(version)));
    symlink(version, volume.join("..tmp")).unwrap();
    fs::rename(volume.join("..tmp"), volume.join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        let _ = symlink(format!("..data/{name}"), volume.join(name));
    }
    at(volume)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_certificates_are_replaced() {
    let authority = Authority::new();
    let volume = tempfile::tempdir().unwrap();
    let issue = |stem: &str| authority.issue(stem, &["127.0.0.1"]);
    let mounted = flip(volume.path(), "..v0", &issue("v0"));
    let tidegate = Arc::new(serving(&mounted).start());
    let (done, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let tls = trusting(&authority);
    let held = Client::connect_tls(tidegate.grpc(), &tls).await.unwrap();
    let mut callers = JoinSet::new();
    for caller in 0..4 {
        let (tidegate, tls, held) = (Arc::clone(&tidegate), tls.clone(), held.clone());
        let (done, calls) = (Arc::clone(&done), Arc::clone(&calls));
        callers.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                // Some over one connection, some over a new one for every call.
                let code = match caller % 2 {
                    0 => held.hit("user", "bob").await.map_err(|status| format!("{status:?}")),
                    _ => hit(&tidegate, &tls).await,
                };
                assert_eq!(code, Ok(Code::Ok), "caller {caller}");
                calls.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for version in ["..v1", "..v2"] {
        flip(volume.path(), version, &issue(version));
        is_shown(&tidegate, &authority, &mounted).await;
    }
    // In place, one file after the other.
    copy(&issue("v3"), &mounted);
    is_shown(&tidegate, &authority, &mounted).await;
    while calls.load(Ordering::Relaxed) < 100 {
        if let Some(ended) = callers.try_join_next() {
            ended.expect("a caller that goes on");
        }
        tokio::time::sleep(PAUSE).await;
    }
    done.store(true, Ordering::Relaxed);
    callers.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_do_not_serve_leave_the_old_certificate() {
    let authority = Authority::new();
    let issue = |stem: &str| authority.issue(stem, &["127.0.0.1"]);
    let (live, old, new) = (issue("live"), issue("old"), issue("new"));
    copy(&old, &live);
    let tidegate = serving(&live).start();
    let failures = |expected: f64| {
        eventually(format!("{expected} failures"), || {
            (tidegate.metric(FAILURES) == expected).then_some(())
        });
    };
    fs::copy(&new.key, &live.key).unwrap();
    failures(1.0);
    tidegate.wait_for_log(|line| line.contains("\"WARN\"") && line.contains("live.key"));
    assert_eq!(shown(&tidegate, &trusting(&authority)).await, der(&old));
    fs::remove_file(&live.key).unwrap();
    failures(2.0);
    fs::write(&live.certificate, "no certificate").unwrap();
    assert_eq!(shown(&tidegate, &trusting(&authority)).await, der(&old));
    assert_eq!(tidegate.get("/healthcheck").status, 200);
    copy(&new, &live);
    is_shown(&tidegate, &authority, &new).await;
    assert!(!tidegate.log().contains("PRIVATE KEY"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_client_authority_holds_for_new_connections() {
    let (servers, one, two) = (Authority::new(), Authority::new(), Authority::new());
    let ca = servers.dir().join("clients.crt");
    fs::copy(one.ca(), &ca).unwrap();
    let tidegate = serving(&servers.issue("server", &["127.0.0.1"]))
        .env("GRPC_CLIENT_TLS_CACERT", ca.display())
        .start();
    let of = |authority: &Authority| showing(&servers, authority.issue("client", &["a.test"]));
    let (first, second) = (of(&one), of(&two));
    let open = Client::connect_tls(tidegate.grpc(), &first).await.unwrap();
    assert_eq!(open.hit("user", "alice").await.unwrap(), Code::Ok);
    assert!(hit(&tidegate, &second).await.is_err());
    fs::copy(two.ca(), &ca).unwrap();
    tidegate.wait_for_event("TLS files loaded");
    assert_eq!(hit(&tidegate, &second).await, Ok(Code::Ok));
    assert!(hit(&tidegate, &first).await.is_err(), "no longer");
    assert_eq!(open.hit("user", "alice").await.unwrap(), Code::Ok, "it was let in before");
}
