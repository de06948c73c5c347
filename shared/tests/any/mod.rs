//! Records of every kind with anything in them: each field is drawn from a pool of bytes, by the
//! very description that the wire has of it.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use ravn_shared::event::{Event, Place, Record, Task};
use ravn_shared::kind::{Class, Kind};
use ravn_shared::wire::{self, Header, Lost};
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor, value::Error};
use serde::{Deserialize, forward_to_deserialize_any};

/// Draws from its bytes in turn, and from the beginning again after the last.
pub struct Pool<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Pool<'a> {
    /// `bytes` may be few, but are some.
    pub fn new(bytes: &'a [u8]) -> Self {
        assert!(!bytes.is_empty());
        Self { bytes, at: 0 }
    }

    fn byte(&mut self) -> u8 {
        self.at += 1;
        self.bytes[self.at % self.bytes.len()]
    }

    /// The bounds of numbers as often as anything else.
    fn number(&mut self) -> u64 {
        match self.byte() % 4 {
            0 => 0,
            1 => u64::MAX,
            2 => u64::from(self.byte()),
            _ => (0..8).fold(0, |sum, _| sum << 8 | u64::from(self.byte())),
        }
    }

    fn slice(&mut self) -> &'a [u8] {
        let (from, length) = (self.byte(), self.byte());
        let from = usize::from(from) % self.bytes.len();
        let rest = &self.bytes[from..];
        &rest[..rest.len().min(usize::from(length))]
    }

    fn of<T: Deserialize<'a>>(&mut self) -> T {
        T::deserialize(self).unwrap()
    }
}

macro_rules! drawn {
    ($($name:ident $visit:ident $as:ty;)*) => {$(
        fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            visitor.$visit(self.number() as $as)
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Pool<'de> {
    type Error = Error;

    drawn! {
        deserialize_u8 visit_u8 u8;
        deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32;
        deserialize_u64 visit_u64 u64;
        deserialize_i32 visit_i32 i32;
        deserialize_i64 visit_i64 i64;
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.byte() & 1 == 1)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_bytes(self.slice())
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        left: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Fields { pool: self, left })
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        panic!("a field of a type that no record has yet")
    }

    forward_to_deserialize_any! {
        i8 i16 f32 f64 char str string byte_buf option unit unit_struct newtype_struct seq
        tuple_struct map enum identifier ignored_any
    }
}

struct Fields<'p, 'de> {
    pool: &'p mut Pool<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Fields<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.pool).map(Some)
    }
}

macro_rules! events {
    ($kind:expr, $pool:expr, $($name:ident)*) => {
        match $kind { $(Kind::$name => Event::$name($pool.of()),)* }
    };
}

fn event<'a>(kind: Kind, pool: &mut Pool<'a>) -> Event<'a> {
    events!(kind, pool,
        Fork Exec Exit Cgroup Chunk Open Unlink Rename Chmod Link Symlink Chown Truncate SetXattr
        Mknod Read Connect Accept Bind Listen Send Close Dns RawSocket Creds Ptrace Memfd DupSocket
        Mount Module Bpf VmWrite PivotRoot Unshare SetNs ExecMemory Kill Keyctl Kexec PerfEventOpen
        Userfaultfd IoUring IoUringOp Compat Process Tampering CgroupFound
    )
}

/// A record of `kind` with anything in it.
pub fn record<'a>(kind: Kind, pool: &mut Pool<'a>) -> Record<'a> {
    let task: Task<'a> = pool.of();
    Record {
        cpu: pool.of(),
        n: pool.of(),
        time_ns: pool.of(),
        task: if kind == Kind::Chunk {
            Task::default()
        } else {
            task
        },
        place: pool.of::<Place>(),
        event: event(kind, pool),
    }
}

/// A header that says little.
pub fn header(class: Class, lost: Lost) -> Header<'static> {
    Header {
        schema: wire::SCHEMA,
        host: "host.example",
        boot_id: b"0123456789abcdef",
        run_id: 7,
        batch_no: 3,
        clock_offset_ns: -1,
        class,
        source: ("x86_64", 250),
        lost,
    }
}

/// The bytes of a batch.
pub fn batch(header: &Header<'_>, records: &[Record<'_>]) -> Vec<u8> {
    let encoded: Vec<Vec<u8>> = records
        .iter()
        .map(|record| {
            let mut bytes = Vec::new();
            wire::encode_record(record, &mut bytes).unwrap();
            bytes
        })
        .collect();
    let mut out = Vec::new();
    wire::encode_batch(header, encoded.iter().map(Vec::as_slice), &mut out).unwrap();
    out
}
