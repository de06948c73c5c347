//! MessagePack, read where it lies, in one pass and without a copy.
//!
//! By hand and not by rmp-serde's deserializer: that one believes an array's length until the
//! input ends, so that every batch had to be walked before, which took a third of the decoding.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};

use super::MAX_DEPTH;
use super::check::length;

/// The bytes from where the next value begins.
#[derive(Debug)]
pub struct Reader<'de> {
    rest: &'de [u8],
    /// Arrays around it.
    depth: usize,
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
    /// Nothing is read yet.
    pub const fn new(bytes: &'de [u8]) -> Self {
        Self {
            rest: bytes,
            depth: 0,
        }
    }

    /// Whether nothing is left.
    pub const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
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
        // Each takes at least a byte: nobody is told a length that cannot be.
        if left as usize > self.rest.len() {
            return Err(cut());
        }
        self.depth += 1;
        let mut elements = Elements { reader: self, left };
        let value = visitor.visit_seq(&mut elements)?;
        elements.reader.depth -= 1;
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

    /// The number that is here, if it is not below 0: what a record has most of.
    #[inline]
    fn number(&mut self) -> Option<u64> {
        let (marker, rest) = self.rest.split_first()?;
        let (number, rest) = match marker {
            0x00..=0x7f => (u64::from(*marker), rest),
            0xcc => wide::<1>(rest)?,
            0xcd => wide::<2>(rest)?,
            0xce => wide::<4>(rest)?,
            0xcf => wide::<8>(rest)?,
            _ => return None,
        };
        self.rest = rest;
        Some(number)
    }

    #[inline]
    fn unsigned<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Fault> {
        match self.number() {
            Some(number) => visitor.visit_u64(number),
            None => self.value(visitor),
        }
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

/// A number of `N` bytes, and what is behind it.
#[inline]
fn wide<const N: usize>(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (raw, rest) = bytes.split_first_chunk::<N>()?;
    let number = raw.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Some((number, rest))
}

#[cold]
fn cut() -> Fault {
    de::Error::custom("cut off")
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.value(visitor)
    }

    #[inline]
    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.unsigned(visitor)
    }

    #[inline]
    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.unsigned(visitor)
    }

    #[inline]
    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.unsigned(visitor)
    }

    #[inline]
    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.unsigned(visitor)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.rest {
            [0xc4, length, rest @ ..] => {
                self.rest = rest;
                self.bytes(usize::from(*length), visitor)
            }
            _ => self.value(visitor),
        }
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
        let levels = MAX_DEPTH.saturating_sub(self.depth);
        let length = length(self.rest, levels).map_err(de::Error::custom)?;
        self.flat(length)?;
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u128 f32 f64 char str string byte_buf unit
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

    #[inline]
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
