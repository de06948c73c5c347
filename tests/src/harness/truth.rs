//! What the trigger program says that it did, and whether the records say the same.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

use super::events::Seen;

/// What one run of the trigger program did, in its own words.
#[derive(Clone, Debug)]
pub struct Truth {
    /// Kind of the record that it must make.
    pub kind: String,
    /// Its process.
    pub tgid: u32,
    /// Its thread.
    pub pid: u32,
    /// CLOCK_BOOTTIME before the act.
    pub began_ns: u64,
    /// Fields of the payload.
    pub fields: Map<String, Value>,
}

impl Truth {
    /// The records of the act: of that kind, by that process, since it began.
    pub fn records<'s>(&self, records: &'s [Seen]) -> Vec<&'s Seen> {
        // Of a program that replaces itself, the second exec is the act.
        let itself = |seen: &Seen| {
            let argv = seen.fields.get("argv").and_then(Value::as_str);
            argv.is_some_and(|argv| argv.contains("trigger exec"))
        };
        records
            .iter()
            .filter(|seen| seen.kind == self.kind && seen.tgid == self.tgid)
            .filter(|seen| seen.time_ns >= self.began_ns && !itself(seen))
            .collect()
    }

    /// Looks whether the act is told exactly once, of who did it, in that cgroup, with all its
    /// fields.
    ///
    /// # Errors
    /// What is told otherwise.
    pub fn check(&self, records: &[Seen], cgroup_id: u64) -> Result<()> {
        let own = self.records(records);
        let [seen] = own.as_slice() else {
            anyhow::bail!(
                "{} records of kind {}, in all {records:#?}",
                own.len(),
                self.kind
            );
        };
        let differences = seen.differences(&self.fields);
        ensure!(differences.is_empty(), "{differences:#?} in {seen:#?}");
        ensure!(
            (seen.pid, seen.cgroup_id) == (self.pid, cgroup_id),
            "told of another: {seen:#?}"
        );
        Ok(())
    }
}

/// Reads what a run of the trigger program printed.
///
/// # Errors
/// When it failed, or printed something else.
pub fn truth(args: &[&str], output: &Output) -> Result<Truth> {
    let told = String::from_utf8_lossy(&output.stdout);
    let line = told.lines().next().unwrap_or_default();
    let value: Value = serde_json::from_str(line).with_context(|| {
        let words = String::from_utf8_lossy(&output.stderr);
        format!("trigger {args:?} ({}): {told}{words}", output.status)
    })?;
    let number = |name: &str| {
        let number = value[name].as_u64().unwrap_or_default();
        u32::try_from(number).unwrap_or_default()
    };
    Ok(Truth {
        kind: value["kind"].as_str().unwrap_or_default().to_owned(),
        tgid: number("tgid"),
        pid: number("pid"),
        began_ns: value["began_ns"].as_u64().unwrap_or_default(),
        fields: value["fields"].as_object().cloned().unwrap_or_default(),
    })
}
