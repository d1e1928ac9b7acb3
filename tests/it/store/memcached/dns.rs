//! Servers by an SRV record, from a name server of the test's own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate::limiter::Action::Spend;
use tidegate::store::memcached::{MemcachedConfig, MemcachedStore, Servers};
use tidegate::store::{Store, StoreError};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::super::values;
use super::{SOON, becomes};
use crate::support::memcached::MemcachedServer;

/// Targets and ports.
type Records = Vec<(&'static str, u16)>;

/// A name server that answers every question with the records it has at the moment; with
/// none, that there is no such name.
struct NameServer {
    address: SocketAddr,
    records: Arc<Mutex<Records>>,
    answers: watch::Receiver<u64>,
    _task: AbortOnDropHandle<()>,
}

impl NameServer {
    async fn start(records: Records) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let records = Arc::new(Mutex::new(records));
        let (answered, answers) = watch::channel(0);
        let task = {
            let records = Arc::clone(&records);
            tokio::spawn(async move {
                let mut buffer = [0; 1500];
                while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                    let answer = answer(&buffer[..length], &records.lock().unwrap());
                    let _ = socket.send_to(&answer, from).await;
                    answered.send_modify(|answers| *answers += 1);
                }
            })
        };
        Self { address, records, answers, _task: AbortOnDropHandle::new(task) }
    }

    fn say(&self, records: Records) {
        *self.records.lock().unwrap() = records;
    }

    /// Waits until that many more questions were answered.
    async fn answers(&self, more: u64) {
        let mut answers = self.answers.clone();
        let wanted = *answers.borrow() + more;
        let asked = tokio::time::timeout(SOON, answers.wait_for(|now| *now >= wanted));
        asked.await.expect("questions").expect("a living name server");
    }

    fn config(&self, refresh: Duration) -> MemcachedConfig {
        let mut servers = Servers::srv("_memcache._tcp.cache.test").unwrap();
        let Servers::Srv(query) = &mut servers else { panic!("no name") };
        query.refresh = refresh;
        query.dns = Some(self.address);
        let mut config = MemcachedConfig::new(servers);
        config.timeout = SOON;
        config
    }
}

/// Header, the question as it came, and a record for each target.
fn answer(question: &[u8], records: &Records) -> Vec<u8> {
    let name = question[12..].iter().position(|byte| *byte == 0).unwrap() + 12;
    let asked = &question[12..name + 5];
    let code = if records.is_empty() { 3 } else { 0 };
    let mut out = question[..2].to_vec();
    out.extend([0x85, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    out.extend(asked);
    for (target, port) in records {
        // A pointer to the name asked for; SRV, IN, an hour.
        out.extend([0xc0, 12, 0, 33, 0, 1, 0, 0, 14, 16]);
        let labels: Vec<u8> = target
            .split('.')
            .flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat())
            .chain([0])
            .collect();
        out.extend(((labels.len() + 6) as u16).to_be_bytes());
        out.extend([0, 1, 0, 1]);
        out.extend(port.to_be_bytes());
        out.extend(labels);
    }
    out
}

#[tokio::test]
async fn targets_are_servers_in_the_order_of_their_text() {
    let (one, other) = (MemcachedServer::start_tcp(), MemcachedServer::start_tcp());
    let mut ports = [one.port(), other.port()];
    let dns = NameServer::start(ports.iter().map(|port| ("localhost", *port)).collect()).await;
    let store = MemcachedStore::connect(dns.config(Duration::ZERO));
    becomes(&store, 2).await;
    assert_eq!(store.probe().await, Ok(()));
    // As text `localhost.:9999` stands after `localhost.:10000`.
    ports.sort_by_key(u16::to_string);
    let first = if ports[0] == one.port() { [&one, &other] } else { [&other, &one] };
    // `zlib.crc32(b"shop_user_alice_0")` and that of bob, modulo 2.
    for (key, place) in [("shop_user_alice_", 1), ("shop_user_bob_", 0), ("shop_user_carol_", 0)] {
        values(&store, 60, &[(key, 3600, Spend(1))]).await;
        assert_eq!(first[place].get(&format!("{key}0")).as_deref(), Some("1"), "{key}");
    }
}

#[tokio::test]
async fn a_name_that_is_not_there_is_asked_for_again() {
    let server = MemcachedServer::start_tcp();
    let dns = NameServer::start(Vec::new()).await;
    let store = MemcachedStore::connect(dns.config(Duration::ZERO));
    let Err(StoreError::Unavailable(text)) = store.probe().await else { panic!("no servers") };
    assert!(text.contains("no memcached servers"), "{text}");
    dns.say(vec![("localhost", server.port())]);
    becomes(&store, 1).await;
    assert_eq!(values(&store, 60, &[("a_", 60, Spend(1))]).await, [1]);
}

#[tokio::test]
async fn a_refresh_brings_servers_and_takes_them_away() {
    let (one, other) = (MemcachedServer::start_tcp(), MemcachedServer::start_tcp());
    let dns = NameServer::start(vec![("localhost", one.port())]).await;
    let store = MemcachedStore::connect(dns.config(Duration::from_millis(20)));
    becomes(&store, 1).await;
    values(&store, 60, &[("a_", 3600, Spend(1))]).await;
    dns.say(vec![("localhost", one.port()), ("localhost", other.port())]);
    becomes(&store, 2).await;
    assert_eq!(store.stats().opened, 2, "the first connection is kept");
    // No answer is no reason to forget the servers.
    dns.say(Vec::new());
    dns.answers(3).await;
    assert_eq!(store.probe().await, Ok(()));
    assert_eq!(store.stats().active, 2);
    dns.say(vec![("localhost", other.port())]);
    becomes(&store, 1).await;
    assert_eq!(values(&store, 60, &[("a_", 3600, Spend(5))]).await, [5], "on the other one");
    assert_eq!(other.get("a_0").as_deref(), Some("5"));
}
