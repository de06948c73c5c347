//! What a collector handed over, read straight off `events:raw`.

use anyhow::{Context, Result};
use ravn_shared::event::Record;
use ravn_shared::show;
use ravn_shared::wire::decode_batch;
use serde_json::{Map, Value};

/// One record in owned form, its payload by the names of its fields.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Kind, as users see it.
    pub kind: &'static str,
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub pid: u32,
    /// Process that created its process.
    pub parent_tgid: u32,
    /// Start of the process, nanoseconds since boot.
    pub start_ns: u64,
    /// User.
    pub uid: u32,
    /// Cgroup.
    pub cgroup_id: u64,
    /// The thread's name, escaped.
    pub comm: String,
    /// CLOCK_BOOTTIME.
    pub time_ns: u64,
    /// The payload.
    pub fields: Map<String, Value>,
}

impl Seen {
    /// Of a decoded record.
    pub fn of(record: &Record<'_>) -> Self {
        let fields = show::fields(&record.event)
            .into_iter()
            .map(|(name, value)| {
                let value = serde_json::to_value(&value).unwrap_or(Value::Null);
                (name.to_owned(), value)
            })
            .collect();
        Self {
            kind: show::kind(&record.event),
            tgid: record.task.tgid,
            pid: record.task.pid,
            parent_tgid: record.task.parent_tgid,
            start_ns: record.task.start_ns,
            uid: record.task.uid,
            cgroup_id: record.task.cgroup_id,
            comm: ravn_shared::text::escape(record.task.comm),
            time_ns: record.time_ns,
            fields,
        }
    }

    /// The fields of `truth` that this record says otherwise: name, told, seen.
    pub fn differences(&self, truth: &Map<String, Value>) -> Vec<String> {
        truth
            .iter()
            .filter(|(name, told)| self.fields.get(*name) != Some(*told))
            .map(|(name, told)| {
                let seen = self.fields.get(name).unwrap_or(&Value::Null);
                format!("{name}: {seen}, in truth {told}")
            })
            .collect()
    }
}

/// Every record that waits in the list `key`, oldest first, chunks left out.
///
/// # Errors
/// When Redis does not answer, or a batch of the collector's cannot be decoded.
pub fn read(connection: &mut redis::Connection, key: &str) -> Result<Vec<Seen>> {
    let batches: Vec<Vec<u8>> = redis::cmd("LRANGE")
        .arg(key)
        .arg(0)
        .arg(-1)
        .query(connection)?;
    let mut all = Vec::new();
    for bytes in batches.iter().rev() {
        let batch = decode_batch(bytes).context("decode a batch of the collector's")?;
        let known = batch.records.iter().map(Seen::of);
        all.extend(known.filter(|seen| seen.kind != "sequence"));
    }
    Ok(all)
}
