//! The table in the checkpoint: `p:` fields, MessagePack.

use super::{Table, mark};
use crate::checkpoint::{CheckpointError, Field};
use crate::judge::process::Process;
use crate::verdict::ProcessId;

/// Larger values are no process of ours.
const MOST_VALUE: usize = 64 * 1024;

impl Table {
    /// Makes [`Self::changed`] give everything.
    pub fn all_changed(&mut self) {
        for process in self.all.values_mut() {
            mark(&mut self.dirty, process);
        }
    }

    /// Fields that changed since the last call.
    pub fn changed(&mut self, fields: &mut Vec<Field>) {
        for id in std::mem::take(&mut self.gone) {
            if !self.all.contains_key(&id) {
                fields.push((field(id), None));
            }
        }
        for id in std::mem::take(&mut self.dirty) {
            let Some(process) = self.all.get_mut(&id) else {
                continue;
            };
            if std::mem::take(&mut process.dirty)
                && let Ok(value) = rmp_serde::to_vec(process)
            {
                process.stored = true;
                fields.push((field(id), Some(value)));
            }
        }
    }

    /// Puts a process back.
    ///
    /// # Errors
    /// When the value is no process, or another's than the field says.
    pub fn restore(&mut self, name: &str, value: &[u8]) -> Result<(), CheckpointError> {
        let refuse = |cause: String| CheckpointError {
            field: ravn_shared::text::escape(name.as_bytes()),
            cause,
        };
        if value.len() > MOST_VALUE {
            return Err(refuse(format!("{} bytes", value.len())));
        }
        let mut process: Process =
            rmp_serde::from_slice(value).map_err(|error| refuse(error.to_string()))?;
        if field(process.id) != name {
            return Err(refuse(format!("holds process {}", process.id.tgid)));
        }
        process.stored = true;
        let id = process.id;
        // Of two that said so the younger is the one that runs.
        if process.collector
            && self
                .collector
                .is_none_or(|known| known.start_ns < id.start_ns)
        {
            self.collector = Some(id);
        }
        if let Some(at) = process.exited_ns {
            self.exited.insert((at, id));
        } else {
            let youngest = self.living.entry(id.tgid).or_insert(id.start_ns);
            *youngest = (*youngest).max(id.start_ns);
        }
        self.all.insert(id, process);
        Ok(())
    }
}

fn field(id: ProcessId) -> String {
    format!("p:{}:{}", id.tgid, id.start_ns)
}
