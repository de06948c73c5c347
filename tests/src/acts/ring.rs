//! Acts that io_uring does: set up, submitted by hand, without a library.

use std::ffi::CString;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, ensure};
use serde_json::json;

use super::{Done, kernel_result, succeeded};
use crate::harness::wait_until;

/// The kernel does what may block in a thread of its own, some time later.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// struct io_uring_params: 120 bytes; the offsets of the submission ring begin at byte 40.
#[repr(C)]
#[derive(Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    rest: [u32; 7],
    /// head, tail, ring_mask, ring_entries, flags, dropped, array, and what is not needed.
    sq: [u32; 10],
    cq: [u32; 10],
}

/// struct io_uring_sqe.
#[repr(C)]
#[derive(Default)]
struct Sqe {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    offset: u64,
    address: u64,
    len: u32,
    op_flags: u32,
    user_data: u64,
    rest: [u64; 3],
}

const ENTRIES: u32 = 4;
const OP_CONNECT: u8 = 16;
const OP_OPENAT: u8 = 18;
const OP_UNLINKAT: u8 = 36;
/// IOSQE_CQE_SKIP_SUCCESS: no word of it when it succeeded.
const SILENT: u8 = 64;

fn set_up(params: &mut Params) -> i64 {
    // SAFETY: `params` has the layout of io_uring_params.
    kernel_result(unsafe {
        libc::syscall(libc::SYS_io_uring_setup, ENTRIES, ptr::from_mut(params))
    })
}

/// Sets up a ring.
///
/// # Errors
/// Never: a refusal is told too.
pub fn io_uring() -> Result<Done> {
    let ret = set_up(&mut Params::default());
    Ok(Done::new(
        "io_uring",
        json!({"entries": ENTRIES, "flags": 0, "ret": ret}),
    ))
}

/// Has one operation done.
fn submit(sqe: Sqe) -> Result<()> {
    let mut params = Params::default();
    let ring = set_up(&mut params);
    succeeded("io_uring_setup", ring)?;
    let ring = i32::try_from(ring)?;
    let map = |bytes: usize, offset: i64| {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of the ring's own pages.
        unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                protection,
                libc::MAP_SHARED,
                ring,
                offset,
            )
        }
    };
    let array_at = params.sq[6] as usize;
    let (queue, entries) = (
        map(array_at + 4 * ENTRIES as usize, 0),
        map(size_of::<Sqe>() * ENTRIES as usize, 0x1000_0000),
    );
    ensure!(
        queue != libc::MAP_FAILED && entries != libc::MAP_FAILED,
        "mmap of the ring: {}",
        std::io::Error::last_os_error()
    );
    // SAFETY: the kernel gave these offsets into the two mappings; nothing else uses them.
    let submitted = unsafe {
        entries.cast::<Sqe>().write(sqe);
        queue.byte_add(array_at).cast::<u32>().write(0);
        let tail = &*queue.byte_add(params.sq[1] as usize).cast::<AtomicU32>();
        tail.fetch_add(1, Ordering::Release);
        kernel_result(libc::syscall(libc::SYS_io_uring_enter, ring, 1, 0, 0, 0, 0))
    };
    ensure!(submitted == 1, "submitted {submitted} operations");
    Ok(())
}

/// Creates `path` by a ring, and asks for no word of it.
///
/// # Errors
/// When a call fails.
pub fn openat(path: &str) -> Result<Done> {
    let name = CString::new(path)?;
    submit(Sqe {
        opcode: OP_OPENAT,
        flags: SILENT,
        fd: libc::AT_FDCWD,
        address: name.as_ptr() as u64,
        len: 0o600,
        op_flags: (libc::O_CREAT | libc::O_WRONLY).cast_unsigned(),
        ..Sqe::default()
    })?;
    wait_until(PATIENCE, path, || {
        Ok(std::fs::metadata(path).is_ok().then_some(()))
    })?;
    Ok(Done::new(
        "io_uring_op",
        json!({"operation": "openat", "fd": libc::AT_FDCWD, "path": path}),
    ))
}

/// Removes `path` by a ring.
///
/// # Errors
/// When a call fails.
pub fn unlinkat(path: &str) -> Result<Done> {
    let name = CString::new(path)?;
    submit(Sqe {
        opcode: OP_UNLINKAT,
        fd: libc::AT_FDCWD,
        address: name.as_ptr() as u64,
        ..Sqe::default()
    })?;
    wait_until(PATIENCE, "the end of the file", || {
        Ok(std::fs::metadata(path).is_err().then_some(()))
    })?;
    Ok(Done::new(
        "io_uring_op",
        json!({"operation": "unlinkat", "path": path}),
    ))
}

/// Connects to `port` on the loopback by a ring.
///
/// # Errors
/// When a call fails.
pub fn connect(port: &str) -> Result<Done> {
    let port: u16 = port.parse()?;
    // SAFETY: the call takes no pointers; sockaddr_in is plain data.
    let (fd, mut address) = unsafe {
        let fd = super::ok("socket", libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0))?;
        (fd, std::mem::zeroed::<libc::sockaddr_in>())
    };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_port = port.to_be();
    address.sin_addr.s_addr = u32::from(std::net::Ipv4Addr::LOCALHOST).to_be();
    submit(Sqe {
        opcode: OP_CONNECT,
        fd,
        offset: size_of_val(&address) as u64,
        address: (&raw const address) as u64,
        ..Sqe::default()
    })?;
    Ok(Done::new(
        "io_uring_op",
        json!({
            "operation": "connect", "fd": fd, "family": libc::AF_INET, "remote": "127.0.0.1",
            "remote_port": port,
        }),
    ))
}
