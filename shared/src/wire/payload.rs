//! The payload of a record: of a kind that may be unknown, and perhaps of a newer sender's.

use std::fmt;

use serde::de::{self, DeserializeSeed, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};

use crate::event::Event;
use crate::kind::{Kind, Stream};

/// Reads the payload of a kind, which its stream must be that of. A payload of a kind that this
/// version does not know is skipped.
pub(super) struct Payload {
    pub kind: u16,
    pub stream: Stream,
}

impl<'de> DeserializeSeed<'de> for Payload {
    type Value = Event<'de>;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Event<'de>, D::Error> {
        let Some(kind) = Kind::from_wire(self.kind) else {
            IgnoredAny::deserialize(input)?;
            return Ok(Event::Unknown {
                kind: self.kind,
                stream: self.stream,
            });
        };
        if kind.stream() != self.stream {
            return Err(de::Error::custom(format_args!(
                "{} in the {} stream",
                kind.name(),
                self.stream.name()
            )));
        }
        Event::deserialize_payload(kind, Longer(input))
    }
}

/// Reads what it is asked for, and skips elements behind it: a newer sender has added them.
struct Longer<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Longer<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, ToTheEnd(visitor))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct ToTheEnd<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for ToTheEnd<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<V::Value, A::Error> {
        let value = self.0.visit_seq(&mut seq)?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(value)
    }
}
