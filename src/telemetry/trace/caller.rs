//! What a caller says of its own trace, in the headers of W3C or of B3.
//!
//! Nothing is allocated, and what does not follow its format word for word counts as not
//! said: a caller cannot make a trace by mistake, nor stop one.

use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
const B3: HeaderName = HeaderName::from_static("b3");
const B3_TRACE: HeaderName = HeaderName::from_static("x-b3-traceid");
const B3_SPAN: HeaderName = HeaderName::from_static("x-b3-spanid");
const B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
const B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// The longest `tracestate` that is kept, in bytes: what the standard asks for.
const MAX_STATE: usize = 512;

/// The trace that a caller's request is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its number; 0 if it said no more than whether to sample.
    pub trace: u128,
    /// The caller's span.
    pub span: u64,
    /// Whether the caller samples it, if that was said.
    pub sampled: Option<bool>,
    /// The `tracestate`, of W3C only.
    pub state: Option<HeaderValue>,
    format: Format,
}

/// A way to say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `traceparent` and `tracestate`.
    W3c,
    /// `b3`, or `x-b3-traceid` and its siblings.
    B3,
}

/// The formats that are read. Where a request has several, the last of them counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Formats(pub SmallVec<[Format; 2]>);

impl Formats {
    /// What the headers say.
    pub(super) fn read(&self, headers: &HeaderMap) -> Option<Caller> {
        self.0.iter().rev().find_map(|format| match format {
            Format::W3c => traceparent(one(headers, &TRACEPARENT)?),
            Format::B3 => b3(headers),
        })
    }
}

impl Caller {
    /// Whether it named a trace.
    pub fn is_known(&self) -> bool {
        self.trace != 0
    }

    /// With the state that stands beside it, for a call that is traced.
    pub(super) fn with_state(self, headers: &HeaderMap) -> Self {
        let state = (self.format == Format::W3c).then(|| headers.get(TRACESTATE)).flatten();
        let state = state.filter(|state| state.len() <= MAX_STATE && state.to_str().is_ok());
        Self { state: state.cloned(), ..self }
    }

    fn new((trace, span): (u128, u64), sampled: Option<bool>, format: Format) -> Option<Self> {
        let is_whole = trace != 0 && span != 0;
        is_whole.then_some(Self { trace, span, sampled, state: None, format })
    }

    /// A caller that says no more than whether to sample.
    fn deciding(sampled: Option<bool>) -> Option<Self> {
        sampled?;
        Some(Self { trace: 0, span: 0, sampled, state: None, format: Format::B3 })
    }
}

/// The value of a header that must stand alone.
fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok().map(str::trim)
}

/// `00-<trace>-<span>-<flags>`; a later version may say more after it.
fn traceparent(text: &str) -> Option<Caller> {
    let is_lower = |c: char| c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c);
    let head = text.get(..55).filter(|head| head.chars().all(is_lower))?;
    let rest = &text[55..];
    let mut parts = head.split('-');
    let version = hex(parts.next()?, 2)?;
    let ids = (hex(parts.next()?, 32)?, hex(parts.next()?, 16)? as u64);
    let flags = hex(parts.next()?, 2)?;
    let is_end = match version {
        0 => rest.is_empty(),
        255 => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    if !is_end || parts.next().is_some() {
        return None;
    }
    Caller::new(ids, Some(flags & 1 == 1), Format::W3c)
}

/// One header, or else several.
fn b3(headers: &HeaderMap) -> Option<Caller> {
    if let Some(text) = one(headers, &B3) {
        return single(text);
    }
    let debug = one(headers, &B3_FLAGS).is_some_and(|flags| flags == "1");
    let sampled = match one(headers, &B3_SAMPLED) {
        _ if debug => Some(true),
        Some(said) => Some(decision(said)?),
        None => None,
    };
    match (one(headers, &B3_TRACE), one(headers, &B3_SPAN)) {
        (Some(trace), Some(span)) => {
            Caller::new((trace_id(trace)?, hex(span, 16)? as u64), sampled, Format::B3)
        }
        (None, None) => Caller::deciding(sampled),
        _ => None,
    }
}

