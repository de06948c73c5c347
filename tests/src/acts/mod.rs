//! What the trigger program does: one act each, by direct system calls, told truthfully.
//!
//! An act gives the kind of the record that it must make and the fields that it must have; the
//! program prints them as one line of JSON.

pub mod again;
pub mod door;
pub mod file;
pub mod mix;
pub mod namespace;
pub mod network;
pub mod other;
pub mod process;
pub mod race;
pub mod ring;
pub mod security;
pub mod syscalls;
pub mod threads;
pub mod ways;

use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use ravn_shared::clock::boottime_ns;
use serde_json::{Value, json};

/// What was done.
#[derive(Clone, Debug)]
pub struct Done {
    /// Kind of the record.
    pub kind: &'static str,
    /// Fields that the record must have; others are not compared.
    pub fields: Value,
    /// Process and thread that did it; None for the caller.
    pub by: Option<(u32, u32)>,
}

impl Done {
    /// Done by the calling thread.
    pub const fn new(kind: &'static str, fields: Value) -> Self {
        Self {
            kind,
            fields,
            by: None,
        }
    }

    /// Prints the truth as one line of JSON.
    pub fn print(&self) {
        let (tgid, pid) = self.by.unwrap_or_else(|| (std::process::id(), thread_id()));
        let began = *BEGAN.get_or_init(boottime_ns);
        let line = json!({
            "kind": self.kind, "tgid": tgid, "pid": pid, "began_ns": began, "fields": self.fields,
        });
        println!("{line}");
    }
}

/// CLOCK_BOOTTIME before the act; the trigger program sets it first of all.
pub static BEGAN: OnceLock<u64> = OnceLock::new();

/// The calling thread's id.
pub fn thread_id() -> u32 {
    // SAFETY: gettid has no preconditions.
    let id = unsafe { libc::gettid() };
    id.cast_unsigned()
}

/// The result of a libc call that gives −1 for failure.
///
/// # Errors
/// `what` and the operating system's word.
pub fn ok(what: &str, result: libc::c_int) -> Result<libc::c_int> {
    if result < 0 {
        return Err(std::io::Error::last_os_error()).with_context(|| what.to_owned());
    }
    Ok(result)
}

/// The result of a call as the kernel returned it: the value, or −errno.
pub fn kernel_result(result: libc::c_long) -> i64 {
    if result < 0 {
        let error = std::io::Error::last_os_error().raw_os_error();
        return -i64::from(error.unwrap_or_default());
    }
    result
}

/// Whether a call that gave `ret` succeeded.
///
/// # Errors
/// The operating system's word for its negative errno.
pub fn succeeded(call: &str, ret: i64) -> Result<()> {
    if ret < 0 {
        bail!(
            "{call}: {}",
            std::io::Error::from_raw_os_error(i32::try_from(-ret)?)
        );
    }
    Ok(())
}

/// A device as the kernel writes it inside itself (major << 20 | minor), from `st_dev`.
pub fn kernel_dev(dev: u64) -> u32 {
    libc::major(dev) << 20 | libc::minor(dev)
}
