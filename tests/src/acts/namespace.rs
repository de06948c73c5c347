//! Acts on namespaces and roots.

use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};
use serde_json::json;

use super::process::capabilities;
use super::{Done, kernel_result, ok};

/// The inode number of a namespace of this process.
fn number(kind: &str) -> Result<u64> {
    Ok(std::fs::metadata(format!("/proc/self/ns/{kind}"))?.ino())
}

/// Moves into a user namespace of its own.
///
/// # Errors
/// When the call fails.
pub fn unshare() -> Result<Done> {
    // SAFETY: one thread.
    ok("unshare", unsafe { libc::unshare(libc::CLONE_NEWUSER) })?;
    Ok(Done::new(
        "unshare",
        json!({
            "namespaces": "user", "ret": 0, "user_ns": number("user")?, "user_ns_level": 1,
            "target_tgid": 0,
        }),
    ))
}

/// The same, told as what it does to the credentials: another user namespace, and every
/// capability in it.
///
/// # Errors
/// When a call fails.
pub fn unshare_creds() -> Result<Done> {
    let (before, effective) = (number("user")?, capabilities("CapEff:")?);
    unshare()?;
    Ok(Done::new(
        "creds",
        json!({
            "syscall": libc::SYS_unshare, "ret": 0, "user_ns": number("user")?,
            "user_ns_level": 1, "cap_effective": capabilities("CapEff:")?, "before_known": true,
            "user_ns_before": before, "user_ns_level_before": 0,
            "cap_effective_before": effective,
        }),
    ))
}

/// A child with a UTS namespace of its own, from its first moment.
///
/// # Errors
/// When the call fails.
pub fn clone() -> Result<Done> {
    let flags = libc::CLONE_NEWUTS | libc::SIGCHLD;
    // SAFETY: without a stack this is a fork; the child only ends, and is waited for.
    let child = unsafe {
        let child = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0);
        if child == 0 {
            libc::_exit(0);
        }
        libc::waitpid(-1, std::ptr::null_mut(), 0);
        kernel_result(child)
    };
    Ok(Done::new(
        "unshare",
        json!({"namespaces": "uts", "ret": 0, "target_tgid": child, "user_ns": number("user")?}),
    ))
}

/// Leaves the UTS namespace of PID 1, and goes back. To be run there.
///
/// # Errors
/// When a call fails.
pub fn setns() -> Result<Done> {
    let file = std::fs::File::open("/proc/self/ns/uts")?;
    // SAFETY: one thread; the descriptor is open.
    unsafe {
        ok("unshare", libc::unshare(libc::CLONE_NEWUTS))?;
        ok("setns", libc::setns(file.as_raw_fd(), 0))?;
    }
    Ok(Done::new(
        "setns",
        json!({
            "namespaces": "uts", "of_init": "uts", "ns": file.metadata()?.ino(), "ret": 0,
            "target_tgid": 0,
        }),
    ))
}

/// Enters the UTS namespace of a child by a pidfd of it.
///
/// # Errors
/// When a call fails.
pub fn setns_process() -> Result<Done> {
    // SAFETY: one thread; the child waits to be killed. The calls take no pointers.
    let child = unsafe {
        ok("unshare", libc::unshare(libc::CLONE_NEWUTS))?;
        let child = super::other::Waiting::start(None)?;
        let fd = kernel_result(libc::syscall(libc::SYS_pidfd_open, child.pid(), 0));
        let fd = i32::try_from(fd)?;
        ok("setns", libc::setns(fd, libc::CLONE_NEWUTS))?;
        child
    };
    Ok(Done::new(
        "setns",
        json!({
            "namespaces": "uts", "of_init": "", "ns": 0, "ret": 0, "target_tgid": child.pid(),
        }),
    ))
}

/// Asks for a root that is no mount: refused.
///
/// # Errors
/// When it is taken.
pub fn pivot_root(folder: &str) -> Result<Done> {
    let root = std::ffi::CString::new(folder)?;
    // SAFETY: both are C strings.
    let ret = kernel_result(unsafe {
        libc::syscall(libc::SYS_pivot_root, root.as_ptr(), c"old root".as_ptr())
    });
    (ret < 0).then_some(()).context("pivot_root succeeded")?;
    Ok(Done::new(
        "pivot_root",
        json!({"new_root": folder, "put_old": "old root", "ret": ret}),
    ))
}
