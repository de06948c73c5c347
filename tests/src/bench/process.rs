//! What the kernel knows of a process' own use of the machine.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// CPU time of all threads that live, nanoseconds, by the scheduler's own clock.
///
/// # Errors
/// When the process is gone, or the kernel keeps no schedstat.
pub fn cpu_ns(pid: u32) -> Result<u64> {
    let folder = format!("/proc/{pid}/task");
    let mut sum = 0;
    for entry in Path::new(&folder)
        .read_dir()
        .with_context(|| folder.clone())?
    {
        let path = entry?.path().join("schedstat");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let first = text.split(' ').next().unwrap_or_default();
        sum += first
            .parse::<u64>()
            .with_context(|| path.display().to_string())?;
    }
    Ok(sum)
}

/// CPU time of the calling thread, nanoseconds.
///
/// # Errors
/// When the kernel has no such clock.
pub fn own_thread_cpu_ns() -> Result<u64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable.
    let got = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    if got != 0 {
        return Err(std::io::Error::last_os_error()).context("the thread's CPU clock");
    }
    Ok(u64::try_from(time.tv_sec)? * 1_000_000_000 + u64::try_from(time.tv_nsec)?)
}

/// Anonymous memory that is resident, MiB: rings and maps are shared memory and not in it.
///
/// # Errors
/// When the process is gone.
pub fn anonymous_mib(pid: u32) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let kib: f64 = text
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .with_context(|| format!("{path} has no RssAnon"))?;
    Ok(kib / 1024.0)
}

/// CPU time that all programs of the machine used since boot, seconds: user, nice, system and
/// interrupts of /proc/stat.
///
/// # Errors
/// Without /proc.
pub fn machine_cpu_s() -> Result<f64> {
    let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map_while(|number| number.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal …
    let used = [0, 1, 2, 5, 6].iter().filter_map(|at| ticks.get(*at));
    // SAFETY: sysconf has no preconditions.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(used.sum::<u64>() as f64 / (per_second as f64).max(1.0))
}