/// `<trace>-<span>`, with `-<decision>` and `-<parent>` after it; or the decision alone.
fn single(text: &str) -> Option<Caller> {
    let mut parts = text.split('-');
    let first = parts.next()?;
    let Some(span) = parts.next() else { return Caller::deciding(decision(first)) };
    let sampled = match parts.next() {
        Some(said) => Some(decision(said)?),
        None => None,
    };
    if parts.next().is_some_and(|parent| hex(parent, 16).is_none()) || parts.next().is_some() {
        return None;
    }
    Caller::new((trace_id(first)?, hex(span, 16)? as u64), sampled, Format::B3)
}

fn decision(text: &str) -> Option<bool> {
    match text {
        "1" | "d" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

/// 64 or 128 bits.
fn trace_id(text: &str) -> Option<u128> {
    hex(text, 32).or_else(|| hex(text, 16))
}

/// A number of just so many digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_hex.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
    const SPAN: u64 = 0x00f0_67aa_0ba9_02b7;

    fn read(formats: &[Format], headers: &[(&'static str, &'static str)]) -> Option<Caller> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Formats(formats.into()).read(&map)
    }

    #[test]
    fn callers_are_read_word_for_word() {
        let check = |headers: &[(&'static str, &'static str)], expected| {
            let caller = read(&[Format::W3c, Format::B3], headers);
            let caller = caller.map(|caller| (caller.trace, caller.span, caller.sampled));
            assert_eq!(caller, expected, "{headers:?}");
        };
        let on = Some((TRACE, SPAN, Some(true)));
        let off = Some((TRACE, SPAN, Some(false)));
        let open = Some((TRACE, SPAN, None));
        check(&[], None);
        for (text, expected) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", on),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", off),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", on),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", on),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more", None),
            ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", None),
            ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", None),
            ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1", None),
            ("00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01", None),
            ("", None),
        ] {
            check(&[("traceparent", text)], expected);
        }
        for (text, expected) in [
            ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1", on),
            ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-d", on),
            ("4BF92F3577B34DA6A3CE929D0E0E4736-00F067AA0BA902B7-0", off),
            ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", open),
            ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1-00f067aa0ba902b7", on),
            ("a3ce929d0e0e4736-00f067aa0ba902b7", Some((0xa3ce_929d_0e0e_4736, SPAN, None))),
            ("0", Some((0, 0, Some(false)))),
            ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-2", None),
            ("4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1-", None),
            ("4bf92f3577b34da6a3ce929d0e0e4736", None),
        ] {
            check(&[("b3", text)], expected);
        }
        let ids = [
            ("x-b3-traceid", "4bf92f3577b34da6a3ce929d0e0e4736"),
            ("x-b3-spanid", "00f067aa0ba902b7"),
        ];
        check(&ids, open);
        check(&ids[..1], None);
        check(&[ids[0], ids[1], ("x-b3-sampled", "1")], on);
        check(&[ids[0], ids[1], ("x-b3-sampled", "0")], off);
        check(&[ids[0], ids[1], ("x-b3-sampled", "0"), ("x-b3-flags", "1")], on);
        check(&[("x-b3-sampled", "0")], Some((0, 0, Some(false))));
        // A header that stands there twice says nothing.
        check(&[("x-b3-sampled", "0"), ("x-b3-sampled", "1")], None);
    }

    #[test]
    fn the_last_format_that_says_something_counts() {
        let both = [
            ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            ("b3", "0"),
        ];
        let sampled = |formats: &[Format]| read(formats, &both).and_then(|c| c.sampled);
        assert_eq!(sampled(&[Format::W3c, Format::B3]), Some(false));
        assert_eq!(sampled(&[Format::B3, Format::W3c]), Some(true));
        assert_eq!(sampled(&[Format::W3c]), Some(true));
        assert_eq!(sampled(&[]), None);
    }
}
