//! The way back, of records that this version's own schema wrote: the fields come in the order
//! in which the type has them.

use std::fmt::Display;
use std::sync::atomic::{AtomicPtr, Ordering};

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor, value::U32Deserializer,
};

/// The names of a schema's fields.
pub(super) struct Layout {
    fields: Vec<String>,
    /// The names of the type that was found to have them last: they never move.
    seen: AtomicPtr<&'static str>,
}

impl Layout {
    pub(super) fn new(fields: Vec<String>) -> Self {
        Layout {
            fields,
            seen: AtomicPtr::default(),
        }
    }

    /// Whether a type has exactly these, in this order.
    fn is_of(&self, names: &'static [&'static str]) -> bool {
        let at = names.as_ptr().cast_mut();
        if self.seen.load(Ordering::Relaxed) == at {
            return names.len() == self.fields.len();
        }
        let same = self.fields.iter().eq(names);
        if same {
            self.seen.store(at, Ordering::Relaxed);
        }
        same
    }
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The type has other fields than the schema, or has them in another order: they have to be
    /// looked up.
    #[error("the type has other fields")]
    OtherFields,
    #[error("{0}")]
    Damaged(String),
}

impl serde::de::Error for Fault {
    fn custom<T: Display>(reason: T) -> Self {
        Fault::Damaged(reason.to_string())
    }
}

type Result<T> = std::result::Result<T, Fault>;

#[cold]
fn damaged<T>(reason: &str) -> Result<T> {
    Err(Fault::Damaged(reason.to_owned()))
}

/// Takes values off the bytes of a record.
pub(super) struct Datum<'de, 'a> {
    rest: &'de [u8],
    layout: &'a Layout,
}

impl<'de, 'a> Datum<'de, 'a> {
    pub(super) fn new(bytes: &'de [u8], layout: &'a Layout) -> Self {
        Datum {
            rest: bytes,
            layout,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    fn byte(&mut self) -> Result<u8> {
        match self.rest.split_first() {
            Some((byte, rest)) => {
                self.rest = rest;
                Ok(*byte)
            }
            None => damaged("it ends within a value"),
        }
    }

    fn take(&mut self, len: usize) -> Result<&'de [u8]> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => damaged("it ends within a value"),
        }
    }

    fn long(&mut self) -> Result<i64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        damaged("a number has more than 64 bits")
    }

    fn len(&mut self) -> Result<usize> {
        match usize::try_from(self.long()?) {
            Ok(len) => Ok(len),
            Err(_) => damaged("a length is negative"),
        }
    }

    fn text(&mut self) -> Result<&'de str> {
        match std::str::from_utf8(self.bytes()?) {
            Ok(text) => Ok(text),
            Err(_) => damaged("a text is not UTF-8"),
        }
    }

    fn bytes(&mut self) -> Result<&'de [u8]> {
        let len = self.len()?;
        self.take(len)
    }
}

impl<'de> Deserializer<'de> for &mut Datum<'de, '_> {
    type Error = Fault;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value> {
        damaged("a type does not say what it is read from")
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.byte()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            _ => damaged("a boolean is neither 0 nor 1"),
        }
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_i64(self.long()?)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_i64(self.long()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        visitor.visit_f64(f64::from_le_bytes(bytes))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_borrowed_bytes(self.bytes()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.long()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            _ => damaged("a union has no such branch"),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_seq(Blocks::new(self))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_map(Blocks::new(self))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        if !self.layout.is_of(names) {
            return Err(Fault::OtherFields);
        }
        visitor.visit_seq(Fields(self))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_enum(self)
    }

    serde::forward_to_deserialize_any! {
        i8 i16 u8 u16 u32 u64 f32 char unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

/// The fields of a record, which says nothing of how many they are: the type does.
struct Fields<'b, 'de, 'a>(&'b mut Datum<'de, 'a>);

impl<'de> SeqAccess<'de> for Fields<'_, 'de, '_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        seed.deserialize(&mut *self.0).map(Some)
    }
}

/// The items of an array or a map.
struct Blocks<'b, 'de, 'a> {
    datum: &'b mut Datum<'de, 'a>,
    /// Items of the block that are still to come.
    left: u64,
    ended: bool,
}

impl<'b, 'de, 'a> Blocks<'b, 'de, 'a> {
    fn new(datum: &'b mut Datum<'de, 'a>) -> Self {
        Blocks {
            datum,
            left: 0,
            ended: false,
        }
    }

    /// Whether another item comes. Each takes a byte at least, so a count that is damaged runs
    /// into the end of the record.
    fn advance(&mut self) -> Result<bool> {
        if self.left == 0 && !self.ended {
            let count = self.datum.long()?;
            if count < 0 {
                // The block's length in bytes follows.
                self.datum.long()?;
            }
            self.left = count.unsigned_abs();
            self.ended = count == 0;
        }
        self.left = self.left.saturating_sub(1);
        Ok(!self.ended)
    }
}

impl<'de> SeqAccess<'de> for Blocks<'_, 'de, '_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>> {
        if !self.advance()? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.datum).map(Some)
    }
}

impl<'de> MapAccess<'de> for Blocks<'_, 'de, '_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>> {
        if !self.advance()? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.datum).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value> {
        seed.deserialize(&mut *self.datum)
    }
}

impl<'de> EnumAccess<'de> for &mut Datum<'de, '_> {
    type Error = Fault;
    type Variant = Symbol;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Symbol)> {
        let Ok(index) = u32::try_from(self.long()?) else {
            return damaged("an enum has no such symbol");
        };
        let index: U32Deserializer<Fault> = index.into_deserializer();
        Ok((seed.deserialize(index)?, Symbol))
    }
}

/// A symbol has nothing behind it.
pub(super) struct Symbol;

impl<'de> VariantAccess<'de> for Symbol {
    type Error = Fault;

    fn unit_variant(self) -> Result<()> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value> {
        damaged("an enum's symbol has no value")
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value> {
        damaged("an enum's symbol has no value")
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value> {
        damaged("an enum's symbol has no value")
    }
}
