//! What was there before the hooks: every process and every cgroup, told once at the start.
//!
//! Taken after the hooks are attached, so that nothing falls between the two: what begins
//! meanwhile is told twice, which the analyzer knows by the process' start.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ravn_shared::clock;
use ravn_shared::event::{Cgroup, Event, Place, Record, Task};

use rmp_serde::encode::Error as EncodeError;

use crate::abi::{Decoder, sample_bytes};
use crate::intake::Intake;
use crate::programs::Programs;

/// More folders than this under one hierarchy are not told; those made later are.
const MOST_CGROUPS: usize = 65_536;
/// A cgroup's path that is longer is left out: the kernel's own limit for a path.
const MOST_PATH: usize = 4096;

/// Hands over every process and cgroup that is there. What cannot be read is left out, and said.
///
/// # Errors
/// When a record cannot be encoded.
pub fn take(programs: &Programs, only: &[PathBuf], intake: &Intake) -> Result<(), EncodeError> {
    let now_ns = clock::boottime_ns();
    let cgroups = cgroups(only, now_ns, intake)?;
    let processes = match programs.processes() {
        Ok(samples) => processes(&samples, now_ns, intake)?,
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
fn processes(samples: &[u8], now_ns: u64, intake: &Intake) -> Result<usize, EncodeError> {
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
    for (_, sample) in &starts {
        if let Some(record) = decoder.decode(sample) {
            intake.own(&Record {
                time_ns: now_ns,
                ..record
            })?;
        }
    }
    Ok(starts.len())
}

/// Walks the unified hierarchy: a folder's inode number is its cgroup's id.
fn cgroups(only: &[PathBuf], now_ns: u64, intake: &Intake) -> Result<usize, EncodeError> {
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

    use super::unified;

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
