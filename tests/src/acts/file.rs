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
