//! One fix, as sent.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::attributes::{Attributes, Read};
use super::value::Value;
use crate::refusal::{Kind, Refusal, shown};

/// The fields of a fix, each of the right type where it is there; nothing else is checked.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fix<'a> {
    pub id: Option<Cow<'a, str>>,
    pub device: Option<Cow<'a, str>>,
    pub tenant: Option<Cow<'a, str>>,
    pub session: Option<Cow<'a, str>>,
    /// Microseconds since 1970, of the years 1970 to 9999.
    pub recorded_at: Option<i64>,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// Metres.
    pub altitude: Option<f64>,
    /// Metres.
    pub accuracy: Option<f64>,
    /// Metres per second.
    pub speed: Option<f64>,
    /// Degrees clockwise from north.
    pub heading: Option<f64>,
    /// From 0 to 1.
    pub battery: Option<f64>,
    pub attributes: Attributes<'a>,
}

/// A fix as read, with the first thing that was wrong with it. What was read is kept all the
/// same: its id names it in the answer, and its tenant is compared.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Item<'a> {
    pub fix: Fix<'a>,
    pub refusal: Option<Refusal>,
}

/// The names a fix's fields have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Field {
    Id,
    Device,
    Tenant,
    Session,
    RecordedAt,
    Latitude,
    Longitude,
    Altitude,
    Accuracy,
    Speed,
    Heading,
    Battery,
    Attributes,
}

impl Field {
    fn of(name: &str) -> Option<(Field, &'static str)> {
        Some(match name {
            "id" => (Field::Id, "id"),
            "device_id" => (Field::Device, "device_id"),
            "tenant" => (Field::Tenant, "tenant"),
            "session_id" => (Field::Session, "session_id"),
            "recorded_at" => (Field::RecordedAt, "recorded_at"),
            "lat" => (Field::Latitude, "lat"),
            "latitude" => (Field::Latitude, "latitude"),
            "lon" => (Field::Longitude, "lon"),
            "longitude" => (Field::Longitude, "longitude"),
            "altitude" => (Field::Altitude, "altitude"),
            "accuracy" => (Field::Accuracy, "accuracy"),
            "speed" => (Field::Speed, "speed"),
            "heading" => (Field::Heading, "heading"),
            "battery" => (Field::Battery, "battery"),
            "attributes" => (Field::Attributes, "attributes"),
            _ => return None,
        })
    }
}

/// Takes a fix's fields one by one.
#[derive(Default)]
pub(super) struct Builder<'a> {
    item: Item<'a>,
    seen: u16,
}

impl<'a> Builder<'a> {
    /// Reads the value of the field `name` from `map`.
    pub(super) fn field<A: MapAccess<'a>>(
        &mut self,
        name: &str,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let Some((field, name)) = Field::of(name) else {
            map.next_value::<IgnoredAny>()?;
            self.refuse(Kind::UnknownField, || {
                format!(
                    "`{}` is not a field of a fix; leave it out, or put it into `attributes`.",
                    shown(name)
                )
            });
            return Ok(());
        };
        let bit = 1 << field as u16;
        if self.seen & bit != 0 {
            map.next_value::<IgnoredAny>()?;
            self.refuse(Kind::DuplicateField, || {
                format!("`{name}` is given twice; send it once.")
            });
            return Ok(());
        }
        self.seen |= bit;
        let set = if field == Field::Attributes {
            map.next_value::<Read<'a>>()?
                .0
                .map(|attributes| self.item.fix.attributes = attributes)
        } else {
            let value = map.next_value::<Value<'a>>()?;
            set(&mut self.item.fix, field, name, value)
        };
        if let Err(refusal) = set {
            self.item.refusal.get_or_insert(refusal);
        }
        Ok(())
    }

    pub(super) fn build(self) -> Item<'a> {
        self.item
    }

    /// Whether nothing but `tenant` was read: what may stand beside `fixes`.
    pub(super) fn is_envelope(&self) -> bool {
        self.seen & !(1 << Field::Tenant as u16) == 0 && self.item.refusal.is_none()
    }

    fn refuse(&mut self, kind: Kind, detail: impl FnOnce() -> String) {
        self.item
            .refusal
            .get_or_insert_with(|| Refusal::new(kind, detail()));
    }
}

fn set<'a>(
    fix: &mut Fix<'a>,
    field: Field,
    name: &'static str,
    value: Value<'a>,
) -> Result<(), Refusal> {
    match field {
        Field::Id => fix.id = value.text(name)?,
        Field::Device => fix.device = value.text(name)?,
        Field::Tenant => fix.tenant = value.text(name)?,
        Field::Session => fix.session = value.text(name)?,
        Field::RecordedAt => fix.recorded_at = value.time(name)?,
        Field::Latitude => fix.latitude = value.number(name)?,
        Field::Longitude => fix.longitude = value.number(name)?,
        Field::Altitude => fix.altitude = value.number(name)?,
        Field::Accuracy => fix.accuracy = value.number(name)?,
        Field::Speed => fix.speed = value.number(name)?,
        Field::Heading => fix.heading = value.number(name)?,
        Field::Battery => fix.battery = value.number(name)?,
        // Read elsewhere: its value is not a `Value`.
        Field::Attributes => {}
    }
    Ok(())
}

/// A field's name, borrowed unless it is escaped.
pub(super) struct Name<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Text(name) => Ok(Name(name)),
            _ => Err(serde::de::Error::custom("a field's name is a string")),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Item<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ItemVisitor)
    }
}

struct ItemVisitor;

fn not_an_object<'a>() -> Item<'a> {
    let detail = "The fix is not an object; send {\"recorded_at\": …, \"lat\": …, \"lon\": …}.";
    Item {
        refusal: Some(Refusal::new(Kind::NotAnObject, detail)),
        ..Item::default()
    }
}

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a fix")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut builder = Builder::default();
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            builder.field(&name, &mut map)?;
        }
        Ok(builder.build())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(not_an_object())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(not_an_object())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(not_an_object())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(not_an_object())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(not_an_object())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(not_an_object())
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(not_an_object())
    }
}
