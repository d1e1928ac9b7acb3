//! The variables that secure the gRPC listener.

use tidegate::tls::{ClientAuth, Identity, PeerName, ServerTls};

use super::{errors, read};

const FILES: [&str; 3] = [
    "GRPC_SERVER_USE_TLS=true",
    "GRPC_SERVER_TLS_CERT=/a/tls.crt",
    "GRPC_SERVER_TLS_KEY=/b/tls.key",
];

fn with(more: &[&str]) -> (Option<ServerTls>, Vec<String>) {
    let settings = read(&[&FILES, more].concat()).unwrap();
    (settings.grpc.tls, settings.warnings)
}

#[test]
fn it_is_off_until_it_is_switched_on() {
    assert_eq!(read(&[]).unwrap().grpc.tls, None);
    let off = read(&FILES[1..]).unwrap();
    assert_eq!(off.grpc.tls, None);
    assert_eq!(off.warnings.len(), 2, "{:?}", off.warnings);
}

#[test]
fn clients_are_asked_if_their_authority_is_named() {
    let identity = Identity { certificate: "/a/tls.crt".into(), key: "/b/tls.key".into() };
    let expected = |clients| Some(ServerTls { identity: identity.clone(), clients, alpn: "h2" });
    assert_eq!(with(&[]), (expected(None), vec![]));
    assert_eq!(with(&["GRPC_CLIENT_TLS_CACERT="]), (expected(None), vec![]));
    let ca = "GRPC_CLIENT_TLS_CACERT=/c/ca.crt";
    let clients = |name| Some(ClientAuth { ca: "/c/ca.crt".into(), name });
    assert_eq!(with(&[ca]), (expected(clients(None)), vec![]));
    let name = |text: &str| PeerName::parse(text);
    for text in ["a.test", "10.0.0.1", "::1", "spiffe://cluster.local/ns/a"] {
        let san = format!("GRPC_CLIENT_TLS_SAN={text}");
        assert_eq!(with(&[ca, &san]), (expected(clients(name(text))), vec![]), "{text}");
        assert_eq!(name(text).unwrap().text(), text);
    }
    let (tls, warnings) = with(&["GRPC_CLIENT_TLS_SAN=a.test"]);
    assert_eq!((tls, warnings.len()), (expected(None), 1));
    let (tls, warnings) = with(&["GRPC_SERVER_TLS_CA_CERT=/c/ca.crt"]);
    assert_eq!((tls, warnings.len()), (expected(None), 1));
    assert_eq!(with(&["GRPC_SERVER_TLS_CA_CERT=/c/ca.crt", ca]), (expected(clients(None)), vec![]));
}

#[test]
fn half_of_it_is_an_error() {
    assert_eq!(errors(&FILES[..1]).len(), 2);
    assert_eq!(errors(&FILES[..2]).len(), 1);
    assert_eq!(errors(&["GRPC_SERVER_USE_TLS=yes"]).len(), 1);
    for text in ["a b", "://x", "spiffe://", "spiffe://a b", "*.test", "-", "a..b"] {
        let san = format!("GRPC_CLIENT_TLS_SAN={text}");
        assert_eq!(errors(&[&FILES[..], &[&san]].concat()).len(), 1, "{text}");
    }
}
