//! A management server that is spoken to in secret, and wants to know by whom.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::{follow, shop};
use crate::support::certs::Authority;
use crate::support::xds::Management;

fn words(directory: &Path, ca: &Path) -> Vec<String> {
    let file = |name: &str| directory.join(name).display().to_string();
    vec![
        "CONFIG_GRPC_XDS_SERVER_USE_TLS=true".to_owned(),
        format!("CONFIG_GRPC_XDS_CLIENT_TLS_CERT={}", file("tls.crt")),
        format!("CONFIG_GRPC_XDS_CLIENT_TLS_KEY={}", file("tls.key")),
        format!("CONFIG_GRPC_XDS_SERVER_TLS_CACERT={}", ca.display()),
    ]
}

#[tokio::test]
async fn a_rotated_certificate_is_shown_at_the_next_connection() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let identity = authority.issue("server", &["127.0.0.1"]);
    let old = authority.issue_into(directory.path(), "tls", &["client"]);
    let old = CertificateDer::from_pem_file(old.certificate).unwrap();
    let mut server = Management::start_tls(&authority, &identity).await;
    let words = words(directory.path(), &authority.ca());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let follower = follow(server.address(), &words);
    let mut stream = server.stream().await;
    stream.request().await;
    assert_eq!(stream.peer, Some(old.clone()));
    stream.send("1", "a", &[shop(5)]).await;
    stream.request().await;
    assert_eq!(follower.limits(), ["shop.user: 5/YEAR"]);
    let new = authority.issue_into(directory.path(), "tls", &["client"]);
    let new = CertificateDer::from_pem_file(new.certificate).unwrap();
    stream.fail(tonic::Status::unavailable("the certificate is old")).await;
    let stream = server.stream().await;
    assert_ne!(old, new);
    assert_eq!(stream.peer, Some(new));
}

#[tokio::test]
async fn the_name_in_the_certificate_counts() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let identity = authority.issue("server", &["envoy-gateway"]);
    authority.issue_into(directory.path(), "tls", &["client"]);
    let mut server = Management::start_tls(&authority, &identity).await;
    let mut words = words(directory.path(), &authority.ca());
    let refused = {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let follower = follow(server.address(), &words);
        follower.until(|facts| facts.rules.xds.as_ref().unwrap().fault.is_some()).await
    };
    let fault = refused.rules.xds.unwrap().fault.unwrap();
    assert!(fault.contains("certificate"), "{fault}");
    words.push("CONFIG_GRPC_XDS_SERVER_TLS_SAN=envoy-gateway".to_owned());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let _follower = follow(server.address(), &words);
    server.stream().await.request().await;
}

#[tokio::test]
async fn files_that_are_missing_are_named() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let identity = authority.issue("server", &["127.0.0.1"]);
    let mut server = Management::start_tls(&authority, &identity).await;
    let words = words(directory.path(), &authority.ca());
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let follower = follow(format!("https://{}", server.address()), &words);
    let facts = follower.until(|facts| facts.rules.xds.as_ref().unwrap().fault.is_some()).await;
    let fault = facts.rules.xds.unwrap().fault.unwrap();
    assert!(fault.contains("tls.crt"), "{fault}");
    authority.issue_into(directory.path(), "tls", &["client"]);
    server.stream().await.request().await;
}
