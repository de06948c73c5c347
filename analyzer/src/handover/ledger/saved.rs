//! The ledger in the checkpoint: `l:` fields, MessagePack.

use ravn_shared::kind::Stream;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::excuse::Excuse;
use super::load::{Count, Counter};
use super::numbers::Numbers;
use super::{Account, Ledger, Part, Window};
use crate::checkpoint::{CheckpointError, Field};

/// What a load's field holds: whether the ledger began in its middle, and its counts.
#[derive(Serialize, Deserialize)]
struct Counts(bool, Vec<(Counter, Count)>);

/// What the field of the past holds.
#[derive(Serialize, Deserialize)]
struct Past {
    sums: Account,
    undecodable: u64,
    refused: u64,
    /// Elements are only ever added: a checkpoint of an earlier version has fewer.
    #[serde(default)]
    unknown_kinds: u64,
}

impl Ledger {
    /// Fields that changed since the last call.
    pub fn changed(&mut self) -> Vec<Field> {
        let gone = std::mem::take(&mut self.gone)
            .into_iter()
            .map(|name| (name, None));
        let mut fields: Vec<Field> = gone.collect();
        for part in std::mem::take(&mut self.changed) {
            let field = match part {
                Part::Counts(id) => self.loads.get(&id).map(|load| {
                    let all = load
                        .counts
                        .iter()
                        .map(|(counter, count)| (*counter, *count));
                    (
                        counts_field(id),
                        packed(&Counts(load.midway, all.collect())),
                    )
                }),
                Part::Window => Some(("l:window".to_owned(), packed(&self.window))),
                Part::Past => Some((
                    "l:past".to_owned(),
                    packed(&Past {
                        sums: self.past.clone(),
                        undecodable: self.undecodable,
                        refused: self.refused,
                        unknown_kinds: self.unknown_kinds,
                    }),
                )),
            };
            fields.extend(field.map(|(name, value)| (name, Some(value))));
        }
        for (id, load) in &mut self.loads {
            for ((stream, cpu), numbers) in &mut load.streams {
                if numbers.take_changed() {
                    fields.push((numbers_field(*id, *stream, *cpu), Some(packed(numbers))));
                }
            }
        }
        fields
    }

    /// Makes [`Ledger::changed`] give everything: Redis lost what it had.
    pub fn all_changed(&mut self) {
        self.changed.extend([Part::Past, Part::Window]);
        let counts = self.loads.keys().map(|id| Part::Counts(*id));
        self.changed.extend(counts);
        self.each_numbers(Numbers::touch);
    }

    /// Takes a field of the checkpoint back.
    ///
    /// # Errors
    /// A field that this version did not write; nothing of it is used then.
    pub fn restore(&mut self, field: &str, value: &[u8]) -> Result<(), CheckpointError> {
        if std::mem::take(&mut self.fresh) {
            // What was lost before belongs to the minute that the checkpoint tells of, if any.
            self.window = Window::default();
        }
        let damaged = |cause: &str| CheckpointError {
            field: ravn_shared::text::escape(field.as_bytes()),
            cause: cause.to_owned(),
        };
        let parts: Vec<&str> = field.split(':').collect();
        match parts.as_slice() {
            ["l", "past"] => {
                let past: Past = unpacked(value).ok_or_else(|| damaged("not the past's sums"))?;
                self.past = past.sums;
                self.undecodable = past.undecodable;
                self.refused = past.refused;
                self.unknown_kinds = past.unknown_kinds;
            }
            ["l", "window"] => {
                let window: Window =
                    unpacked(value).ok_or_else(|| damaged("not a minute's losses"))?;
                self.window = window.restored();
            }
            ["l", "c", id] => {
                let id = hex(id).ok_or_else(|| damaged("no load in its name"))?;
                let Counts(midway, counts) =
                    unpacked(value).ok_or_else(|| damaged("not a load's counts"))?;
                let load = self.load(id, false);
                load.midway = midway;
                load.counts.extend(counts);
            }
            ["l", "n", id, stream, cpu] => {
                let name = (|| {
                    let stream = Stream::try_from(stream.parse::<u8>().ok()?).ok()?;
                    Some((hex(id)?, stream, cpu.parse::<u16>().ok()?))
                })();
                let (id, stream, cpu) = name.ok_or_else(|| damaged("no stream in its name"))?;
                let mut numbers: Numbers =
                    unpacked(value).ok_or_else(|| damaged("not a stream's numbers"))?;
                if !numbers.restored() {
                    return Err(damaged("numbers that contradict each other"));
                }
                let excused = numbers.is_excused();
                *self
                    .numbers(id, stream, cpu, 0)
                    .ok_or_else(|| damaged("more streams than any host has"))? = numbers;
                if excused {
                    self.excuse = Some(Excuse::Silent);
                }
            }
            _ => return Err(damaged("no field of this version's ledger")),
        }
        Ok(())
    }
}

/// The field of one stream.
pub fn numbers_field(id: u64, stream: Stream, cpu: u16) -> String {
    format!("l:n:{id:x}:{}:{cpu}", stream as u8)
}

/// The field of a load's counts.
pub fn counts_field(id: u64) -> String {
    format!("l:c:{id:x}")
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// Writing numbers and maps into a `Vec` cannot fail; an empty value would be refused, and
/// counted, when it is read.
fn packed<T: Serialize>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec(value).unwrap_or_default()
}

fn unpacked<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    rmp_serde::from_slice(value).ok()
}
