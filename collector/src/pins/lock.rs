//! One collector an instance: a lock on its folder, which ends with the process.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Why a folder cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "{place} is held by {holder}: one collector an instance; stop it, or give this one another pins.instance"
)]
pub struct Held {
    /// The folder.
    place: String,
    /// Who holds it.
    holder: String,
}

/// Locks the folder.
///
/// # Errors
/// [`Held`] when another process has it.
pub fn lock(place: &Path) -> Result<File> {
    loop {
        let folder =
            File::open(place).with_context(|| format!("cannot open {}", place.display()))?;
        match folder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Held {
                    place: place.display().to_string(),
                    holder: holder(&folder),
                }
                .into());
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", place.display()));
            }
        }
        // Who held it may have removed it just before it let go.
        if fs::metadata(place).is_ok_and(|now| Some(now.ino()) == inode(&folder)) {
            return Ok(folder);
        }
        super::bpffs::prepare(place)?;
    }
}

/// Whether the folder is still the one that was locked.
pub fn holds(lock: &File, place: &Path) -> bool {
    fs::metadata(place).is_ok_and(|now| Some(now.ino()) == inode(lock))
}

fn inode(file: &File) -> Option<u64> {
    Some(file.metadata().ok()?.ino())
}

/// Who has the lock, by /proc/locks: `1: FLOCK ADVISORY WRITE 1234 00:1d:42 0 EOF`.
fn holder(folder: &File) -> String {
    let ending = format!(":{}", inode(folder).unwrap_or_default());
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let pid = locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1) == Some(&"FLOCK") && fields.get(5)?.ends_with(&ending))
            .then(|| fields[4].to_owned())
    });
    let Some(pid) = pid else {
        return "another process".to_owned();
    };
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("process {pid} ({})", name.trim())
}
