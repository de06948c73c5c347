//! `ravn events`: a copy of what is judged, as it comes through `events:tap`.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::builder::PossibleValuesParser;
use ravn_shared::event::Record;
use ravn_shared::kind::Kind;
use ravn_shared::show;
use ravn_shared::text::escape;
use ravn_shared::wire::decode_batch;
use serde_json::{Map, json};

use super::access::{Access, said, tap};
use super::paint;

/// What `ravn events` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this kind; may be given several times
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(Kind::ALL.iter().map(|kind| kind.name())))]
    kind: Vec<String>,
    /// Only this process; may be given several times
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// Stop after this many
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Print each as one JSON object
    #[arg(long)]
    json: bool,
}

impl Args {
    fn wants(&self, record: &Record<'_>) -> bool {
        let name = show::kind(&record.event);
        // Chunks of sequences are bytes to a person: only who asks for them sees them.
        let kind = if self.kind.is_empty() {
            name != Kind::Chunk.name()
        } else {
            self.kind.iter().any(|kind| kind == name)
        };
        kind && (self.pid.is_empty() || self.pid.contains(&record.task.tgid))
    }
}

/// Prints events until Ctrl-C, or as many as were asked for.
///
/// # Errors
/// What Redis said, and the mend.
pub fn run(access: &Access, args: &Args) -> Result<ExitCode> {
    let mut connection = access.operator()?;
    let mut tap = tap(&mut connection, &access.keys())?;
    // Events may be seldom: waiting for the next has no deadline.
    tap.set_read_timeout(None).map_err(|error| said(&error))?;
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut broken = BTreeSet::new();
    while left > 0 {
        let message = tap.get_message().map_err(|error| said(&error))?;
        let bytes = message.get_payload_bytes();
        let batch = match decode_batch(bytes) {
            Ok(batch) => batch,
            Err(error) => {
                // Said once for each cause: who can publish here could fill the terminal.
                if broken.len() < 8 && broken.insert(error.to_string()) {
                    eprintln!("ravn: a batch cannot be read: {error}");
                }
                continue;
            }
        };
        let mut out = std::io::stdout().lock();
        for record in batch.records.iter().filter(|record| args.wants(record)) {
            if left == 0 {
                break;
            }
            left -= 1;
            let line = if args.json {
                json_line(record, batch.header.host, batch.header.clock_offset_ns)?
            } else {
                line(record, batch.header.clock_offset_ns)
            };
            writeln!(out, "{line}")?;
        }
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn time_ms(record: &Record<'_>, clock_offset_ns: i64) -> u64 {
    let real = record.time_ns.cast_signed().saturating_add(clock_offset_ns);
    real.max(0).cast_unsigned() / 1_000_000
}

fn line(record: &Record<'_>, clock_offset_ns: i64) -> String {
    let ms = time_ms(record, clock_offset_ns);
    let fields: Vec<String> = show::fields(&record.event)
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    format!(
        "{}.{:03} {:<10} {:>7} {:<15} uid={} {}",
        paint::time_of_day(ms),
        ms % 1000,
        show::kind(&record.event),
        record.task.tgid,
        escape(record.task.comm),
        record.task.uid,
        fields.join(" "),
    )
}

fn json_line(record: &Record<'_>, host: &str, clock_offset_ns: i64) -> Result<String> {
    let task = &record.task;
    let mut all = Map::new();
    for (name, value) in show::fields(&record.event) {
        all.insert(name.to_owned(), serde_json::to_value(value)?);
    }
    let line = json!({
        "host": host, "time_ms": time_ms(record, clock_offset_ns), "time_ns": record.time_ns,
        "kind": show::kind(&record.event), "cpu": record.cpu, "n": record.n,
        "tgid": task.tgid, "pid": task.pid, "start_ns": task.start_ns,
        "parent_tgid": task.parent_tgid, "uid": task.uid, "gid": task.gid,
        "cgroup_id": task.cgroup_id, "comm": escape(task.comm), "fields": all,
    });
    serde_json::to_string(&line).map_err(|error| anyhow!("an event as JSON: {error}"))
}
