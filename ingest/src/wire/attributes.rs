//! Free attributes: a bounded map of strings; numbers and booleans become their text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::value::Value;
use crate::refusal::{Kind, Refusal, shown};

pub const MAX_ENTRIES: usize = 32;
pub const MAX_KEY_BYTES: usize = 64;
pub const MAX_VALUE_BYTES: usize = 256;

/// In the order they were sent, each key once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attributes<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Attributes<'a> {
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.0
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum()
    }

    fn add(&mut self, key: Cow<'a, str>, value: Value<'a>) -> Result<(), Refusal> {
        let too_large = |what: String| {
            let limits = format!(
                "at most {MAX_ENTRIES} attributes, keys of 1 to {MAX_KEY_BYTES} bytes, values of at most {MAX_VALUE_BYTES} bytes"
            );
            Err(Refusal::new(
                Kind::AttributesTooLarge,
                format!("{what}; send {limits}."),
            ))
        };
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return too_large(format!("`attributes` has a key of {} bytes", key.len()));
        }
        let value = match value {
            Value::Text(text) => text,
            Value::Bool(true) => Cow::Borrowed("true"),
            Value::Bool(false) => Cow::Borrowed("false"),
            Value::Int(number) => Cow::Owned(number.to_string()),
            Value::Float(number) => Cow::Owned(serde_json::to_string(&number).unwrap_or_default()),
            other => {
                return Err(other.wrong_type(
                    &format!("attributes.{key}"),
                    "a string, a number or a boolean",
                ));
            }
        };
        if value.len() > MAX_VALUE_BYTES {
            return too_large(format!("`attributes.{key}` has {} bytes", value.len()));
        }
        if self.0.len() == MAX_ENTRIES {
            return too_large(format!("`attributes` has more than {MAX_ENTRIES} entries"));
        }
        if self.0.iter().any(|(known, _)| *known == key) {
            let detail = format!("`attributes.{}` is given twice; send it once.", shown(&key));
            return Err(Refusal::new(Kind::DuplicateField, detail));
        }
        self.0.push((key, value));
        Ok(())
    }
}

impl serde::Serialize for Attributes<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

/// Attributes as read, or what is wrong with them.
pub(super) struct Read<'a>(pub Result<Attributes<'a>, Refusal>);

impl<'de: 'a, 'a> Deserialize<'de> for Read<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadVisitor).map(Read)
    }
}

struct ReadVisitor;

impl<'de> Visitor<'de> for ReadVisitor {
    type Value = Result<Attributes<'de>, Refusal>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut attributes = Attributes::default();
        while let Some((Value::Text(key), value)) = map.next_entry::<Value<'de>, Value<'de>>()? {
            if let Err(refusal) = attributes.add(key, value) {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok(Err(refusal));
            }
        }
        Ok(Ok(attributes))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Ok(Attributes::default()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Err(wrong_type(&Value::Bool(value))))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Err(wrong_type(&Value::Int(value))))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Err(wrong_type(&Value::Int(0))))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Err(wrong_type(&Value::Float(value))))
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Err(wrong_type(&Value::Text(Cow::Borrowed("")))))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Err(wrong_type(&Value::Array)))
    }
}

fn wrong_type(value: &Value<'_>) -> Refusal {
    value.wrong_type("attributes", "an object of strings, numbers and booleans")
}
