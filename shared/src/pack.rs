//! MessagePack of records, written the short way: what rmp-serde writes, byte for byte (a test
//! compares them), in less than half the time. Every record of the host passes here once, as root.
//!
//! It writes what records have (numbers, bytes, strings, options, arrays of known length) and
//! refuses the rest: floats, maps, enums. Format:
//! <https://github.com/msgpack/msgpack/blob/master/spec.md>.

use std::fmt;

use serde::ser::{self, Impossible, Serialize};

/// Why a value was not written. A record has nothing of this kind.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("cannot write {0} to the wire")]
pub struct PackError(Box<str>);

impl ser::Error for PackError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string().into())
    }
}

/// Written, or refused.
type Outcome = Result<(), PackError>;

/// Appends `value` to `out`, structs as arrays of their fields.
///
/// # Errors
/// When it holds a value that no record has; `out` may have a part of it then.
pub fn append<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Outcome {
    value.serialize(&mut Packer { out })
}

/// Appends what an array of `len` elements begins with.
///
/// # Errors
/// When there are 2³² or more.
pub fn array_len(len: usize, out: &mut Vec<u8>) -> Outcome {
    Packer { out }.array(len)
}

struct Packer<'v> {
    out: &'v mut Vec<u8>,
}

impl Packer<'_> {
    /// Of a length that is known when compiled: no call, one look at the room.
    #[inline(always)]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) -> Outcome {
        self.out.extend_from_slice(&bytes);
        Ok(())
    }

    #[inline(always)]
    fn marked<const N: usize>(&mut self, marker: u8, number: [u8; N]) -> Outcome {
        self.out.reserve(9);
        self.out.push(marker);
        self.put(number)
    }

    #[inline(always)]
    fn uint(&mut self, v: u64) -> Outcome {
        match v {
            0..0x80 => self.put([v as u8]),
            0x80..0x100 => self.put([0xcc, v as u8]),
            0x100..0x1_0000 => self.marked(0xcd, (v as u16).to_be_bytes()),
            0x1_0000..0x1_0000_0000 => self.marked(0xce, (v as u32).to_be_bytes()),
            _ => self.marked(0xcf, v.to_be_bytes()),
        }
    }

    #[inline(always)]
    fn int(&mut self, v: i64) -> Outcome {
        match v {
            0.. => self.uint(v.cast_unsigned()),
            -32..0 => self.put([v as u8]),
            -0x80..-32 => self.put([0xd0, v as u8]),
            -0x8000..-0x80 => self.marked(0xd1, (v as i16).to_be_bytes()),
            -0x8000_0000..-0x8000 => self.marked(0xd2, (v as i32).to_be_bytes()),
            _ => self.marked(0xd3, v.to_be_bytes()),
        }
    }

    /// A length that is no small one: two bytes of it, or four.
    fn long(&mut self, two: u8, four: u8, len: usize) -> Outcome {
        match (u16::try_from(len), u32::try_from(len)) {
            (Ok(len), _) => self.marked(two, len.to_be_bytes()),
            (_, Ok(len)) => self.marked(four, len.to_be_bytes()),
            _ => Err(refused("a length of 2³² or more")),
        }
    }

    #[inline(always)]
    fn array(&mut self, len: usize) -> Outcome {
        match len {
            0..16 => self.put([0x90 | len as u8]),
            _ => self.long(0xdc, 0xdd, len),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Outcome {
        match bytes.len() {
            len @ 0..0x100 => self.put([0xc4, len as u8])?,
            len => self.long(0xc5, 0xc6, len)?,
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn text(&mut self, text: &str) -> Outcome {
        match text.len() {
            len @ 0..32 => self.put([0xa0 | len as u8])?,
            len @ 32..0x100 => self.put([0xd9, len as u8])?,
            len => self.long(0xda, 0xdb, len)?,
        }
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

fn refused(what: &str) -> PackError {
    PackError(what.into())
}

/// Methods that widen a number.
macro_rules! numbers {
    ($($method:ident($number:ty) => $by:ident as $wide:ty;)*) => {$(
        #[inline(always)]
        fn $method(self, v: $number) -> Outcome {
            self.$by(<$wide>::from(v))
        }
    )*};
}

/// Methods for what no record has.
macro_rules! refuse {
    ($($method:ident($($argument:ty),*) -> $back:ty, $what:literal;)*) => {$(
        fn $method(self, $(_: $argument),*) -> Result<$back, PackError> {
            Err(refused($what))
        }
    )*};
}

impl ser::Serializer for &mut Packer<'_> {
    type Ok = ();
    type Error = PackError;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeStruct = Self;
    type SerializeTupleVariant = Impossible<(), PackError>;
    type SerializeMap = Impossible<(), PackError>;
    type SerializeStructVariant = Impossible<(), PackError>;

    numbers! {
        serialize_u8(u8) => uint as u64;
        serialize_u16(u16) => uint as u64;
        serialize_u32(u32) => uint as u64;
        serialize_u64(u64) => uint as u64;
        serialize_i8(i8) => int as i64;
        serialize_i16(i16) => int as i64;
        serialize_i32(i32) => int as i64;
        serialize_i64(i64) => int as i64;
    }

    refuse! {
        serialize_f32(f32) -> (), "a float";
        serialize_f64(f64) -> (), "a float";
        serialize_char(char) -> (), "a character";
        serialize_unit_variant(&'static str, u32, &'static str) -> (), "an enum by its name";
        serialize_map(Option<usize>) -> Self::SerializeMap, "a map";
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant, "an enum by its name";
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant, "an enum by its name";
    }

    #[inline(always)]
    fn serialize_bool(self, v: bool) -> Outcome {
        self.put([0xc2 | u8::from(v)])
    }

    fn serialize_str(self, v: &str) -> Outcome {
        self.text(v)
    }

    fn serialize_bytes(self, v: &[u8]) -> Outcome {
        self.bytes(v)
    }

    fn serialize_none(self) -> Outcome {
        self.put([0xc0])
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Outcome {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Outcome {
        self.put([0xc0])
    }

    fn serialize_unit_struct(self, _: &'static str) -> Outcome {
        self.array(0)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Outcome {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Outcome {
        Err(refused("an enum by its name"))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self, PackError> {
        let len = len.ok_or_else(|| refused("an array of unknown length"))?;
        self.array(len)?;
        Ok(self)
    }

    #[inline(always)]
    fn serialize_tuple(self, len: usize) -> Result<Self, PackError> {
        self.array(len)?;
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Self, PackError> {
        self.array(len)?;
        Ok(self)
    }

    #[inline(always)]
    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Self, PackError> {
        self.array(len)?;
        Ok(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// An array's elements, one after another.
macro_rules! elements {
    ($($one:ident: $method:ident;)*) => {$(
        impl ser::$one for &mut Packer<'_> {
            type Ok = ();
            type Error = PackError;

            #[inline(always)]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Outcome {
                value.serialize(&mut **self)
            }

            #[inline(always)]
            fn end(self) -> Outcome {
                Ok(())
            }
        }
    )*};
}

elements! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
}

impl ser::SerializeStruct for &mut Packer<'_> {
    type Ok = ();
    type Error = PackError;

    #[inline(always)]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Outcome {
        value.serialize(&mut **self)
    }

    #[inline(always)]
    fn end(self) -> Outcome {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rmp_serde::config::BytesMode;
    use serde_bytes::Bytes;

    use super::*;

    /// What rmp-serde writes is what is to be written.
    fn same<T: Serialize + ?Sized>(value: &T) {
        let (mut ours, mut theirs) = (vec![7], vec![7]);
        append(value, &mut ours).unwrap();
        let mut plain = rmp_serde::Serializer::new(&mut theirs).with_bytes(BytesMode::Normal);
        value.serialize(&mut plain).unwrap();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn numbers_at_every_edge_of_their_width() {
        for shift in 0..64 {
            for near in [-2i64, -1, 0, 1, 2] {
                let number = (1i64 << shift).wrapping_add(near);
                same(&number);
                same(&number.wrapping_neg());
                same(&number.cast_unsigned());
                same(&(number as i32));
                same(&(number as u32));
                same(&(number as i16));
                same(&(number as u16));
                same(&(number as i8));
                same(&(number as u8));
            }
        }
    }

    #[test]
    fn bytes_strings_and_arrays_at_every_edge_of_their_length() {
        for len in [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
            same(Bytes::new(&vec![9; len]));
            same(&"x".repeat(len));
            same(&vec![300u16; len]);
        }
    }

    #[test]
    fn options_units_and_nested_arrays() {
        same(&(Some(5u8), None::<u8>, (), true, false));
        same(&(
            [1u32, 70_000, 3],
            ("a", Bytes::new(b"b")),
            vec![(1u8, -1i8)],
        ));
    }

    #[test]
    fn what_no_record_has_is_refused_by_name() {
        let mut out = Vec::new();
        let error = append(&1.5f64, &mut out).unwrap_err();
        assert_eq!(error.to_string(), "cannot write a float to the wire");
        let map = std::collections::BTreeMap::from([(1, 2)]);
        let error = append(&map, &mut out).unwrap_err();
        assert_eq!(error.to_string(), "cannot write a map to the wire");
        assert!(append(&'x', &mut out).is_err());
        assert!(append(&Some(Err::<u8, u8>(1)), &mut out).is_err());
    }
}
