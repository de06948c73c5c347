//! A cgroup of one test, in the unified hierarchy; the collector is narrowed to it.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::wait_until;

/// Where the unified hierarchy is mounted, if it is.
pub fn unified() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    })
}

/// A cgroup that is removed, with everything that runs in it, when dropped.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes `name` at the root of the unified hierarchy.
    ///
    /// # Errors
    /// Without a unified hierarchy, or without the right to make one there.
    pub fn new(name: &str) -> Result<Self> {
        let path = unified()
            .context("no cgroup2 mount in /proc/mounts")?
            .join(name);
        fs::create_dir(&path).with_context(|| format!("make cgroup {}", path.display()))?;
        Ok(Self { path })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its id, as the kernel's records name it.
    ///
    /// # Errors
    /// When the folder is gone.
    pub fn id(&self) -> Result<u64> {
        Ok(fs::metadata(&self.path)?.ino())
    }

    /// Lets `command` run inside from its first instruction.
    ///
    /// # Errors
    /// When the cgroup cannot be opened.
    pub fn hold(&self, command: &mut Command) -> Result<()> {
        let procs = File::options()
            .write(true)
            .open(self.path.join("cgroup.procs"))
            .with_context(|| format!("open {}", self.path.display()))?;
        // SAFETY: between fork and exec only write(2), which is async-signal-safe, is called,
        // on a descriptor that the closure owns.
        unsafe {
            command.pre_exec(move || {
                match libc::write(procs.as_raw_fd(), c"0".as_ptr().cast(), 1) {
                    1 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        Ok(())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Since 5.14; before, what was started there has been waited for by its test.
        if let Ok(mut kill) = File::options()
            .write(true)
            .open(self.path.join("cgroup.kill"))
        {
            let _ = kill.write_all(b"1");
        }
        // A dying process leaves its cgroup a moment after it was killed.
        let removed = wait_until(Duration::from_secs(5), "the cgroup to be empty", || {
            Ok(fs::remove_dir(&self.path).ok())
        });
        if let Err(error) = removed {
            eprintln!("{}: {error:#}", self.path.display());
        }
    }
}
