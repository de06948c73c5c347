//! Acts on memory that is executed, and on doors into the kernel that few programs use.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Done, kernel_result, succeeded};

const PAGE: usize = 4096;
const WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
const EXECUTE: i32 = libc::PROT_READ | libc::PROT_EXEC;

/// Maps a page.
fn map(protection: i32, fd: i32) -> Result<*mut libc::c_void> {
    let kind = if fd < 0 { libc::MAP_ANONYMOUS } else { 0 } | libc::MAP_PRIVATE;
    // SAFETY: a new mapping, wherever the kernel likes.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), PAGE, protection, kind, fd, 0) };
    ensure!(
        page != libc::MAP_FAILED,
        "mmap: {}",
        std::io::Error::last_os_error()
    );
    Ok(page)
}

/// Maps a page that can be written and executed.
///
/// # Errors
/// When the call fails.
pub fn map_wx() -> Result<Done> {
    let page = map(WRITE | libc::PROT_EXEC, -1)?;
    Ok(Done::new(
        "exec_memory",
        json!({
            "syscall": libc::SYS_mmap, "address": page as usize, "length": PAGE,
            "protection": WRITE | libc::PROT_EXEC, "written": false, "path": "", "ret": 0,
        }),
    ))
}

/// Writes to a page, then makes it executable; before that, one of a mapping that nothing was
/// written to, which is no event.
///
/// # Errors
/// When a call fails.
pub fn write_then_execute() -> Result<Done> {
    let (written, fresh) = (map(WRITE, -1)?, map(WRITE, -1)?);
    // SAFETY: the pages are this function's own.
    let ret = unsafe {
        libc::mprotect(fresh, PAGE, EXECUTE);
        written.cast::<u8>().write_volatile(0xc3);
        kernel_result(libc::mprotect(written, PAGE, EXECUTE).into())
    };
    succeeded("mprotect", ret)?;
    Ok(Done::new(
        "exec_memory",
        json!({
            "syscall": libc::SYS_mprotect, "address": written as usize, "length": PAGE,
            "protection": EXECUTE, "written": true, "path": "", "ret": 0,
        }),
    ))
}

/// Changes the private copy of a file's page and makes it executable.
///
/// # Errors
/// When a call fails.
pub fn patched_file(path: &str) -> Result<Done> {
    let file = std::fs::File::open(path)?;
    let page = map(WRITE, std::os::fd::AsRawFd::as_raw_fd(&file))?;
    // SAFETY: the page is this function's own, and the file has a byte.
    let ret = unsafe {
        page.cast::<u8>().write_volatile(0xc3);
        kernel_result(libc::mprotect(page, PAGE, EXECUTE).into())
    };
    succeeded("mprotect", ret)?;
    Ok(Done::new(
        "exec_memory",
        json!({"address": page as usize, "written": true, "path": path, "ret": 0}),
    ))
}

/// Asks for the number of the session keyring.
///
/// # Errors
/// When the kernel has no keyrings.
pub fn keyctl() -> Result<Done> {
    const GET_KEYRING_ID: i32 = 0;
    const SESSION: i32 = -3;
    // SAFETY: the call takes no pointers.
    let ret = kernel_result(unsafe { libc::syscall(libc::SYS_keyctl, GET_KEYRING_ID, SESSION, 0) });
    Ok(Done::new(
        "keyctl",
        json!({"operation": GET_KEYRING_ID, "key": SESSION.cast_unsigned(), "ret": ret}),
    ))
}

/// Asks to start `path` as a kernel, which it is not.
///
/// # Errors
/// When the kernel takes it.
pub fn kexec(path: &str) -> Result<Done> {
    const NO_INITRAMFS: i32 = 4;
    let file = std::fs::File::open(path)?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    // SAFETY: the command line is a C string of one byte.
    let ret = kernel_result(unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            fd,
            -1,
            1,
            c"".as_ptr(),
            NO_INITRAMFS,
        )
    });
    (ret < 0).then_some(()).context("the kernel took it")?;
    Ok(Done::new(
        "kexec",
        json!({"path": path, "flags": NO_INITRAMFS, "ret": ret}),
    ))
}

/// Counts its own page faults.
///
/// # Errors
/// Never: a refusal is told too.
pub fn perf_event() -> Result<Done> {
    const SOFTWARE: u32 = 1;
    const PAGE_FAULTS: u64 = 2;
    // struct perf_event_attr, version 0: 64 bytes, of which the first 16 count here.
    let mut attributes = [0_u64; 8];
    attributes[0] = u64::from(SOFTWARE) | 64 << 32;
    attributes[1] = PAGE_FAULTS;
    let own = std::process::id();
    // SAFETY: the structure is as long as it says.
    let ret = kernel_result(unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            attributes.as_ptr(),
            own,
            -1,
            -1,
            0,
        )
    });
    Ok(Done::new(
        "perf_event_open",
        json!({
            "type": SOFTWARE, "config": PAGE_FAULTS, "cpu": -1, "ret": ret, "target_tgid": own,
        }),
    ))
}

/// Asks for a userfaultfd.
///
/// # Errors
/// Never: a refusal is told too.
pub fn userfaultfd() -> Result<Done> {
    const USER_MODE_ONLY: i32 = 1;
    // SAFETY: the call takes no pointers.
    let ret = kernel_result(unsafe { libc::syscall(libc::SYS_userfaultfd, USER_MODE_ONLY) });
    Ok(Done::new(
        "userfaultfd",
        json!({"flags": USER_MODE_ONLY, "ret": ret}),
    ))
}
