//! Requests as bytes, made before the first call where memory allows.
//!
//! Pure. A message is what goes into one HTTP/2 DATA frame: five bytes that gRPC puts in
//! front, then the request.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use tidegate::wire::pb::envoy::service::ratelimit::v3::RateLimitRequest;

use super::template::Template;

/// Made ahead are at most this many bytes; otherwise each message is made for its call.
const MAX_AHEAD: u64 = 64 * 1024 * 1024;

/// What every request has in common.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// The domain of the rules.
    pub(super) domain: String,
    /// Used in turn, at least one.
    pub(super) templates: Vec<Template>,
    /// Descriptors of a request.
    pub(super) descriptors: usize,
    /// Hits of each descriptor.
    pub(super) hits: u64,
}

/// The message of each key.
#[derive(Debug)]
pub(super) enum Messages {
    /// All of them, one behind the other, and where each begins; the last entry is the end.
    Ahead(Bytes, Vec<u32>),
    /// Made when asked for.
    Each(Shape),
}

impl Messages {
    /// For the keys 0 to `keys` - 1, `keys` being at least 1.
    pub(super) fn new(shape: Shape, keys: u64) -> Self {
        // No key is written longer than the last.
        let longest = message(&shape, keys - 1).len() as u64;
        if longest.saturating_mul(keys) > MAX_AHEAD {
            return Self::Each(shape);
        }
        let mut all = BytesMut::new();
        let mut starts = vec![0];
        for key in 0..keys {
            all.put(message(&shape, key));
            starts.push(all.len() as u32);
        }
        Self::Ahead(all.freeze(), starts)
    }

    /// The message of `key`, below the number of keys.
    pub(super) fn of(&self, key: u64) -> Bytes {
        match self {
            Self::Ahead(all, starts) => {
                let key = key as usize;
                all.slice(starts[key] as usize..starts[key + 1] as usize)
            }
            Self::Each(shape) => message(shape, key),
        }
    }
}

fn message(shape: &Shape, key: u64) -> Bytes {
    let filled = |(index, template): (usize, &Template)| {
        let mut descriptor = template.fill(key, index);
        // One hit is what is counted when nothing is said, as Envoy does it.
        descriptor.hits_addend = (shape.hits != 1).then_some(shape.hits);
        descriptor
    };
    let templates = shape.templates.iter().cycle().take(shape.descriptors);
    let request = RateLimitRequest {
        domain: shape.domain.clone(),
        descriptors: templates.enumerate().map(filled).collect(),
        hits_addend: 0,
    };
    let length = request.encoded_len();
    let mut bytes = BytesMut::with_capacity(5 + length);
    bytes.put_u8(0); // not compressed
    bytes.put_u32(length as u32);
    bytes.put(request.encode_to_vec().as_slice());
    bytes.freeze()
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    fn shape(templates: &[&str], descriptors: usize, hits: u64) -> Shape {
        let templates = templates.iter().map(|text| text.parse().expect("a template")).collect();
        Shape { domain: "shop".to_owned(), templates, descriptors, hits }
    }

    fn read(message: &Bytes) -> RateLimitRequest {
        assert_eq!(message[0], 0);
        assert_eq!(message[1..5], (message.len() as u32 - 5).to_be_bytes());
        RateLimitRequest::decode(&message[5..]).expect("a request")
    }

    #[test]
    fn a_request_has_its_descriptors_in_turn() {
        let request = read(&message(&shape(&["a=%k", "b=%i"], 3, 1), 9));
        let value = |i: usize| {
            let entry = &request.descriptors[i].entries[0];
            format!("{}={}", entry.key, entry.value)
        };
        assert_eq!(request.domain, "shop");
        assert_eq!([value(0), value(1), value(2)], ["a=9", "b=1", "a=9"]);
        assert_eq!(request.descriptors[0].hits_addend, None);
        assert_eq!(read(&message(&shape(&["a=1"], 1, 0), 0)).descriptors[0].hits_addend, Some(0));
    }

    #[test]
    fn made_ahead_or_not_they_are_the_same() {
        let shape = shape(&["user=%k"], 2, 3);
        let ahead = Messages::new(shape.clone(), 1001);
        assert!(matches!(ahead, Messages::Ahead(..)));
        for key in [0, 9, 10, 999, 1000] {
            assert_eq!(ahead.of(key), Messages::Each(shape.clone()).of(key), "{key}");
        }
        assert!(matches!(Messages::new(shape, 10_000_000), Messages::Each(_)));
    }
}
