//! Acts of process life.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, bail};
use serde_json::json;

use ravn_shared::event::exec_flags::{DELETED, MEMFD, SECURE};

use super::{Done, kernel_dev, ok};

/// What a process that was seen from its fork on has in its flags.
const BEFORE_KNOWN: u32 = ravn_shared::event::exec_flags::BEFORE_KNOWN;

/// Replaces this process by `program` with `args`; prints the truth before.
///
/// # Errors
/// Only when exec fails; else it does not return.
pub fn exec(program: &str, args: &[String]) -> Result<Done> {
    let image = fs::canonicalize(program)?;
    let file = fs::metadata(&image)?;
    let mut argv = vec![program.to_owned()];
    argv.extend_from_slice(args);
    let bytes: Vec<u8> = argv
        .iter()
        .flat_map(|argument| [argument.as_bytes(), b"\0"].concat())
        .collect();
    // SAFETY: neither call has preconditions.
    let (euid, session) = unsafe { (libc::geteuid(), libc::getsid(0)) };
    Done::new(
        "exec",
        json!({
            "path": image.to_string_lossy(), "argv": ravn_shared::text::command_line(&bytes),
            "argv_bytes": bytes.len(), "cwd": std::env::current_dir()?.to_string_lossy(),
            "filename": program, "ino": file.ino(), "dev": kernel_dev(file.dev()),
            "flags": BEFORE_KNOWN, "euid": euid, "session": session, "ctime": file.ctime(),
            "ctime_nsec": file.ctime_nsec(), "interpreter": "", "cap_gained": 0,
            "euid_before": euid, "user_ns_level": 0,
        }),
    )
    .print();
    let argv = argv
        .into_iter()
        .map(CString::new)
        .collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = argv.iter().map(|argument| argument.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: `pointers` are C strings that live until the call, ended by NULL.
    unsafe { libc::execv(pointers[0], pointers.as_ptr()) };
    Err(std::io::Error::last_os_error()).with_context(|| format!("exec {program}"))
}

/// A child that ends at once.
///
/// # Errors
/// When a call fails.
pub fn fork() -> Result<Done> {
    let child = child_that_exits(0)?;
    Ok(Done::new(
        "fork",
        json!({"child_tgid": child, "child_pid": child, "thread": false}),
    ))
}

/// A thread that ends at once.
///
/// # Errors
/// When it panics, which it cannot.
pub fn thread() -> Result<Done> {
    let id = std::thread::spawn(super::thread_id)
        .join()
        .ok()
        .context("the thread panicked")?;
    Ok(Done::new(
        "fork",
        json!({"child_tgid": std::process::id(), "child_pid": id, "thread": true}),
    ))
}

/// A child that ends with `code`; the truth is about the child.
///
/// # Errors
/// When a call fails.
pub fn exit(code: &str) -> Result<Done> {
    let code: u8 = code.parse()?;
    let child = child_that_exits(code)?;
    Ok(Done {
        kind: "exit",
        fields: json!({"code": code, "signal": 0, "process": true}),
        by: Some((child, child)),
    })
}

/// A child that kills itself with `signal`; the truth is about the child.
///
/// # Errors
/// When a call fails.
pub fn killed(signal: &str) -> Result<Done> {
    let signal: i32 = signal.parse()?;
    // SAFETY: this process has one thread; the child calls only async-signal-safe functions.
    let child = unsafe {
        match libc::fork() {
            0 => {
                libc::raise(signal);
                libc::_exit(1)
            }
            child => child,
        }
    };
    wait(ok("fork", child)?)?;
    Ok(Done {
        kind: "exit",
        fields: json!({"code": 0, "signal": signal, "process": true}),
        by: Some((child.cast_unsigned(), child.cast_unsigned())),
    })
}

/// Makes the cgroup `folder`, right below this process' own, and removes it.
///
/// # Errors
/// When a call fails.
pub fn cgroup(folder: &str) -> Result<Done> {
    fs::create_dir(folder)?;
    let id = fs::metadata(folder)?.ino();
    fs::remove_dir(folder)?;
    let path = fs::read_to_string("/proc/self/cgroup")?;
    let own = path.lines().find_map(|line| line.strip_prefix("0::"));
    let name = folder.rsplit('/').next().unwrap_or_default();
    let path = format!("{}/{name}", own.context("no unified hierarchy")?);
    Ok(Done::new("cgroup", json!({"id": id, "path": path})))
}

/// An image in memory: memfd_create, a copy of `/bin/true` in it, fexecve by a
/// child.
///
/// # Errors
/// When a call fails.
pub fn memfd_exec() -> Result<Done> {
    let image = fs::read("/bin/true")?;
    // SAFETY: the name is a C string.
    let fd = ok("memfd_create", unsafe {
        libc::memfd_create(c"ravn-image".as_ptr(), 0)
    })?;
    // SAFETY: `image` is that long.
    let written = unsafe { libc::write(fd, image.as_ptr().cast(), image.len()) };
    if usize::try_from(written).ok() != Some(image.len()) {
        bail!("write to the memfd: {}", std::io::Error::last_os_error());
    }
    let argv = [c"ravn-image".as_ptr(), std::ptr::null()];
    let none = [std::ptr::null()];
    // SAFETY: one thread; the child calls only async-signal-safe functions, with arrays of C
    // strings ended by NULL.
    let child = unsafe {
        match libc::fork() {
            0 => {
                libc::fexecve(fd, argv.as_ptr(), none.as_ptr());
                libc::_exit(127)
            }
            child => child,
        }
    };
    let status = wait(ok("fork", child)?)?;
    if status != 0 {
        bail!("the image in memory ended with wait status {status}");
    }
    Ok(Done {
        kind: "exec",
        fields: json!({
            "path": "memfd:ravn-image", "argv": "ravn-image",
            "flags": DELETED | MEMFD | BEFORE_KNOWN,
        }),
        by: Some((child.cast_unsigned(), child.cast_unsigned())),
    })
}

/// A child runs `script`, whose first line must be `#!/bin/sh`; the truth is about the child.
///
/// # Errors
/// When a call fails.
pub fn exec_script(script: &str) -> Result<Done> {
    let mut child = std::process::Command::new(script).spawn()?;
    let pid = child.id();
    child.wait()?;
    let shell = fs::canonicalize("/bin/sh")?;
    Ok(Done {
        kind: "exec",
        fields: json!({
            "path": shell.to_string_lossy(), "filename": script, "interpreter": "/bin/sh",
            "argv": format!("/bin/sh {script}"), "ino": fs::metadata(shell)?.ino(),
        }),
        by: Some((pid, pid)),
    })
}

/// A child that is another user runs `program`, which must be setuid root; the truth is about
/// the child. Needs root.
///
/// # Errors
/// When a call fails.
pub fn exec_setuid(program: &str) -> Result<Done> {
    use std::os::unix::process::CommandExt;
    let mut child = std::process::Command::new(program).uid(54321).spawn()?;
    let pid = child.id();
    child.wait()?;
    let bounding = capabilities("CapBnd:")?;
    Ok(Done {
        kind: "exec",
        fields: json!({
            "path": program, "euid": 0, "euid_before": 54321, "flags": SECURE | BEFORE_KNOWN,
            "cap_effective": bounding, "cap_gained": bounding,
        }),
        by: Some((pid, pid)),
    })
}

/// A set of capabilities of this process, by its name in `/proc/self/status`.
///
/// # Errors
/// When there is none of that name.
pub fn capabilities(name: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    Ok(u64::from_str_radix(
        line.context("no such set")?.trim(),
        16,
    )?)
}

fn child_that_exits(code: u8) -> Result<u32> {
    // SAFETY: this process has one thread; the child only ends.
    let child = unsafe {
        match libc::fork() {
            0 => libc::_exit(i32::from(code)),
            child => child,
        }
    };
    wait(ok("fork", child)?)?;
    Ok(child.cast_unsigned())
}

fn wait(child: libc::pid_t) -> Result<libc::c_int> {
    let mut status = 0;
    // SAFETY: `status` is writable.
    ok("waitpid", unsafe {
        libc::waitpid(child, &raw mut status, 0)
    })?;
    Ok(status)
}
