//! The part of the table that bounds connections, requests under way, and who may look.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Reader;
use crate::server::Transport;
use crate::store::secret::Secret;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const MIB: usize = 1024 * 1024;

/// Reads what peers may hold and how long they may take.
pub(super) fn read(r: &mut Reader<'_>) -> Transport {
    let Transport {
        max_streams,
        max_header_bytes,
        max_pending_resets,
        max_unfinished_bytes,
        handshake_timeout,
        request_timeout,
        write_timeout,
        idle_timeout,
        keepalive_interval,
        keepalive_timeout,
    } = Transport::default();
    let times = SECOND / 10..=HOUR;
    Transport {
        max_streams: r.within(
            "TIDEGATE_MAX_STREAMS",
            max_streams,
            1..=1_000_000,
            "Calls that a gRPC connection may have open; clients open another connection, or wait.",
        ),
        max_header_bytes: r.within(
            "TIDEGATE_MAX_HEADER_BYTES",
            max_header_bytes,
            8 * 1024..=1024 * 1024,
            "Bytes of the headers of a request, over gRPC and HTTP.",
        ),
        max_pending_resets: r.within(
            "TIDEGATE_MAX_PENDING_RESETS",
            max_pending_resets,
            1..=100_000,
            "Calls that a peer may take back before they were looked at; beyond it the \
             connection is closed (HTTP/2 rapid reset).",
        ),
        max_unfinished_bytes: r.within(
            "TIDEGATE_MAX_UNFINISHED_BYTES",
            max_unfinished_bytes,
            MIB..=1024 * 1024 * MIB,
            "Bytes of all requests whose end has not come; beyond it they are refused. Requests \
             that come in one piece do not count.",
        ),
        handshake_timeout: r.within(
            "TIDEGATE_HANDSHAKE_TIMEOUT",
            handshake_timeout,
            times.clone(),
            "How long a TLS handshake may take, and after it the first words of HTTP.",
        ),
        request_timeout: r.within(
            "TIDEGATE_REQUEST_TIMEOUT",
            request_timeout,
            times.clone(),
            "How long the rest of a request may take to come once it has begun; over HTTP also \
             its head, and the answer.",
        ),
        write_timeout: r.within(
            "TIDEGATE_WRITE_TIMEOUT",
            write_timeout,
            times.clone(),
            "A peer that takes nothing of what is sent to it for this long is cut.",
        ),
        idle_timeout: optional(r.within(
            "TIDEGATE_IDLE_TIMEOUT",
            idle_timeout.unwrap_or_default(),
            Duration::ZERO..=1000 * HOUR,
            "A gRPC connection that has no calls for this long, and at most twice this long, is \
             told to go; 0 means never. Over HTTP it is `TIDEGATE_REQUEST_TIMEOUT`.",
        )),
        keepalive_interval: optional(r.within(
            "TIDEGATE_KEEPALIVE_INTERVAL",
            keepalive_interval.unwrap_or_default(),
            Duration::ZERO..=HOUR,
            "A silent gRPC peer is asked for a sign of life this often; 0 means never.",
        )),
        keepalive_timeout: r.within(
            "TIDEGATE_KEEPALIVE_TIMEOUT",
            keepalive_timeout,
            times,
            "It is cut if it gives none for this long; so is an idle peer that was told to go.",
        ),
    }
}

fn optional(time: Duration) -> Option<Duration> {
    Some(time).filter(|time| !time.is_zero())
}

/// Reads how many requests are decided at a time.
pub(super) fn max_decisions(r: &mut Reader<'_>) -> usize {
    r.within(
        "TIDEGATE_MAX_DECISIONS",
        16 * 1024,
        1..=10_000_000,
        "Requests that are decided at a time, over gRPC and HTTP; beyond it a request is refused \
         at once with RESOURCE_EXHAUSTED, or 503.",
    )
}

/// What must be shown to look inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminToken {
    /// This.
    Text(Secret),
    /// What that file holds, without white space around it.
    File(PathBuf),
}

/// What a token may be, so that it can be sent and not be guessed.
pub(crate) const TOKEN: &str = "16 visible ASCII characters or more";

/// Whether `text` may be a token.
pub(crate) fn is_token(text: &str) -> bool {
    text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Reads what must be shown to look inside; `None`: nothing.
pub(super) fn admin_token(r: &mut Reader<'_>) -> Option<AdminToken> {
    const TEXT: &str = "TIDEGATE_ADMIN_TOKEN";
    const FILE: &str = "TIDEGATE_ADMIN_TOKEN_FILE";
    let text = r.secret(
        TEXT,
        "If it is set, whoever asks the debug listener or for metrics must show it: \
         `Authorization: Bearer` and the token, 16 visible ASCII characters or more.",
    );
    let file = r.optional::<String>(FILE, "The file that holds it; read at the start.");
    match (text, file) {
        (None, None) => None,
        (Some(_), Some(_)) => {
            r.refuse(FILE, "a value beside TIDEGATE_ADMIN_TOKEN", "one of them");
            None
        }
        (Some(text), None) => {
            // An empty one must not open what somebody meant to close.
            if !is_token(text.expose()) {
                r.refuse(TEXT, "something else", TOKEN);
            }
            Some(AdminToken::Text(text))
        }
        (None, Some(file)) => {
            if file.is_empty() {
                r.refuse(FILE, "nothing", "the path of a file");
            }
            Some(AdminToken::File(file.into()))
        }
    }
}
