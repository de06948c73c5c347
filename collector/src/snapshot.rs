//! What was there before the hooks: every process and every cgroup, told once at the start.
//!
//! Taken after the hooks are attached, so that nothing falls between the two: what begins
//! meanwhile is told twice, which the analyzer knows by the process' start.

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ravn_shared::clock;
use ravn_shared::event::{Cgroup, Event, Place, Record, Task, exec_flags};
use ravn_shared::pack::PackError;
use ravn_shared::redact::Redactor;

use crate::abi::{Decoder, sample_bytes};
use crate::config::Config;
use crate::intake::Intake;
use crate::programs::Programs;

/// As of an exec.
const MOST_ARGV: usize = 4096;
/// USER_HZ is 100 on x86 and arm64 (include/asm-generic/param.h).
const TICK_NS: u64 = 10_000_000;
/// More folders than this under one hierarchy are not told; those made later are.
const MOST_CGROUPS: usize = 65_536;
/// A cgroup's path that is longer is left out: the kernel's own limit for a path.
const MOST_PATH: usize = 4096;

/// Hands over every process and cgroup that is there. What cannot be read is left out, and said.
///
/// # Errors
/// When a record cannot be encoded.
pub fn take(programs: &Programs, config: &Config, intake: &Intake) -> Result<(), PackError> {
    let now_ns = clock::boottime_ns();
    // Checked with the rest of the configuration.
    let redactor = config.redact.redactor().unwrap_or_default();
    let cgroups = cgroups(&config.filter.only_cgroups, now_ns, intake)?;
    let processes = match programs.processes() {
        Ok(samples) => processes(&samples, &redactor, now_ns, intake)?,
        Err(error) => {
            tracing::warn!(
                "the processes that are there already are not known: {error:#}; \
                 they have no path and no parent until they start a program"
            );
            0
        }
    };
    tracing::info!("found {processes} processes in {cgroups} cgroups");
    Ok(())
}

/// Parents before their children, all at one time: a batch is sorted by time, stably.
fn processes(
    samples: &[u8],
    redactor: &Redactor,
    now_ns: u64,
    intake: &Intake,
) -> Result<usize, PackError> {
    let mut starts = Vec::new();
    let mut rest = samples;
    let mut decoder = Decoder::default();
    while let Some(bytes) = sample_bytes(rest).filter(|bytes| (1..=rest.len()).contains(bytes)) {
        let (sample, others) = rest.split_at(bytes);
        if let Some(record) = decoder.decode(sample) {
            starts.push((record.task.start_ns, sample));
        }
        rest = others;
    }
    starts.sort_by_key(|(start_ns, _)| *start_ns);
    let mut masked = Vec::with_capacity(MOST_ARGV);
    for (_, sample) in &starts {
        let Some(mut record) = decoder.decode(sample) else {
            continue;
        };
        let raw = arguments(&record.task);
        masked.clear();
        let own = intake.is_own(&record.task);
        if let Event::Process(process) = &mut record.event {
            if own {
                process.flags |= exec_flags::COLLECTOR;
            }
            let cut = process.argv_bytes as usize > raw.len();
            process.argv = &raw;
            if redactor.redact(&raw, cut, &mut masked) {
                process.flags |= exec_flags::REDACTED;
                let taken = raw.len().saturating_sub(masked.len());
                let taken = u32::try_from(taken).unwrap_or(0);
                process.argv_bytes = process.argv_bytes.saturating_sub(taken);
                process.argv = &masked;
            }
        }
        intake.own(&Record {
            time_ns: now_ns,
            ..record
        })?;
    }
    Ok(starts.len())
}

/// The arguments of a process, as `/proc` gives them: it never waits for whoever backs that
/// memory. Empty for a kernel thread, and for one that is another process by now.
fn arguments(task: &Task<'_>) -> Vec<u8> {
    let folder = format!("/proc/{}", task.tgid);
    let mut argv = Vec::new();
    let read = fs::File::open(format!("{folder}/cmdline"))
        .and_then(|file| file.take(MOST_ARGV as u64).read_to_end(&mut argv));
    let stat = fs::read(format!("{folder}/stat")).unwrap_or_default();
    if read.is_err() || start_ticks(&stat) != Some(task.start_ns / TICK_NS) {
        argv.clear();
    }
    argv
}

/// Field 22 of `/proc/PID/stat` (proc(5)); the name before it, in brackets, is the process' own.
fn start_ticks(stat: &[u8]) -> Option<u64> {
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = stat.get(name_ends + 2..)?;
    let field = fields.split(|byte| *byte == b' ').nth(19)?;
    std::str::from_utf8(field).ok()?.parse().ok()
}

/// Walks the unified hierarchy: a folder's inode number is its cgroup's id.
fn cgroups(only: &[PathBuf], now_ns: u64, intake: &Intake) -> Result<usize, PackError> {
    let mounts = fs::read("/proc/self/mounts").unwrap_or_default();
    let Some(root) = unified(&mounts) else {
        tracing::warn!(
            "no cgroup2 file system is mounted: units and containers have no names; \
             mount one at /sys/fs/cgroup"
        );
        return Ok(0);
    };
    let mut waiting = if only.is_empty() {
        vec![root.clone()]
    } else {
        only.to_vec()
    };
    let mut found = 0;
    while let Some(folder) = waiting.pop() {
        if found >= MOST_CGROUPS {
            tracing::warn!("more than {MOST_CGROUPS} cgroups; the others are not named");
            break;
        }
        // One that went away meanwhile is no loss.
        let Ok(metadata) = fs::metadata(&folder) else {
            continue;
        };
        if let Ok(below) = folder.strip_prefix(&root) {
            let path = [b"/", below.as_os_str().as_bytes()].concat();
            if path.len() <= MOST_PATH {
                intake.own(&Record {
                    cpu: 0,
                    n: 0,
                    time_ns: now_ns,
                    task: Task::default(),
                    place: Place::default(),
                    event: Event::CgroupFound(Cgroup {
                        id: metadata.ino(),
                        path: &path,
                    }),
                })?;
                found += 1;
            }
        }
        let children = fs::read_dir(&folder).into_iter().flatten().flatten();
        waiting.extend(
            children
                .filter(|child| child.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|child| child.path()),
        );
    }
    Ok(found)
}

/// Where the unified hierarchy is mounted.
fn unified(mounts: &[u8]) -> Option<PathBuf> {
    mounts.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let (_, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == b"cgroup2").then(|| Path::new(std::ffi::OsStr::from_bytes(place)).to_path_buf())
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{start_ticks, unified};

    #[test]
    fn a_name_with_brackets_does_not_move_the_fields() {
        let stat = b"12 (a) b (c)) S 1 12 12 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 987654 5 6";
        assert_eq!(start_ticks(stat), Some(987_654));
        assert_eq!(start_ticks(b"12 (a) S 1"), None);
    }

    #[test]
    fn the_unified_hierarchy_is_found_beside_the_old_ones() {
        let mounts = b"tmpfs /sys/fs/cgroup tmpfs ro 0 0\n\
            cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(
            unified(mounts).as_deref(),
            Some(Path::new("/sys/fs/cgroup/unified"))
        );
        assert_eq!(unified(b"proc /proc proc rw 0 0\n\n x"), None);
    }
}
