//! `ravn alerts`, and the last alerts for `ravn watch`.

use std::process::ExitCode;

use anyhow::Result;
use ravn_shared::keys::Keys;
use ravn_shared::text::escape;
use redis::Connection;
use redis::streams::StreamRangeReply;
use serde_json::Value;

use super::access::{Access, said};
use super::paint::{self, Paint, cut};
use super::state::text;

/// Alerts that are read in one go.
const PAGE: usize = 200;

/// What `ravn alerts` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many
    #[arg(long, default_value_t = 20, value_name = "N")]
    last: usize,
    /// Print each as its OCSF Detection Finding, one JSON a line
    #[arg(long)]
    json: bool,
}

/// One entry of `ravn:alerts`.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The entry's id in the stream.
    pub id: String,
    /// Short name of the rule.
    pub rule: String,
    /// The finding.
    pub body: Value,
}

impl Entry {
    /// One line for people.
    pub fn line(&self, paint: Paint, width: usize) -> String {
        let level = text(self.body["unmapped"]["ravn"].get("level"));
        let time = self.body["time"].as_u64().unwrap_or_default();
        let message = match text(self.body.get("message")) {
            empty if empty.is_empty() => text(self.body["finding_info"].get("title")),
            message => message,
        };
        let score = self.body["risk_score"].as_f64().unwrap_or_default();
        let incident = text(self.body["metadata"].get("correlation_uid"));
        let words = cut(&message, width.saturating_sub(26 + incident.len()));
        format!(
            "{}  {score:>3.0}  {}  {}  {words}",
            paint::time_of_day(time),
            paint.level(&level),
            paint.dim(&incident),
        )
    }
}

/// The last `most` alerts, oldest first.
///
/// # Errors
/// What Redis said, and the mend.
pub fn last(connection: &mut Connection, keys: &Keys, most: usize) -> Result<Vec<Entry>> {
    let mut entries = before(connection, keys, "+", most)?;
    entries.reverse();
    Ok(entries)
}

/// Every alert that is there, the newest first; a few of them are in memory at a time.
///
/// # Errors
/// What Redis said, and the mend.
pub fn each(connection: &mut Connection, keys: &Keys, mut look: impl FnMut(Entry)) -> Result<()> {
    let mut end = "+".to_owned();
    loop {
        let entries = before(connection, keys, &end, PAGE)?;
        let Some(last) = entries.last() else {
            return Ok(());
        };
        end = format!("({}", last.id);
        entries.into_iter().for_each(&mut look);
    }
}

/// At most `most` alerts up to an id, the newest first.
fn before(connection: &mut Connection, keys: &Keys, end: &str, most: usize) -> Result<Vec<Entry>> {
    let reply: StreamRangeReply = redis::cmd("XREVRANGE")
        .arg(keys.alerts())
        .arg(end)
        .arg("-")
        .arg("COUNT")
        .arg(most)
        .query(connection)
        .map_err(|error| said(&error))?;
    let entries = reply.ids.into_iter().map(|entry| {
        let body: Vec<u8> = entry.get("body").unwrap_or_default();
        let rule: String = entry.get("rule").unwrap_or_default();
        Entry {
            id: entry.id,
            rule: escape(rule.as_bytes()),
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        }
    });
    Ok(entries.collect())
}

/// Prints the last alerts.
///
/// # Errors
/// What Redis said, and the mend.
pub fn run(access: &Access, args: &Args) -> Result<ExitCode> {
    let mut connection = access.reader()?;
    let entries = last(&mut connection, &access.keys(), args.last)?;
    let (paint, (width, _)) = (Paint::new(), paint::size());
    for entry in &entries {
        if args.json {
            println!("{}", entry.body);
        } else {
            println!("{}", entry.line(paint, width));
        }
    }
    if entries.is_empty() && !args.json {
        println!("no alerts yet");
    }
    Ok(ExitCode::SUCCESS)
}
