//! The bodies of a session's start and stop. Both may be empty.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::attributes::{Attributes, Read};
use super::fix::Name;
use super::value::Value;
use crate::refusal::{Kind, Refusal, shown};

/// `POST /location/session/start`
#[derive(Debug, Default, PartialEq)]
pub struct SessionStart<'a> {
    pub session: Option<Cow<'a, str>>,
    pub device: Option<Cow<'a, str>>,
    pub tenant: Option<Cow<'a, str>>,
    /// Microseconds since 1970.
    pub started_at: Option<i64>,
    pub attributes: Attributes<'a>,
}

/// `POST /location/session/{id}/stop`
#[derive(Debug, Default, PartialEq)]
pub struct SessionStop<'a> {
    pub device: Option<Cow<'a, str>>,
    pub tenant: Option<Cow<'a, str>>,
    /// Microseconds since 1970.
    pub stopped_at: Option<i64>,
    pub attributes: Attributes<'a>,
}

impl<'a> SessionStart<'a> {
    /// Reads a body; the outer error says why it is no JSON object, the inner what is wrong in it.
    pub fn parse(body: &'a [u8]) -> Result<Result<Self, Refusal>, String> {
        read(body, Moment::Start).map(|fields| {
            fields.map(|f| SessionStart {
                session: f.session,
                device: f.device,
                tenant: f.tenant,
                started_at: f.at,
                attributes: f.attributes,
            })
        })
    }
}

impl<'a> SessionStop<'a> {
    /// Reads a body; errors are those of [`SessionStart::parse`].
    pub fn parse(body: &'a [u8]) -> Result<Result<Self, Refusal>, String> {
        read(body, Moment::Stop).map(|fields| {
            fields.map(|f| SessionStop {
                device: f.device,
                tenant: f.tenant,
                stopped_at: f.at,
                attributes: f.attributes,
            })
        })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Moment {
    Start,
    Stop,
}

#[derive(Default)]
struct Fields<'a> {
    session: Option<Cow<'a, str>>,
    device: Option<Cow<'a, str>>,
    tenant: Option<Cow<'a, str>>,
    at: Option<i64>,
    attributes: Attributes<'a>,
}

fn read(body: &[u8], moment: Moment) -> Result<Result<Fields<'_>, Refusal>, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Ok(Fields::default()));
    }
    let parsed: Entries<'_> = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    Ok(parsed.into_fields(moment))
}

/// The object's entries, each known name once.
struct Entries<'a> {
    entries: Vec<(Cow<'a, str>, Value<'a>)>,
    attributes: Option<Result<Attributes<'a>, Refusal>>,
    unknown: Option<Refusal>,
}

impl<'a> Entries<'a> {
    fn into_fields(self, moment: Moment) -> Result<Fields<'a>, Refusal> {
        if let Some(refusal) = self.unknown {
            return Err(refusal);
        }
        let mut fields = Fields {
            attributes: self.attributes.transpose()?.unwrap_or_default(),
            ..Fields::default()
        };
        for (name, value) in self.entries {
            match (&*name, moment) {
                ("session_id", Moment::Start) => fields.session = value.text("session_id")?,
                ("started_at", Moment::Start) => fields.at = value.time("started_at")?,
                ("stopped_at", Moment::Stop) => fields.at = value.time("stopped_at")?,
                ("device_id", _) => fields.device = value.text("device_id")?,
                ("tenant", _) => fields.tenant = value.text("tenant")?,
                _ => return Err(unknown(&name)),
            }
        }
        Ok(fields)
    }
}

fn unknown(name: &str) -> Refusal {
    Refusal::new(
        Kind::UnknownField,
        format!(
            "`{}` is not a field of this request; leave it out, or put it into `attributes`.",
            shown(name)
        ),
    )
}

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut read = Entries {
            entries: Vec::new(),
            attributes: None,
            unknown: None,
        };
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            let known = matches!(
                &*name,
                "session_id" | "started_at" | "stopped_at" | "device_id" | "tenant"
            );
            if name == "attributes" && read.attributes.is_none() {
                read.attributes = Some(map.next_value::<Read<'de>>()?.0);
            } else if known && read.entries.iter().all(|(other, _)| *other != name) {
                read.entries.push((name, map.next_value()?));
            } else {
                map.next_value::<IgnoredAny>()?;
                read.unknown.get_or_insert_with(|| {
                    if known || name == "attributes" {
                        Refusal::new(
                            Kind::DuplicateField,
                            format!("`{name}` is given twice; send it once."),
                        )
                    } else {
                        unknown(&name)
                    }
                });
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_may_be_empty_and_names_what_is_wrong() {
        assert_eq!(SessionStart::parse(b" "), Ok(Ok(SessionStart::default())));
        assert_eq!(SessionStart::parse(b"{}"), Ok(Ok(SessionStart::default())));
        assert!(SessionStart::parse(b"[]").is_err());
        let kind = |body: &'static str| {
            SessionStart::parse(body.as_bytes())
                .unwrap()
                .unwrap_err()
                .kind
        };
        assert_eq!(kind(r#"{"stopped_at":1}"#), Kind::UnknownField);
        assert_eq!(kind(r#"{"other":1}"#), Kind::UnknownField);
        assert_eq!(kind(r#"{"tenant":"a","tenant":"b"}"#), Kind::DuplicateField);
        assert_eq!(kind(r#"{"started_at":true}"#), Kind::WrongType);
        assert_eq!(kind(r#"{"attributes":[]}"#), Kind::WrongType);
    }
}
