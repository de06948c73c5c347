//! An open whose path another thread rewrites all the time.

use std::fs::File;
use std::os::fd::FromRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use anyhow::{Context, Result};
use serde_json::json;

use super::{Done, ok};

/// Opens `folder/a` or `folder/b` for writing `rounds` times, whichever name stands in the path
/// when the kernel reads it: a second thread changes its last byte without a pause. The truth
/// is how often each file was opened, by its inode.
///
/// # Errors
/// When a file is missing or a call fails.
pub fn open(folder: &str, rounds: &str) -> Result<Done> {
    let rounds: u32 = rounds.parse()?;
    let first = std::fs::metadata(format!("{folder}/a"))?.ino();
    let path: Vec<AtomicU8> = format!("{folder}/a\0").bytes().map(AtomicU8::new).collect();
    let last = path.len() - 2;
    let stop = AtomicBool::new(false);
    let (mut opened_a, mut opened_b, mut changed) = (0_u32, 0_u32, 0_u32);
    std::thread::scope(|scope| -> Result<()> {
        let rewriting = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                path[last].store(b'b', Ordering::Relaxed);
                path[last].store(b'a', Ordering::Relaxed);
            }
        });
        let result = (0..rounds).try_for_each(|_| {
            let before = path[last].load(Ordering::Relaxed);
            // SAFETY: the bytes end with a NUL that nobody changes, and an atomic byte has the
            // layout of a byte; the descriptor is owned at once.
            let file = unsafe {
                let fd = ok("open", libc::open(path.as_ptr().cast(), libc::O_WRONLY))?;
                File::from_raw_fd(fd)
            };
            changed += u32::from(path[last].load(Ordering::Relaxed) != before);
            if file.metadata()?.ino() == first {
                opened_a += 1;
            } else {
                opened_b += 1;
            }
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        rewriting
            .join()
            .ok()
            .context("the rewriting thread panicked")?;
        result
    })?;
    Ok(Done::new(
        "open",
        json!({"a": opened_a, "b": opened_b, "changed": changed}),
    ))
}
