//! A connection as the server has it: commands come in, replies and messages go out, each
//! after a while and in order; or nothing does any more, and nobody says so.
//!
//! What is lost of a stream is lost from there on: single commands or replies never are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use tidegate::limiter::COUNT_MAX;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};

use super::super::wire::{Fate, Wire};
use super::{Redis, State, keyspace, lua, resp};

/// What is on its way to a client.
pub(super) struct Outgoing {
    arrives: Instant,
    bytes: Vec<u8>,
    /// The counter that this tells of.
    tells: Option<Vec<u8>>,
}

/// Who hears of what is given back.
pub(super) struct Subscriber {
    session: u64,
    outbox: UnboundedSender<Outgoing>,
}

/// One connection.
pub(crate) struct Session {
    redis: Arc<Redis>,
    wire: Arc<Wire>,
    boot: Option<u64>,
    number: u64,
    outbox: UnboundedSender<Outgoing>,
    /// Nothing comes through any more, in either direction or in that of answers alone.
    is_deaf: AtomicBool,
    is_mute: AtomicBool,
}

impl Session {
    /// Serves a client over this stream until one of them goes.
    pub(crate) async fn serve(redis: Arc<Redis>, wire: Arc<Wire>, stream: DuplexStream) {
        let (outbox, outgoing) = unbounded_channel();
        let (boot, number) = {
            let mut state = redis.state.lock();
            state.sessions += 1;
            (state.is_up.then_some(state.boots), state.sessions)
        };
        let (is_deaf, is_mute) = (AtomicBool::new(false), AtomicBool::new(false));
        let session = Self { redis, wire, boot, number, outbox, is_deaf, is_mute };
        let (reader, writer) = tokio::io::split(stream);
        tokio::select! {
            biased;
            () = session.wire.broken() => {}
            () = session.read(reader) => {}
            () = session.write(writer, outgoing) => {}
        }
        let is_other = |subscriber: &Subscriber| subscriber.session != session.number;
        session.redis.state.lock().subscribers.retain(is_other);
    }

    async fn read(&self, mut reader: ReadHalf<DuplexStream>) {
        let mut bytes = Vec::new();
        while reader.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
            let fate = self.wire.fate();
            pause_until(Instant::now() + fate.there).await;
            // A server that has died meanwhile has not read it.
            if self.redis.boot() != self.boot {
                return;
            }
            if fate.loses_requests || self.wire.is_silent() {
                self.is_deaf.store(true, SeqCst);
            }
            if fate.loses_answers || self.is_deaf.load(SeqCst) {
                self.is_mute.store(true, SeqCst);
            }
            if self.is_deaf.load(SeqCst) {
                bytes.clear();
                continue;
            }
            self.execute(&mut bytes, &fate);
        }
    }

    /// Does what has arrived, in one go.
    fn execute(&self, bytes: &mut Vec<u8>, fate: &Fate) {
        let mut replies = Vec::new();
        while let Some(command) = resp::command(bytes) {
            let words: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
            self.command(&words, &mut replies);
        }
        let arrives = Instant::now() + fate.back;
        // Who does not read any more need not hear it.
        let _ = self.outbox.send(Outgoing { arrives, bytes: replies, tells: None });
    }

    async fn write(
        &self,
        mut writer: WriteHalf<DuplexStream>,
        mut outgoing: UnboundedReceiver<Outgoing>,
    ) {
        while let Some(Outgoing { arrives, bytes, tells }) = outgoing.recv().await {
            pause_until(arrives).await;
            if self.wire.is_silent() {
                self.is_mute.store(true, SeqCst);
            }
            if self.is_mute.load(SeqCst) {
                tells.iter().for_each(|name| self.redis.not_told(name));
            } else if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
    }

    fn command(&self, words: &[&[u8]], out: &mut Vec<u8>) {
        let mut state = self.redis.state.lock();
        match words {
            [b"PING"] => resp::word("PONG", out),
            [b"CLIENT", ..] => resp::word("OK", out),
            [b"HELLO", ..] => out.extend_from_slice(b"%1\r\n$5\r\nproto\r\n:3\r\n"),
            [b"ROLE"] => {
                resp::list(3, out);
                resp::text(b"master", out);
                resp::number(0, out);
                resp::list(0, out);
            }
            [b"SUBSCRIBE", channel] => {
                let outbox = self.outbox.clone();
                state.subscribers.push(Subscriber { session: self.number, outbox });
                resp::push(&[b"subscribe", channel], out);
            }
            [b"SCRIPT", b"LOAD", script] => match lua::load(script) {
                Ok(name) => {
                    resp::text(&name, out);
                    state.script = Some(name);
                }
                Err(error) => resp::error(&format!("ERR {error}"), out),
            },
            [b"EVALSHA", name, ..] if state.script.as_deref() != Some(*name) => {
                resp::error("NOSCRIPT No matching script.", out);
            }
            [b"EVALSHA", name, keys, rest @ ..] => {
                let keys = keyspace::integer(keys).and_then(|keys| usize::try_from(keys).ok());
                let (keys, arguments) = rest.split_at(keys.expect("a number of keys"));
                state.context.now = self.redis.at(state.stepped);
                lua::run(name, (keys, arguments), &mut state.context, out);
                state.look_at(keys);
            }
            _ => resp::error("ERR unknown command", out),
        }
    }
}

impl State {
    /// What has become of these counters: none holds more hits than were sent and may have been
    /// spent, so nothing was counted twice or in spite of a refusal; and none stays for ever. Tells who listens of what was given back.
    fn look_at(&mut self, keys: &[&[u8]]) {
        let published = std::mem::take(&mut self.context.published);
        let now = self.context.now;
        for &key in keys {
            let Some(value) = self.context.keys.get(key, now) else { continue };
            let text = String::from_utf8_lossy(value).into_owned();
            let (fixed, hits) = hits_of(&text);
            if fixed {
                self.held.entry(key.to_vec()).or_default().after = hits;
            }
            let sent = self.sent.get(key).copied().unwrap_or_default();
            if hits > sent {
                let key = String::from_utf8_lossy(key);
                self.problem = Some(format!("counted too much: {hits} hits of {sent}: {key}"));
            }
        }
        if let Some(key) = self.context.keys.endless() {
            self.problem = Some(format!("stays for ever: {}", String::from_utf8_lossy(key)));
        }
        for name in published {
            self.held.entry(name.clone()).or_default().given_back = Some(Instant::now());
            let luck: u64 = name.iter().map(|byte| u64::from(*byte)).sum();
            for Subscriber { session, outbox } in &self.subscribers {
                let mut bytes = Vec::new();
                resp::push(&[b"message", b"tidegate:given-back", &name], &mut bytes);
                let arrives = Instant::now() + Duration::from_millis((luck * 7 + session * 3) % 10);
                let _ = outbox.send(Outgoing { arrives, bytes, tells: Some(name.clone()) });
            }
        }
    }
}

async fn pause_until(then: Instant) {
    if then > Instant::now() {
        sleep_until(then).await;
    }
}

/// Whether a value is that of a fixed window, and the hits in it, as far as one can see.
fn hits_of(value: &str) -> (bool, u64) {
    let numbers: Vec<i64> = value.split(' ').filter_map(|number| number.parse().ok()).collect();
    let hits = |number: i64| u64::try_from(number).unwrap_or_default().min(COUNT_MAX);
    match numbers[..] {
        [count] => (true, hits(count)),
        // A sliding window begins in a second; a bucket is full in a microsecond.
        [at, count, _] if at < 1_000_000_000_000 => (false, hits(count)),
        _ => (false, 0),
    }
}
