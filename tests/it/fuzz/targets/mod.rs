//! What strangers can say to the process, each kind a plain function of bytes.
//!
//! A target takes any bytes: it must not panic, hang or take much memory, and where the
//! answer has properties it checks them. It is pure: the same bytes do the same again. It
//! tells whether the bytes were [`Outcome::Taken`], so that whoever feeds it can see that
//! not everything is refused at the door. Where bytes come from is `input`'s business, or
//! libFuzzer's (`fuzz/`), which takes this directory as it is.

pub(crate) mod address;
pub(crate) mod discovery;
pub(crate) mod environment;
pub(crate) mod json;
pub(crate) mod mapping;
pub(crate) mod memcached;
pub(crate) mod message;
pub(crate) mod redis_reply;
pub(crate) mod rules;
mod front;
mod request;
mod resp;
mod words;

/// What became of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// They meant something and were used.
    Taken,
    /// They were refused with a reason.
    Refused,
}
