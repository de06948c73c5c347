//! Many cheap system calls in an order that the seed decides, so that a test can tell whether
//! a thread's sequence arrived whole; and storms of events for the benches.

use std::ffi::CString;

use anyhow::{Context, Result};
use serde_json::json;

use super::{Done, file, network, ok, security};
use crate::bench::slices::{allowed_cpus, pin};

/// Calls that take nothing, change nothing and cannot fail.
pub const CHEAP: [libc::c_long; 8] = [
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_gettid,
    libc::SYS_sched_yield,
];

/// The numbers of the calls that a thread makes, in order: xorshift64 of `seed` and `thread`.
pub fn sequence(seed: u64, thread: u64, count: usize) -> impl Iterator<Item = libc::c_long> {
    let mut state = (seed ^ thread.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1;
    (0..count).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        CHEAP[(state >> 32) as usize % CHEAP.len()]
    })
}

/// `threads` threads that each make their [`sequence`] of `count` calls at the same time.
///
/// # Errors
/// An argument that is no number.
pub fn run(seed: &str, count: &str, threads: &str) -> Result<Done> {
    let (seed, count, threads): (u64, usize, u64) =
        (seed.parse()?, count.parse()?, threads.parse()?);
    let running: Vec<_> = (0..threads)
        .map(|thread| {
            let calls: Vec<_> = sequence(seed, thread, count).collect();
            std::thread::spawn(move || {
                let id = super::thread_id();
                for call in calls {
                    // SAFETY: none of these calls takes an argument or touches memory.
                    unsafe { libc::syscall(call) };
                }
                id
            })
        })
        .collect();
    let ids = running
        .into_iter()
        .map(|thread| thread.join().ok().context("a thread panicked"))
        .collect::<Result<Vec<u32>>>()?;
    Ok(Done::new(
        "sequence",
        json!({"seed": seed, "calls": count, "threads": ids}),
    ))
}

/// One act for each ring, in a process that then ends: what arrives with it or before it is
/// all that there was before.
///
/// # Errors
/// When a call fails.
pub fn fence() -> Result<Done> {
    let path = std::env::temp_dir().join(format!("ravn-fence-{}", std::process::id()));
    let path = path.to_string_lossy();
    file::open_create(&path)?;
    file::unlink(&path)?;
    network::bind()?;
    security::memfd()?;
    Ok(Done::new("exit", json!({})))
}

/// `count` children, one after another, that end at once.
///
/// # Errors
/// When one cannot be made.
pub fn crowd(count: &str) -> Result<Done> {
    let count: u64 = count.parse()?;
    for _ in 0..count {
        // SAFETY: the child calls nothing but _exit, which is safe after fork.
        unsafe {
            let child = ok("fork", libc::fork())?;
            if child == 0 {
                libc::_exit(0);
            }
            ok("wait", libc::waitpid(child, std::ptr::null_mut(), 0))?;
        }
    }
    Ok(Done::new("exit", json!({"children": count})))
}

/// `count` times: create a file in `folder`, close it, remove it, at `per_second` (0: as fast
/// as it goes). Two records each.
///
/// # Errors
/// When a call fails.
pub fn storm(folder: &str, count: &str, per_second: &str) -> Result<Done> {
    let (count, rate): (u64, u64) = (count.parse()?, per_second.parse()?);
    let name = CString::new(format!("{folder}/storm-{}", std::process::id()))?;
    let started = std::time::Instant::now();
    for done in 0..count {
        // SAFETY: `name` is a C string, and the descriptor is this loop's own.
        unsafe {
            let fd = ok(
                "open",
                libc::open(name.as_ptr(), libc::O_CREAT | libc::O_WRONLY, 0o600),
            )?;
            libc::close(fd);
            ok("unlink", libc::unlink(name.as_ptr()))?;
        }
        // Keeps the rate in steps of 1 ms, so that pacing costs little.
        if rate > 0 && done % (rate / 1000).max(1) == 0 {
            let due = std::time::Duration::from_secs_f64(done as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(started.elapsed()));
        }
    }
    Ok(Done::new(
        "unlink",
        json!({"records": 2 * count, "ms": started.elapsed().as_millis() as u64}),
    ))
}

/// `count` times: open a file of `folder` to write, on one CPU after the other.
///
/// # Errors
/// When a call fails.
pub fn hopping_opens(folder: &str, count: &str) -> Result<Done> {
    let count: usize = count.parse()?;
    let name = CString::new(format!("{folder}/hopping-{}", std::process::id()))?;
    for cpu in allowed_cpus()?.into_iter().cycle().take(count) {
        pin(0, cpu)?;
        // SAFETY: `name` is a C string, and the descriptor is this loop's own.
        unsafe {
            let flags = libc::O_CREAT | libc::O_WRONLY;
            libc::close(ok("open", libc::open(name.as_ptr(), flags, 0o600))?);
        }
    }
    Ok(Done::new("open", json!({"records": count})))
}
