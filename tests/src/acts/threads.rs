//! Threads that make life hard for whoever tells them apart: they are pushed from CPU to CPU, or
//! live so shortly that their ids and stacks are another's a moment later.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, PoisonError};

use anyhow::{Context, Result};
use ravn_shared::clock::boottime_ns;
use serde_json::json;

use super::Done;
use super::syscalls::sequence;
use crate::bench::slices::{allowed_cpus, pin};

/// Short threads after which the kernel's next thread id is set back, so that each id is used
/// again and again whatever the host's pid_max is.
const ROUND: usize = 2000;

/// The call between which and itself a thread's sequence stands. No library makes it.
pub const MARK: libc::c_long = libc::SYS_getsid;

/// All that a thread here ever calls of [`MARK`] and, from its first mark on, of the kinds in
/// [`CHEAP`](super::syscalls::CHEAP), in order: its [`sequence`] between two marks.
pub fn told(seed: u64, thread: u64, count: usize) -> impl Iterator<Item = libc::c_long> {
    let mark = std::iter::once(MARK);
    mark.clone()
        .chain(sequence(seed, thread, count))
        .chain(mark)
}

/// Makes those calls; gives the thread's id, which `known` is told before.
fn calls(seed: u64, thread: u64, count: usize, known: impl FnOnce(u32)) -> u32 {
    let id = super::thread_id();
    known(id);
    for call in told(seed, thread, count) {
        // SAFETY: none of these calls touches memory, and none but the mark takes an argument,
        // where 0 is the caller.
        unsafe { libc::syscall(call, 0) };
    }
    id
}

/// `threads` threads that each make their calls at the same time, while another thread pushes
/// them from CPU to CPU all the time.
///
/// # Errors
/// An argument that is no number; when the kernel refuses.
pub fn hopping(seed: &str, count: &str, threads: &str) -> Result<Done> {
    let (seed, count, threads): (u64, usize, usize) =
        (seed.parse()?, count.parse()?, threads.parse()?);
    let cpus = allowed_cpus()?;
    let running = AtomicUsize::new(threads);
    let start = Barrier::new(threads + 1);
    let ids = Mutex::new(vec![0u32; threads]);
    let (own, pushes) = std::thread::scope(|scope| -> Result<(Vec<u32>, u64)> {
        let workers: Vec<_> = (0..threads)
            .map(|thread| {
                let (ids, start, running) = (&ids, &start, &running);
                scope.spawn(move || {
                    let id = calls(seed, thread as u64, count, |own| {
                        ids.lock().unwrap_or_else(PoisonError::into_inner)[thread] = own;
                        start.wait();
                    });
                    running.fetch_sub(1, Ordering::Relaxed);
                    id
                })
            })
            .collect();
        start.wait();
        let targets = ids.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut pushes = 0u64;
        while running.load(Ordering::Relaxed) > 0 {
            for target in &targets {
                let cpu = cpus[(pushes as usize).wrapping_mul(7) / 3 % cpus.len()];
                // One that has just ended cannot be pushed.
                let _ = pin(libc::pid_t::try_from(*target)?, cpu);
                pushes += 1;
            }
        }
        let ids = workers
            .into_iter()
            .map(|worker| worker.join().ok().context("a thread panicked"))
            .collect::<Result<Vec<u32>>>()?;
        Ok((ids, pushes))
    })?;
    Ok(Done::new(
        "sequence",
        json!({"seed": seed, "calls": count, "threads": own, "pushes": pushes}),
    ))
}

/// `threads` threads one after the other in each of two lines, each with a few calls of its own.
/// Tells id and birth of every one.
///
/// # Errors
/// An argument that is no number; when a thread cannot be started.
pub fn short(seed: &str, count: &str, threads: &str) -> Result<Done> {
    let (seed, count, threads): (u64, usize, usize) =
        (seed.parse()?, count.parse()?, threads.parse()?);
    let first_id = super::thread_id();
    let next = AtomicUsize::new(0);
    let told = std::thread::scope(|scope| -> Result<Vec<(u32, u64, usize)>> {
        let lines: Vec<_> = (0..2)
            .map(|_| {
                let next = &next;
                scope.spawn(move || -> Result<Vec<(u32, u64, usize)>> {
                    let mut told = Vec::new();
                    loop {
                        let thread = next.fetch_add(1, Ordering::Relaxed);
                        if thread >= threads {
                            return Ok(told);
                        }
                        if thread.is_multiple_of(ROUND) {
                            // Where this is refused, ids come again once pid_max is passed.
                            let _ = fs::write(
                                "/proc/sys/kernel/ns_last_pid",
                                first_id.saturating_add(100).to_string(),
                            );
                        }
                        let short =
                            std::thread::Builder::new()
                                .stack_size(64 << 10)
                                .spawn(move || {
                                    let born_ns = boottime_ns();
                                    (calls(seed, thread as u64, count, |_| ()), born_ns, thread)
                                })?;
                        told.push(short.join().ok().context("a thread panicked")?);
                    }
                })
            })
            .collect();
        let mut all = Vec::new();
        for line in lines {
            all.extend(line.join().ok().context("a thread panicked")??);
        }
        Ok(all)
    })?;
    Ok(Done::new(
        "sequence",
        json!({"seed": seed, "calls": count, "threads": told}),
    ))
}
