//! Attributes: names with values, as many and as long as may be.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue,
};
use opentelemetry_proto::tonic::resource::v1;

/// How much attributes may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many there are of one thing.
    pub count: usize,
    /// How many characters a text has; more are cut off.
    pub value_length: usize,
    /// How many links a span has.
    pub links: usize,
}

/// Attributes being gathered.
pub(super) struct Attributes {
    limits: Limits,
    pub(super) list: Vec<KeyValue>,
    pub(super) dropped: u32,
}

/// Who sends.
pub(super) struct Resource(v1::Resource);

impl Default for Limits {
    fn default() -> Self {
        Self { count: 128, value_length: usize::MAX, links: 128 }
    }
}

impl Attributes {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, list: Vec::new(), dropped: 0 }
    }

    /// The same, with room for so many.
    pub(super) fn with_room(limits: Limits, count: usize) -> Self {
        Self { list: Vec::with_capacity(count), ..Self::new(limits) }
    }

    pub(super) fn text(&mut self, key: &str, text: &str) {
        let value = self.cut(text);
        self.add(key, value);
    }

    pub(super) fn texts<'t>(&mut self, key: &str, texts: impl Iterator<Item = &'t str>) {
        let values = texts.map(|text| any(self.cut(text))).collect();
        self.add(key, Value::ArrayValue(ArrayValue { values }));
    }

    pub(super) fn number(&mut self, key: &str, number: usize) {
        self.add(key, Value::IntValue(i64::try_from(number).unwrap_or(i64::MAX)));
    }

    pub(super) fn add(&mut self, key: &str, value: Value) {
        if self.list.len() < self.limits.count {
            self.list.push(pair(key, value));
        } else {
            self.dropped += 1;
        }
    }

    fn cut(&self, text: &str) -> Value {
        // Whoever has no more bytes than that has no more characters.
        let is_long = text.len() > self.limits.value_length;
        let end = is_long.then(|| text.char_indices().nth(self.limits.value_length));
        let end = end.flatten().map(|(end, _)| end);
        Value::StringValue(text[..end.unwrap_or(text.len())].to_owned())
    }
}

impl Resource {
    pub(super) fn new(pairs: &[(String, String)]) -> Self {
        let pairs = pairs.iter().map(|(key, value)| pair(key, Value::StringValue(value.clone())));
        Self(v1::Resource { attributes: pairs.collect(), ..v1::Resource::default() })
    }

    /// For a message.
    pub(super) fn some(&self) -> Option<v1::Resource> {
        Some(self.0.clone())
    }
}

/// What names this program as the source.
pub(super) fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    })
}

/// One attribute.
pub(super) fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(any(value)), ..KeyValue::default() }
}

/// A value.
pub(super) fn any(value: Value) -> AnyValue {
    AnyValue { value: Some(value) }
}
