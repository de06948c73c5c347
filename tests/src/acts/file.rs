//! Acts on files.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::{Done, kernel_dev, ok};

fn c(path: &str) -> Result<CString> {
    CString::new(path).with_context(|| format!("{path:?} has a NUL"))
}

/// Opens `path`, which must not exist, with O_CREAT.
///
/// # Errors
/// When the call fails.
pub fn open_create(path: &str) -> Result<Done> {
    open(path, libc::O_CREAT | libc::O_WRONLY | libc::O_EXCL, true)
}

/// Opens the existing `path` for appending.
///
/// # Errors
/// When the call fails.
pub fn open_write(path: &str) -> Result<Done> {
    open(path, libc::O_WRONLY | libc::O_APPEND, false)
}

fn open(path: &str, flags: libc::c_int, created: bool) -> Result<Done> {
    let name = c(path)?;
    // SAFETY: `name` is a C string; the mode is given as O_CREAT wants it.
    let fd = ok("open", unsafe { libc::open(name.as_ptr(), flags, 0o640) })?;
    // SAFETY: `fd` is open; the call has no pointers.
    let kept = ok("fcntl", unsafe { libc::fcntl(fd, libc::F_GETFL) })?;
    let file = fs::metadata(path)?;
    let full = fs::canonicalize(path)?;
    Ok(Done::new(
        "open",
        json!({
            "path": full.to_string_lossy(), "flags": kept, "mode": file.mode(),
            "ino": file.ino(), "dev": kernel_dev(file.dev()), "created": created, "cut": false,
        }),
    ))
}

/// Removes the absolute `path`.
///
/// # Errors
/// When the call fails.
pub fn unlink(path: &str) -> Result<Done> {
    let name = c(path)?;
    // SAFETY: `name` is a C string.
    ok("unlink", unsafe { libc::unlink(name.as_ptr()) })?;
    Ok(Done::new(
        "unlink",
        json!({"dir": "", "path": path, "resolved": false}),
    ))
}

/// Goes to the folder of `path` and removes its name from there.
///
/// # Errors
/// When a call fails.
pub fn unlink_relative(path: &str) -> Result<Done> {
    let path = Path::new(path);
    let folder = fs::canonicalize(path.parent().context("a path without a folder")?)?;
    let name = path
        .file_name()
        .context("a path without a name")?
        .to_string_lossy();
    std::env::set_current_dir(&folder)?;
    let given = c(&name)?;
    // SAFETY: `given` is a C string.
    ok("unlinkat", unsafe {
        libc::unlinkat(libc::AT_FDCWD, given.as_ptr(), 0)
    })?;
    Ok(Done::new(
        "unlink",
        json!({"dir": folder.to_string_lossy(), "path": name, "resolved": false}),
    ))
}

/// Renames `from` to `to`, both absolute.
///
/// # Errors
/// When the call fails.
pub fn rename(from: &str, to: &str) -> Result<Done> {
    let (old, new) = (c(from)?, c(to)?);
    // SAFETY: both are C strings.
    ok("rename", unsafe {
        libc::rename(old.as_ptr(), new.as_ptr())
    })?;
    Ok(Done::new(
        "rename",
        json!({
            "from_dir": "", "from": from, "from_resolved": false,
            "to_dir": "", "to": to, "to_resolved": false, "flags": 0,
        }),
    ))
}

/// Sets mode 04711 of the absolute `path`.
///
/// # Errors
/// When the call fails.
pub fn chmod(path: &str) -> Result<Done> {
    let name = c(path)?;
    // SAFETY: `name` is a C string.
    ok("chmod", unsafe { libc::chmod(name.as_ptr(), 0o4711) })?;
    Ok(Done::new(
        "chmod",
        json!({"dir": "", "path": path, "resolved": false, "mode": 0o4711}),
    ))
}

/// Sets mode 0600 through a descriptor.
///
/// # Errors
/// When a call fails.
pub fn fchmod(path: &str) -> Result<Done> {
    let file = fs::File::open(path)?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    // SAFETY: `fd` is open.
    ok("fchmod", unsafe { libc::fchmod(fd, 0o600) })?;
    let data = file.metadata()?;
    Ok(Done::new(
        "chmod",
        json!({
            "path": fs::canonicalize(path)?.to_string_lossy(), "resolved": true, "mode": 0o600,
            "ino": data.ino(), "dev": kernel_dev(data.dev()),
        }),
    ))
}

/// Opens the existing `given` for appending; the kernel must have opened `real`.
///
/// # Errors
/// When the call fails.
pub fn open_as(given: &str, real: &str) -> Result<Done> {
    let mut done = open(given, libc::O_WRONLY | libc::O_APPEND, false)?;
    done.fields["path"] = json!(real);
    Ok(done)
}

/// Opens `path` through a descriptor of it in `/proc/self/fd`.
///
/// # Errors
/// When a call fails.
pub fn open_descriptor(path: &str) -> Result<Done> {
    let held = fs::File::open(path)?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&held);
    open_as(&format!("/proc/self/fd/{fd}"), path)
}

/// Opens `path` for reading.
///
/// # Errors
/// When the call fails.
pub fn read(path: &str) -> Result<Done> {
    let mut done = open(path, libc::O_RDONLY, false)?;
    done.kind = "read";
    Ok(done)
}

