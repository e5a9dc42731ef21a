//! Any JSON value, its text borrowed. Arrays and objects are passed over.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::refusal::{Kind, Refusal, shown};

#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'a, str>),
    Array,
    Object,
}

impl<'a> Value<'a> {
    fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a string",
            Value::Array => "an array",
            Value::Object => "an object",
        }
    }

    pub(crate) fn wrong_type(&self, field: &str, wanted: &str) -> Refusal {
        Refusal::new(
            Kind::WrongType,
            format!("`{field}` is {}; send {wanted}.", self.type_name()),
        )
    }

    /// A number; `null` is as good as absent.
    pub fn number(self, field: &'static str) -> Result<Option<f64>, Refusal> {
        let number = match self {
            Value::Null => return Ok(None),
            #[expect(
                clippy::cast_precision_loss,
                reason = "no measurement has 53 significant bits"
            )]
            Value::Int(value) => value as f64,
            Value::Float(value) => value,
            Value::Text(ref text) if is_non_finite(text) => f64::NAN,
            other => return Err(other.wrong_type(field, "a number")),
        };
        if number.is_finite() {
            Ok(Some(number))
        } else {
            Err(Refusal::new(
                Kind::NotFinite,
                format!("`{field}` is not a finite number; leave it out where it is unknown."),
            ))
        }
    }

    /// A string; `null` is as good as absent.
    pub fn text(self, field: &'static str) -> Result<Option<Cow<'a, str>>, Refusal> {
        match self {
            Value::Null => Ok(None),
            Value::Text(text) => Ok(Some(text)),
            other => Err(other.wrong_type(field, "a string")),
        }
    }

    /// A point in time, in microseconds since 1970; `null` is as good as absent.
    pub fn time(self, field: &'static str) -> Result<Option<i64>, Refusal> {
        let invalid = |reason: String| {
            Refusal::new(
                Kind::InvalidTime,
                format!(
                    "`{field}` {reason}; send RFC 3339 or integer milliseconds since 1970, in the years 1970 to 9999."
                ),
            )
        };
        match self {
            Value::Null => Ok(None),
            Value::Int(ms) => ms
                .checked_mul(1000)
                .filter(|us| (0..=super::MAX_US).contains(us))
                .map(Some)
                .ok_or_else(|| invalid(format!("is {ms} ms"))),
            Value::Text(text) => super::parse_rfc3339_us(&text)
                .map(Some)
                .ok_or_else(|| invalid(format!("is `{}`", shown(&text)))),
            other => Err(other.wrong_type(field, "RFC 3339 or integer milliseconds since 1970")),
        }
    }
}

/// What programs write for numbers that JSON cannot hold.
pub(super) fn is_non_finite(text: &str) -> bool {
    let magnitude = text.strip_prefix(['-', '+']).unwrap_or(text);
    ["nan", "inf", "infinity"]
        .iter()
        .any(|name| magnitude.eq_ignore_ascii_case(name))
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyVisitor)
    }
}

struct AnyVisitor;

impl<'de> Visitor<'de> for AnyVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "out of the range of every integer field anyway"
        )]
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Object)
    }
}
