//! All incidents of the host, bounded; the worst open one is the host's score.

use std::collections::{BTreeMap, BTreeSet};

use super::incident::{CLOSE_BELOW, Incident};
use crate::checkpoint::Field;
use crate::verdict::ProcessId;

/// Most incidents that are kept.
const MOST: usize = 1024;
/// A closed one can be reopened this long.
const KEEP_NS: u64 = 3_600_000_000_000;

/// Incidents by the process that their tree begins at.
#[derive(Debug, Default)]
pub struct Board {
    all: BTreeMap<ProcessId, Incident>,
    changed: BTreeSet<ProcessId>,
}

impl Board {
    /// The incident of a process tree: the open one, the closed one opened again, or a new one.
    pub fn open(
        &mut self,
        entry: ProcessId,
        now_ns: u64,
        name: impl FnOnce() -> String,
    ) -> &mut Incident {
        self.changed.insert(entry);
        let incident = self
            .all
            .entry(entry)
            .or_insert_with(|| Incident::new(name(), entry, now_ns));
        if !incident.open {
            incident.reopen(now_ns);
        }
        incident
    }

    /// The incident of a process tree.
    pub fn get(&self, entry: ProcessId) -> Option<&Incident> {
        self.all.get(&entry)
    }

    /// Open ones, in no particular order.
    pub fn opened(&self) -> impl Iterator<Item = &Incident> {
        self.all.values().filter(|incident| incident.open)
    }

    /// The open one with the highest score at a time.
    pub fn worst(&self, now_ns: u64) -> Option<(&Incident, f64)> {
        self.opened()
            .map(|incident| (incident, incident.score_at(now_ns)))
            .max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.opened_ns.cmp(&a.0.opened_ns)))
    }

    /// Closes those that faded, forgets old ones; returns what was closed.
    pub fn pass(&mut self, now_ns: u64) -> Vec<ProcessId> {
        let mut closed: Vec<ProcessId> = Vec::new();
        for incident in self.all.values_mut() {
            if incident.open && incident.score_at(now_ns) < CLOSE_BELOW {
                incident.open = false;
                closed.push(incident.entry);
            }
        }
        let mut surplus: Vec<(bool, f64, u64, ProcessId)> = self
            .all
            .values()
            .map(|it| (it.open, it.score_at(now_ns), it.last_ns, it.entry))
            .collect();
        surplus.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
        let over = self.all.len().saturating_sub(MOST);
        for (at, (open, _, last_ns, entry)) in surplus.into_iter().enumerate() {
            let old = !open && last_ns.saturating_add(KEEP_NS) < now_ns;
            if at < over || old {
                self.all.remove(&entry);
                self.changed.insert(entry);
                if open {
                    closed.push(entry);
                }
            }
        }
        self.changed.extend(closed.iter().copied());
        closed
    }

    /// Makes [`Self::changed`] give everything.
    pub fn all_changed(&mut self) {
        self.changed.extend(self.all.keys());
    }

    /// Fields that changed since the last call.
    pub fn changed(&mut self, fields: &mut Vec<Field>) {
        for entry in std::mem::take(&mut self.changed) {
            let value = self
                .all
                .get(&entry)
                .and_then(|it| rmp_serde::to_vec(it).ok());
            fields.push((format!("i:{}:{}", entry.tgid, entry.start_ns), value));
        }
    }

    /// Puts one back.
    ///
    /// # Errors
    /// When the value is no incident.
    pub fn restore(&mut self, value: &[u8]) -> Result<(), String> {
        let mut incident: Incident =
            rmp_serde::from_slice(value).map_err(|error| error.to_string())?;
        if incident.reached_ns == 0 {
            // Written by a version in which any evidence reached the whole score.
            incident.reached_ns = incident.last_ns;
        }
        self.all.insert(incident.entry, incident);
        Ok(())
    }
}
