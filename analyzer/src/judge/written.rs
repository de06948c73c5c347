//! Who wrote the files that may be executed later.

use ravn_shared::event::{Event, Record};
use serde::{Deserialize, Serialize};

use super::bounded::Bounded;
use super::image;
use super::process::Process;
use super::table::Table;
use crate::checkpoint::Field;

/// Most files whose writer is remembered.
const MOST: usize = 8_192;
/// The device of a memfd is not in its record; no device has this number.
const MEMFD: u32 = u32::MAX;

/// The last writer of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Its image.
    #[serde(with = "serde_bytes")]
    pub exe: Vec<u8>,
    /// As part of a trusted change.
    pub trusted: bool,
    /// It had connected to another machine.
    pub network: bool,
    /// It ran below a server.
    pub server: bool,
    /// It was a container runtime of a package.
    pub runtime: bool,
}

/// Files and their writers: those that anybody may leave, that a program with a connection or
/// below a server wrote, or that can be executed. Others are not remembered.
#[derive(Debug)]
pub struct Writers(Bounded<(u32, u64), Written>);

impl Writers {
    /// Nothing written yet.
    pub fn new() -> Self {
        Self(Bounded::new(MOST))
    }

    /// Who wrote a file; a memfd has no device.
    pub fn of(&self, dev: Option<u32>, ino: u64) -> Option<&Written> {
        self.0.get(&(dev.unwrap_or(MEMFD), ino))
    }

    /// Takes in a record of an opened file or a new memfd.
    pub fn take(&mut self, record: &Record<'_>, process: &Process, table: &Table) {
        let (key, wanted) = match &record.event {
            Event::Memfd(memfd) if memfd.ret >= 0 => ((MEMFD, memfd.ino), true),
            Event::Open(open) => {
                let matters = image::open_to_all(open.path)
                    || process.network
                    || process.server.is_some()
                    || open.mode & 0o111 != 0;
                (
                    (open.dev, open.ino),
                    matters && open.mode & 0o170_000 == 0o100_000,
                )
            }
            _ => return,
        };
        if !wanted {
            return;
        }
        let written = Written {
            exe: process.exe.clone(),
            trusted: table.trusted(process),
            network: process.network,
            server: process.server.is_some(),
            runtime: process.runtime,
        };
        if self.0.get(&key) != Some(&written) {
            self.0.insert(key, written);
        }
    }

    /// Makes [`Self::changed`] give everything.
    pub fn all_changed(&mut self) {
        self.0.all_changed();
    }

    /// Fields that changed since the last call.
    pub fn changed(&mut self, fields: &mut Vec<Field>) {
        for ((dev, ino), value) in self.0.changed() {
            let name = format!("j:w:{dev}:{ino}");
            fields.push((name, value.and_then(|value| rmp_serde::to_vec(value).ok())));
        }
    }

    /// Puts one back; `key` is the field's name after `j:w:`.
    ///
    /// # Errors
    /// Says what is wrong with the field.
    pub fn restore(&mut self, key: &str, value: &[u8]) -> Result<(), String> {
        let (dev, ino) = key.split_once(':').ok_or("no device and inode")?;
        let key = (
            dev.parse().map_err(|_| "no device")?,
            ino.parse().map_err(|_| "no inode")?,
        );
        let (order, written): (u64, Written) =
            rmp_serde::from_slice(value).map_err(|error| error.to_string())?;
        self.0.restore(key, order, written);
        Ok(())
    }
}
