//! One minute of a run: what everything uses, holds and has accounted for.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::bench::process::anonymous_mib;

const MIB: f64 = 1024.0 * 1024.0;

/// A column: its name in the file, its heading, digits after the point, and by how much it may
/// grow from the first quarter of a run to the last.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// As it stands in the file.
    pub name: &'static str,
    /// As it stands above the table.
    pub heading: &'static str,
    /// Digits after the point.
    pub digits: usize,
    /// None: it is shown, and not held against anything.
    pub room: Option<Room>,
    /// It only ever rises.
    pub counts: bool,
}

/// How much a column may grow: by a share of itself, and by so much beside.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Share of the first quarter's median.
    pub share: f64,
    /// Beside it.
    pub more: f64,
}

const fn shown(name: &'static str, heading: &'static str, digits: usize) -> Column {
    Column {
        name,
        heading,
        digits,
        room: None,
        counts: false,
    }
}

const fn count(name: &'static str, heading: &'static str) -> Column {
    Column {
        counts: true,
        ..shown(name, heading, 0)
    }
}

const fn flat(name: &'static str, heading: &'static str, share: f64, more: f64) -> Column {
    Column {
        name,
        heading,
        digits: 0,
        room: Some(Room { share, more }),
        counts: false,
    }
}

/// Every column, in order. What an allocator keeps, and what a table holds of the last minutes,
/// moves by some share; a leak of an hour's load does not fit into it.
pub const COLUMNS: [Column; 25] = [
    shown("minute", "min", 0),
    flat("collector_rss_mib", "c.rss", 0.25, 24.0),
    // What waited for Redis stays with the allocator; a collector that was just started has 1 MiB.
    flat("collector_anon_mib", "c.anon", 0.25, 16.0),
    flat("collector_fds", "c.fd", 0.0, 4.0),
    flat("analyzer_rss_mib", "a.rss", 0.25, 32.0),
    flat("analyzer_anon_mib", "a.anon", 0.25, 24.0),
    flat("analyzer_fds", "a.fd", 0.0, 4.0),
    flat("redis_used_mib", "redis", 0.25, 16.0),
    flat("bpf_mib", "bpf", 0.0, 1.0),
    flat("slab_unreclaimable_mib", "slab", 0.25, 64.0),
    flat("processes", "procs", 0.5, 500.0),
    flat("threads", "thrs", 0.5, 500.0),
    // Each program of the load is an incident of its own, and one is kept for an hour.
    flat("incidents", "incid", 0.5, 3500.0),
    flat("checkpoint_fields", "fields", 0.5, 4500.0),
    // At any moment what came since the last commit, and what sequences wait for: up to 2.5 s of some
    // 200 batches a second, or none just after an outage.
    flat("queued_batches", "queue", 0.5, 500.0),
    shown("events_per_s", "ev/s", 0),
    count("produced", "produced"),
    count("judged", "judged"),
    count("lost", "lost"),
    shown("dead", "dead", 0),
    shown("unexplained", "unexp", 0),
    count("syscalls_produced", "syscalls"),
    shown("syscalls_lost", "s.lost", 0),
    shown("faults", "faults", 0),
    shown("silence_s", "silent", 1),
];

/// Width of a count, and of all else.
const WIDE: usize = 10;
const NARROW: usize = 6;

/// The values of one minute, by [`COLUMNS`].
#[derive(Clone, Debug)]
pub struct Row(pub [f64; COLUMNS.len()]);

impl Row {
    /// From values by their names.
    ///
    /// # Errors
    /// When one is missing.
    pub fn of(values: &HashMap<&str, f64>) -> Result<Self> {
        let mut row = [0.0; COLUMNS.len()];
        for (value, column) in row.iter_mut().zip(&COLUMNS) {
            *value = *values
                .get(column.name)
                .with_context(|| format!("nobody measured {}", column.name))?;
        }
        Ok(Self(row))
    }

    /// The names above the rows.
    pub fn heading() -> String {
        let cells = COLUMNS.map(|column| format!("{:>1$}", column.heading, width(&column)));
        cells.join(" ")
    }

