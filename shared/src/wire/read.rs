//! MessagePack, read where it lies: what `check` has walked is taken apart without a copy.
//!
//! By hand and not by rmp-serde's deserializer, which reads through a trait made for files and
//! looks at each value's depth again: decoding took most of what a batch costs the analyzer's
//! intake.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};

use super::check::marker;

/// The bytes from where the next value begins.
#[derive(Debug)]
pub struct Reader<'de> {
    rest: &'de [u8],
}

/// Why a value is not what it should be.
#[derive(Debug)]
pub struct Fault(Box<str>);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(words: T) -> Self {
        Self(words.to_string().into())
    }
}

impl<'de> Reader<'de> {
    /// Reads what `check` found to be one value.
    pub const fn new(bytes: &'de [u8]) -> Self {
        Self { rest: bytes }
    }

    fn flat(&mut self, length: usize) -> Result<&'de [u8], Fault> {
        let (flat, rest) = self.rest.split_at_checked(length).ok_or_else(cut)?;
        self.rest = rest;
        Ok(flat)
    }

    fn raw<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (raw, rest) = self.rest.split_first_chunk::<N>().ok_or_else(cut)?;
        self.rest = rest;
        Ok(*raw)
    }

    fn seq<V: Visitor<'de>>(&mut self, left: u32, visitor: V) -> Result<V::Value, Fault> {
        let mut elements = Elements { reader: self, left };
        let value = visitor.visit_seq(&mut elements)?;
        match elements.left {
            0 => Ok(value),
            more => Err(de::Error::custom(format_args!("{more} elements too many"))),
        }
    }

    fn text<V: Visitor<'de>>(&mut self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        let text = std::str::from_utf8(self.flat(length)?).map_err(de::Error::custom)?;
        visitor.visit_borrowed_str(text)
    }

    fn bytes<V: Visitor<'de>>(&mut self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_bytes(self.flat(length)?)
    }

    fn value<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        let [marker] = self.raw()?;
        match marker {
            0x00..=0x7f => visitor.visit_u64(marker.into()),
            0xe0..=0xff => visitor.visit_i64(i8::from_be_bytes([marker]).into()),
            0x90..=0x9f => self.seq(u32::from(marker & 15), visitor),
            0xa0..=0xbf => self.text(usize::from(marker & 31), visitor),
            0xc0 => visitor.visit_unit(),
            0xc2 => visitor.visit_bool(false),
            0xc3 => visitor.visit_bool(true),
            0xc4 => {
                let [length] = self.raw()?;
                self.bytes(length.into(), visitor)
            }
            0xc5 => {
                let length = u16::from_be_bytes(self.raw()?);
                self.bytes(length.into(), visitor)
            }
            0xc6 => {
                let length = u32::from_be_bytes(self.raw()?);
                self.bytes(length as usize, visitor)
            }
            0xcc => visitor.visit_u64(u8::from_be_bytes(self.raw()?).into()),
            0xcd => visitor.visit_u64(u16::from_be_bytes(self.raw()?).into()),
            0xce => visitor.visit_u64(u32::from_be_bytes(self.raw()?).into()),
            0xcf => visitor.visit_u64(u64::from_be_bytes(self.raw()?)),
            0xd0 => visitor.visit_i64(i8::from_be_bytes(self.raw()?).into()),
            0xd1 => visitor.visit_i64(i16::from_be_bytes(self.raw()?).into()),
            0xd2 => visitor.visit_i64(i32::from_be_bytes(self.raw()?).into()),
            0xd3 => visitor.visit_i64(i64::from_be_bytes(self.raw()?)),
            0xd9 => {
                let [length] = self.raw()?;
                self.text(length.into(), visitor)
            }
            0xda => {
                let length = u16::from_be_bytes(self.raw()?);
                self.text(length.into(), visitor)
            }
            0xdb => {
                let length = u32::from_be_bytes(self.raw()?);
                self.text(length as usize, visitor)
            }
            0xdc => {
                let length = u16::from_be_bytes(self.raw()?);
                self.seq(length.into(), visitor)
            }
            0xdd => {
                let length = u32::from_be_bytes(self.raw()?);
                self.seq(length, visitor)
            }
            other => Err(de::Error::custom(format_args!(
                "a value of marker {other:#04x}, which no batch has"
            ))),
        }
    }
}

fn cut() -> Fault {
    de::Error::custom("cut off")
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.value(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.rest.split_first() {
            Some((0xc0, rest)) => {
                self.rest = rest;
                visitor.visit_none()
            }
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let mut open = 1;
        while open > 0 {
            let (length, children) = marker(self.rest, 0).ok_or_else(cut)?;
            self.flat(length)?;
            open = open - 1 + children;
        }
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier
    }
}

/// What is left of an array.
struct Elements<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: u32,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Fault> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left as usize)
    }
}