/// Gives the absolute `from` the further name `to`.
///
/// # Errors
/// When the call fails.
pub fn link(from: &str, to: &str) -> Result<Done> {
    let (old, new) = (c(from)?, c(to)?);
    // SAFETY: both are C strings.
    ok("link", unsafe { libc::link(old.as_ptr(), new.as_ptr()) })?;
    Ok(Done::new(
        "link",
        json!({
            "from_dir": "", "from": from, "from_resolved": false,
            "to_dir": "", "to": to, "to_resolved": false, "flags": 0,
        }),
    ))
}

/// Gives the file behind a descriptor of `from` the further name `to` (AT_EMPTY_PATH).
///
/// # Errors
/// When a call fails.
pub fn link_descriptor(from: &str, to: &str) -> Result<Done> {
    let held = fs::File::open(from)?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&held);
    let new = c(to)?;
    let flags = libc::AT_EMPTY_PATH;
    // SAFETY: both are C strings, and `fd` is open.
    ok("linkat", unsafe {
        libc::linkat(fd, c"".as_ptr(), libc::AT_FDCWD, new.as_ptr(), flags)
    })?;
    Ok(Done::new(
        "link",
        json!({"from": from, "from_resolved": true, "to": to, "flags": flags}),
    ))
}

/// Makes the symlink `at`, which leads to `target`.
///
/// # Errors
/// When the call fails.
pub fn symlink(target: &str, at: &str) -> Result<Done> {
    let (to, new) = (c(target)?, c(at)?);
    // SAFETY: both are C strings.
    ok("symlink", unsafe {
        libc::symlink(to.as_ptr(), new.as_ptr())
    })?;
    Ok(Done::new(
        "symlink",
        json!({"dir": "", "path": at, "resolved": false, "target": target}),
    ))
}

/// Gives `path` to user 54321 and group 54322; needs root.
///
/// # Errors
/// When the call fails.
pub fn chown(path: &str) -> Result<Done> {
    let name = c(path)?;
    // SAFETY: `name` is a C string.
    ok("chown", unsafe { libc::chown(name.as_ptr(), 54321, 54322) })?;
    Ok(Done::new(
        "chown",
        json!({"dir": "", "path": path, "resolved": false, "uid": 54321, "gid": 54322}),
    ))
}

/// Gives the file behind a descriptor of `path` to group 54322.
///
/// # Errors
/// When a call fails.
pub fn fchown(path: &str) -> Result<Done> {
    let file = fs::File::open(path)?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    // SAFETY: `fd` is open.
    ok("fchown", unsafe { libc::fchown(fd, u32::MAX, 54322) })?;
    let data = file.metadata()?;
    Ok(Done::new(
        "chown",
        json!({
            "path": path, "resolved": true, "uid": u32::MAX, "gid": 54322,
            "ino": data.ino(), "dev": kernel_dev(data.dev()),
        }),
    ))
}

/// Sets the length of `path`.
///
/// # Errors
/// When the call fails.
pub fn truncate(path: &str) -> Result<Done> {
    let name = c(path)?;
    // SAFETY: `name` is a C string.
    ok("truncate", unsafe {
        libc::truncate(name.as_ptr(), 5_000_000_000)
    })?;
    Ok(Done::new(
        "truncate",
        json!({"dir": "", "path": path, "resolved": false, "length": 5_000_000_000_u64}),
    ))
}

/// Cuts the file behind a descriptor of `path`.
///
/// # Errors
/// When a call fails.
pub fn ftruncate(path: &str) -> Result<Done> {
    let file = fs::OpenOptions::new().write(true).open(path)?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    // SAFETY: `fd` is open.
    ok("ftruncate", unsafe { libc::ftruncate(fd, 0) })?;
    Ok(Done::new(
        "truncate",
        json!({"path": path, "resolved": true, "length": 0, "ino": file.metadata()?.ino()}),
    ))
}

const ATTRIBUTE: &std::ffi::CStr = c"trusted.ravn";

/// Sets an attribute of `path`; needs root.
///
/// # Errors
/// When the call fails.
pub fn setxattr(path: &str) -> Result<Done> {
    let name = c(path)?;
    // SAFETY: both are C strings; the value is as long as told.
    ok("setxattr", unsafe {
        libc::setxattr(
            name.as_ptr(),
            ATTRIBUTE.as_ptr(),
            c"value".as_ptr().cast(),
            5,
            0,
        )
    })?;
    Ok(Done::new(
        "setxattr",
        json!({
            "dir": "", "path": path, "resolved": false, "name": "trusted.ravn", "size": 5,
            "removed": false,
        }),
    ))
}

/// Removes that attribute, through a descriptor.
///
/// # Errors
/// When a call fails.
pub fn fremovexattr(path: &str) -> Result<Done> {
    let file = fs::File::open(path)?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    // SAFETY: `fd` is open, the name is a C string.
    ok("fremovexattr", unsafe {
        libc::fremovexattr(fd, ATTRIBUTE.as_ptr())
    })?;
    Ok(Done::new(
        "setxattr",
        json!({
            "path": path, "resolved": true, "name": "trusted.ravn", "size": 0, "removed": true,
            "ino": file.metadata()?.ino(),
        }),
    ))
}

/// Makes the FIFO `path`.
///
/// # Errors
/// When the call fails.
pub fn mknod(path: &str) -> Result<Done> {
    let name = c(path)?;
    let mode = libc::S_IFIFO | 0o640;
    // SAFETY: `name` is a C string.
    ok("mknod", unsafe { libc::mknod(name.as_ptr(), mode, 0) })?;
    Ok(Done::new(
        "mknod",
        json!({"dir": "", "path": path, "resolved": false, "mode": mode, "rdev": 0}),
    ))
}
