//! Avro as the fields of a contract's type come: they are those of its schema, in its order, and
//! an option is a union of null and a value. So nothing has to be looked up.

use std::fmt::Display;

use serde::ser::{Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer};

/// Appends one value to a buffer.
pub(super) struct Datum<'a>(pub &'a mut Vec<u8>);

/// Why a value is not written.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unfit(String);

impl serde::ser::Error for Unfit {
    fn custom<T: Display>(reason: T) -> Self {
        Unfit(reason.to_string())
    }
}

fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    // No buffer is larger than that.
    put_long(out, count.cast_signed() as i64);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Types that no schema of a contract has.
macro_rules! unknown {
    ($($method:ident($($type:ty),*) -> $ok:ty;)*) => {
        $(fn $method(self, $(_: $type),*) -> Result<$ok, Unfit> {
            Err(Unfit(concat!("there is no Avro for ", stringify!($method)).to_owned()))
        })*
    };
}

impl<'a> Serializer for Datum<'a> {
    type Ok = ();
    type Error = Unfit;
    type SerializeSeq = Blocks<'a>;
    type SerializeMap = Blocks<'a>;
    type SerializeStruct = Self;
    type SerializeTuple = Impossible<(), Unfit>;
    type SerializeTupleStruct = Impossible<(), Unfit>;
    type SerializeTupleVariant = Impossible<(), Unfit>;
    type SerializeStructVariant = Impossible<(), Unfit>;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Result<(), Unfit> {
        self.0.push(value.into());
        Ok(())
    }

    fn serialize_i32(self, value: i32) -> Result<(), Unfit> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), Unfit> {
        put_long(self.0, value);
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Unfit> {
        self.0.extend_from_slice(&value.to_le_bytes());
        Ok(())
    }

    fn serialize_str(self, text: &str) -> Result<(), Unfit> {
        self.serialize_bytes(text.as_bytes())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Unfit> {
        put_bytes(self.0, bytes);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Unfit> {
        self.serialize_i64(0)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unfit> {
        put_long(self.0, 1);
        value.serialize(self)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
    ) -> Result<(), Unfit> {
        self.serialize_i64(index.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unfit> {
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Blocks<'a>, Unfit> {
        Ok(Blocks::new(self.0, len))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Blocks<'a>, Unfit> {
        Ok(Blocks::new(self.0, len))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Unfit> {
        Ok(self)
    }

    unknown! {
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_f32(f32) -> ();
        serialize_char(char) -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Unfit> {
        Err(Unfit(
            "there is no Avro for serialize_newtype_variant".to_owned(),
        ))
    }
}

impl SerializeStruct for Datum<'_> {
    type Ok = ();
    type Error = Unfit;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unfit> {
        value.serialize(Datum(self.0))
    }

    fn end(self) -> Result<(), Unfit> {
        Ok(())
    }
}

/// The items of an array or a map: one block where it is known how many they are, else a block
/// for each.
pub(super) struct Blocks<'a> {
    out: &'a mut Vec<u8>,
    counted: bool,
}

impl<'a> Blocks<'a> {
    fn new(out: &'a mut Vec<u8>, len: Option<usize>) -> Self {
        if let Some(1..) = len {
            put_count(out, len.unwrap_or_default());
        }
        Blocks {
            out,
            counted: len.is_some(),
        }
    }

    fn item(&mut self) -> Datum<'_> {
        if !self.counted {
            put_count(self.out, 1);
        }
        Datum(self.out)
    }

    /// The empty block that is the last; the only one of what has no items.
    fn finish(self) -> Result<(), Unfit> {
        put_count(self.out, 0);
        Ok(())
    }
}

impl SerializeSeq for Blocks<'_> {
    type Ok = ();
    type Error = Unfit;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        value.serialize(self.item())
    }

    fn end(self) -> Result<(), Unfit> {
        self.finish()
    }
}

impl SerializeMap for Blocks<'_> {
    type Ok = ();
    type Error = Unfit;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unfit> {
        key.serialize(self.item())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unfit> {
        value.serialize(Datum(self.out))
    }

    fn end(self) -> Result<(), Unfit> {
        self.finish()
    }
}
