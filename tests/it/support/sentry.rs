//! A Sentry that keeps what it is sent.

use std::sync::{Arc, Condvar, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use serde_json::Value;
use tokio::net::TcpListener;

use super::process::PATIENCE;

/// A server that speaks Sentry's protocol; it ends with the test's runtime.
pub(crate) struct Sentry {
    port: u16,
    inbox: Arc<Inbox>,
}

/// What was sent, envelope by envelope.
#[derive(Default)]
struct Inbox {
    envelopes: Mutex<Vec<String>>,
    arrived: Condvar,
}

impl Sentry {
    /// Listens at a port of its own.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inbox = Arc::new(Inbox::default());
        let router =
            Router::new().route("/api/7/envelope/", post(keep)).with_state(Arc::clone(&inbox));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, inbox }
    }

    /// What to set SENTRY_DSN to; `MARKEDKEY` is its key.
    pub(crate) fn dsn(&self) -> String {
        format!("http://MARKEDKEY@127.0.0.1:{}/7", self.port)
    }

    /// Everything so far, as it came.
    pub(crate) fn text(&self) -> String {
        self.inbox.envelopes.lock().unwrap().concat()
    }

    /// The events so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.items("event")
    }

    /// The items of a type so far.
    pub(crate) fn items(&self, kind: &str) -> Vec<Value> {
        let envelopes = self.inbox.envelopes.lock().unwrap();
        envelopes.iter().flat_map(|envelope| items(envelope, kind)).collect()
    }

    /// Waits for an event.
    pub(crate) fn wait_for(&self, mut is_it: impl FnMut(&Value) -> bool) -> Value {
        let envelopes = self.inbox.envelopes.lock().unwrap();
        let mut found = None;
        let is_missing = |envelopes: &mut Vec<String>| {
            let mut events = envelopes.iter().flat_map(|envelope| items(envelope, "event"));
            found = events.find(|event| is_it(event));
            found.is_none()
        };
        drop(self.inbox.arrived.wait_timeout_while(envelopes, PATIENCE, is_missing).unwrap());
        found.unwrap_or_else(|| panic!("no such event in:\n{}", self.text()))
    }
}

async fn keep(State(inbox): State<Arc<Inbox>>, body: Bytes) -> &'static str {
    inbox.envelopes.lock().unwrap().push(String::from_utf8(body.to_vec()).unwrap());
    inbox.arrived.notify_all();
    "{}"
}

/// The items of a type in an envelope: a line for its head, then for each item two lines.
fn items(envelope: &str, kind: &str) -> Vec<Value> {
    let lines: Vec<Value> =
        envelope.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let pairs = lines.windows(2).filter(|pair| pair[0]["type"] == kind);
    pairs.map(|pair| pair[1].clone()).collect()
}
