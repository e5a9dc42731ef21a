//! The body of an update: one fix, an array of fixes, or an object that holds one.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::fix::{Builder, Item, Name};

/// Fixes as read.
#[derive(Debug, PartialEq)]
pub struct Batch<'a> {
    pub items: Vec<Item<'a>>,
    /// A tenant named beside `fixes`.
    pub tenant: Option<Cow<'a, str>>,
}

/// Why a body is refused whole.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum BatchError {
    #[error(
        "the body cannot be read as JSON: {0}; send one fix, an array of fixes, or {{\"fixes\": […]}}"
    )]
    Malformed(String),
    #[error("the body has {found} fixes; send at most {limit} at once")]
    TooMany { found: usize, limit: usize },
    #[error("the body holds no fix; send at least one")]
    Empty,
    #[error("beside `fixes` only `tenant` may stand; put other fields into each fix")]
    Mixed,
}

impl<'a> Batch<'a> {
    /// Reads a body of at most `limit` fixes.
    pub fn parse(body: &'a [u8], limit: usize) -> Result<Self, BatchError> {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let malformed = |e: serde_json::Error| BatchError::Malformed(e.to_string());
        let read = Limit(limit)
            .deserialize(&mut deserializer)
            .map_err(malformed)?;
        deserializer.end().map_err(malformed)?;
        if read.mixed {
            return Err(BatchError::Mixed);
        }
        if read.found > limit {
            return Err(BatchError::TooMany {
                found: read.found,
                limit,
            });
        }
        if read.found == 0 {
            return Err(BatchError::Empty);
        }
        Ok(Batch {
            items: read.items,
            tenant: read.tenant,
        })
    }
}

#[derive(Default)]
struct Shape<'a> {
    items: Vec<Item<'a>>,
    found: usize,
    tenant: Option<Cow<'a, str>>,
    /// Fields of a fix, or unknown ones, stand beside `fixes`.
    mixed: bool,
}

#[derive(Clone, Copy)]
struct Limit(usize);

impl<'de> DeserializeSeed<'de> for Limit {
    type Value = Shape<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Limit {
    type Value = Shape<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fix, an array of fixes, or an object that holds `fixes`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut shape = Shape::default();
        while shape.found < self.0 {
            let Some(item) = seq.next_element::<Item<'de>>()? else {
                return Ok(shape);
            };
            shape.items.push(item);
            shape.found += 1;
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            shape.found += 1;
        }
        Ok(shape)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut builder = Builder::default();
        let mut fixes: Option<Shape<'de>> = None;
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            if name == "fixes" && fixes.is_none() {
                fixes = Some(map.next_value_seed(Fixes(self))?);
            } else {
                builder.field(&name, &mut map)?;
            }
        }
        let Some(mut shape) = fixes else {
            return Ok(Shape {
                items: vec![builder.build()],
                found: 1,
                ..Shape::default()
            });
        };
        shape.mixed = !builder.is_envelope();
        shape.tenant = builder.build().fix.tenant;
        Ok(shape)
    }
}

/// The value of `fixes`, which is an array and nothing else.
struct Fixes(Limit);

impl<'de> DeserializeSeed<'de> for Fixes {
    type Value = Shape<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusal::Kind;

    fn kinds(body: &str) -> Vec<Option<Kind>> {
        let batch = Batch::parse(body.as_bytes(), 10).unwrap();
        batch
            .items
            .iter()
            .map(|item| item.refusal.as_ref().map(|r| r.kind))
            .collect()
    }

    #[test]
    fn a_wrong_item_leaves_its_neighbours_alone() {
        let body = r#"[{"lat":1},{"lat":"x"},3,{"lat":1,"latitude":2},{"nope":[{}]},{"attributes":{"a":[]}},
            {"recorded_at":-1},{"lat":"NaN"},{"lat":2,"speed":null}]"#;
        let want = [
            None,
            Some(Kind::WrongType),
            Some(Kind::NotAnObject),
            Some(Kind::DuplicateField),
            Some(Kind::UnknownField),
            Some(Kind::WrongType),
            Some(Kind::InvalidTime),
            Some(Kind::NotFinite),
            None,
        ];
        assert_eq!(kinds(body), want);
    }

    #[test]
    fn the_three_shapes_hold_the_same_fix() {
        let fix = r#"{"id":"a","lat":1.5,"lon":-2,"recorded_at":1700000000000,"attributes":{"n":1,"b":true}}"#;
        let one = Batch::parse(fix.as_bytes(), 10).unwrap();
        let array = format!("[{fix}]");
        assert_eq!(Batch::parse(array.as_bytes(), 10).unwrap(), one);
        let object = format!("{{\"fixes\":[{fix}]}}");
        assert_eq!(Batch::parse(object.as_bytes(), 10).unwrap(), one);
        let attributes: Vec<_> = one.items[0].fix.attributes.iter().collect();
        assert_eq!(attributes, [("n", "1"), ("b", "true")]);
    }

    #[test]
    fn bodies_that_are_no_batch_are_refused_whole() {
        let parse = |body: &'static str| Batch::parse(body.as_bytes(), 2).unwrap_err();
        assert!(matches!(parse("{\"lat\":1"), BatchError::Malformed(_)));
        assert!(matches!(parse("{} x"), BatchError::Malformed(_)));
        assert!(matches!(parse("7"), BatchError::Malformed(_)));
        assert!(matches!(parse("{\"fixes\":{}}"), BatchError::Malformed(_)));
        assert_eq!(parse("[]"), BatchError::Empty);
        assert_eq!(
            parse("[{},{},{}]"),
            BatchError::TooMany { found: 3, limit: 2 }
        );
        assert_eq!(parse("{\"fixes\":[{}],\"lat\":1}"), BatchError::Mixed);
    }
}