    /// As it stands in the file.
    pub fn json(&self) -> Value {
        let cells = COLUMNS.iter().zip(self.0);
        let cells = cells.map(|(column, value)| {
            let rounded = (value * 100.0).round() / 100.0;
            (column.name.to_owned(), json!(rounded))
        });
        Value::Object(cells.collect::<Map<String, Value>>())
    }
}

const fn width(column: &Column) -> usize {
    if column.counts { WIDE } else { NARROW }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (column, value)) in COLUMNS.iter().zip(self.0).enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{value:>0$.1$}", width(column), column.digits)?;
        }
        Ok(())
    }
}

/// Resident memory, anonymous memory (MiB) and descriptors of a process.
///
/// # Errors
/// When it is gone.
pub fn of_process(pid: u32) -> Result<(f64, f64, f64)> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let rss = field(&status, "VmRSS:").with_context(|| format!("{path} has no VmRSS"))?;
    let fds = Path::new(&format!("/proc/{pid}/fd")).read_dir()?.count();
    Ok((rss * 1024.0 / MIB, anonymous_mib(pid)?, fds as f64))
}

/// Memory of the BPF maps and programs that a process holds, MiB: `memlock` of each, once.
///
/// # Errors
/// When the process is gone.
pub fn bpf_mib(pid: u32) -> Result<f64> {
    let mut held: HashMap<String, f64> = HashMap::new();
    let folder = format!("/proc/{pid}/fdinfo");
    for entry in Path::new(&folder)
        .read_dir()
        .with_context(|| folder.clone())?
    {
        // One may be closed meanwhile.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        if let Some((id, bytes)) = bpf_object(&text) {
            held.insert(id, bytes);
        }
    }
    Ok(held.values().sum::<f64>() / MIB)
}

/// Name and bytes of the BPF object that a descriptor's lines in /proc speak of.
fn bpf_object(text: &str) -> Option<(String, f64)> {
    let line = |name: &str| {
        let mut lines = text.lines();
        lines.find(|line| line.starts_with(name))
    };
    let id = line("map_id:").or_else(|| line("prog_id:"))?;
    let bytes = line("memlock:")?.split_whitespace().nth(1)?.parse().ok()?;
    Some((id.to_owned(), bytes))
}

/// The kernel's own memory that cannot be reclaimed, of the whole machine, MiB.
///
/// # Errors
/// Without /proc.
pub fn slab_mib() -> Result<f64> {
    let text = fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let kib = field(&text, "SUnreclaim:").context("/proc/meminfo has no SUnreclaim")?;
    Ok(kib * 1024.0 / MIB)
}

/// The number behind a name in lines of /proc.
fn field(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_bpf_object_counts_by_its_id_and_a_link_does_not() {
        let map = "pos:\t0\nmap_type:\t1\nmemlock:\t4096\nmap_id:\t17\nfrozen:\t0\n";
        assert_eq!(bpf_object(map), Some(("map_id:\t17".to_owned(), 4096.0)));
        let program = "prog_type:\t26\nmemlock:\t8192\nprog_id:\t5\n";
        assert_eq!(
            bpf_object(program),
            Some(("prog_id:\t5".to_owned(), 8192.0))
        );
        // A link names its program, whose memory is not the link's.
        assert_eq!(bpf_object("link_type:\ttracing\nprog_id:\t5\n"), None);
        assert_eq!(bpf_object("pos:\t0\nflags:\t02\n"), None);
    }

    #[test]
    fn a_row_has_every_column_below_its_heading() {
        let mut values: HashMap<&str, f64> =
            COLUMNS.iter().map(|column| (column.name, 12.0)).collect();
        let row = Row::of(&values).unwrap();
        assert_eq!(row.to_string().len(), Row::heading().len());
        assert_eq!(row.json()["bpf_mib"], 12.0);
        values.remove("dead");
        let error = Row::of(&values).unwrap_err().to_string();
        assert!(error.contains("dead"), "{error}");
    }

    #[test]
    fn numbers_of_proc_are_found_by_their_names() {
        let text = "Slab:   9 kB\nSUnreclaim:    4096 kB\n";
        assert_eq!(field(text, "SUnreclaim:"), Some(4096.0));
        assert_eq!(field(text, "VmRSS:"), None);
    }
}
