//! What a restart needs: the judge as fields of the checkpoint.

use ravn_shared::text::escape;
use serde::{Deserialize, Serialize};

use super::Judge;
use super::notice::Losses;
use crate::checkpoint::{CheckpointError, Field};
use crate::verdict::{Level, ProcessId};

/// What is one for the whole judge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// The latest time that was passed in.
    pub now_ns: u64,
    /// To the time of day.
    pub offset_ns: i64,
    /// The word, and since when it stands.
    pub level: Level,
    /// See `level`.
    pub since_ns: u64,
    /// Losses as last told.
    pub losses: Losses,
    /// Time of the first record.
    pub began_ns: u64,
    /// Number of the last alert.
    pub sequence: u64,
}

impl Judge {
    /// Fields of the checkpoint that changed since the last call: `p:` processes, `i:` incidents
    /// and their alerts, `j:` the rest. To be stored in the transaction that publishes
    /// [`Judge::take_alerts`].
    pub fn changed(&mut self) -> Vec<Field> {
        let mut fields = Vec::new();
        self.table.changed(&mut fields);
        self.table.cgroups.changed(&mut fields);
        self.board.changed(&mut fields);
        self.desk.changed(&mut fields);
        self.writers.changed(&mut fields);
        for (key, value) in self.seen.changed() {
            fields.push((
                format!("j:s:{key:016x}"),
                value.and_then(|value| rmp_serde::to_vec(value).ok()),
            ));
        }
        self.clock.began_ns = self.table.began_ns;
        self.clock.sequence = self.desk.sequence;
        if self.clock != self.clock_stored {
            self.clock_stored.clone_from(&self.clock);
            fields.push(("j:clock".to_owned(), rmp_serde::to_vec(&self.clock).ok()));
        }
        fields
    }

    /// Makes [`Judge::changed`] give everything: what had been stored is lost.
    pub fn all_changed(&mut self) {
        self.table.all_changed();
        self.board.all_changed();
        self.desk.all_changed();
        self.writers.all_changed();
        self.seen.all_changed();
        self.clock_stored = Clock::default();
    }

    /// Puts one field back, before the first record. Order does not matter.
    ///
    /// # Errors
    /// When the field is not the judge's or its value is damaged: that field alone is dropped.
    pub fn restore(&mut self, field: &str, value: &[u8]) -> Result<(), CheckpointError> {
        let result = if field.starts_with("p:") {
            return self.table.restore(field, value);
        } else if let Some(rest) = field.strip_prefix("i:") {
            match rest.split(':').count() {
                2 => self.board.restore(value),
                _ => self.desk.restore_fold(value),
            }
        } else if let Some(key) = field.strip_prefix("j:w:") {
            self.writers.restore(key, value)
        } else if let Some(id) = field.strip_prefix("j:g:") {
            self.table.cgroups.restore(id, value)
        } else if let Some(rule) = field.strip_prefix("j:b:") {
            self.desk.restore_brake(rule, value)
        } else if let Some(key) = field.strip_prefix("j:s:") {
            self.restore_seen(key, value)
        } else if field == "j:clock" {
            self.restore_clock(value)
        } else {
            Err("no field of the judge".to_owned())
        };
        if !field.starts_with("j:w") && !field.starts_with("j:s") && !field.starts_with("j:g") {
            self.stand();
        }
        result.map_err(|cause| CheckpointError {
            field: escape(field.as_bytes()),
            cause,
        })
    }

    fn restore_seen(&mut self, key: &str, value: &[u8]) -> Result<(), String> {
        let key = u64::from_str_radix(key, 16).map_err(|error| error.to_string())?;
        let (order, whose): (u64, Option<ProcessId>) =
            rmp_serde::from_slice(value).map_err(|error| error.to_string())?;
        self.seen.restore(key, order, whose);
        Ok(())
    }

    fn restore_clock(&mut self, value: &[u8]) -> Result<(), String> {
        let clock: Clock = rmp_serde::from_slice(value).map_err(|error| error.to_string())?;
        self.table.began_ns = clock.began_ns;
        self.desk.sequence = clock.sequence;
        self.clock_stored.clone_from(&clock);
        self.clock = clock;
        Ok(())
    }
}
