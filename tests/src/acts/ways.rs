//! The same acts by other ways in: a file's handle, the 32-bit table from 64-bit code, the x32
//! numbers.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Done, kernel_dev, kernel_result, succeeded};

/// Opens `path` for writing by its handle; needs root.
///
/// # Errors
/// When a call fails: not every file system has handles.
pub fn open_by_handle(path: &str) -> Result<Done> {
    /// struct file_handle, and room for the largest.
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        handle: [u8; 128],
    }
    let name = std::ffi::CString::new(path)?;
    let folder = Path::new(path)
        .parent()
        .context("a path without a folder")?;
    let folder = std::fs::File::open(folder)?;
    let mut handle = Handle {
        bytes: 128,
        kind: 0,
        handle: [0; 128],
    };
    let mut mount = 0;
    // SAFETY: the handle is as long as it says, and all lives through the calls.
    let fd = unsafe {
        let named = libc::syscall(
            libc::SYS_name_to_handle_at,
            libc::AT_FDCWD,
            name.as_ptr(),
            &raw mut handle,
            &raw mut mount,
            0,
        );
        succeeded("name_to_handle_at", kernel_result(named))?;
        libc::syscall(
            libc::SYS_open_by_handle_at,
            std::os::fd::AsRawFd::as_raw_fd(&folder),
            &raw const handle,
            libc::O_WRONLY,
        )
    };
    succeeded("open_by_handle_at", kernel_result(fd))?;
    let file = std::fs::metadata(path)?;
    Ok(Done::new(
        "open",
        json!({
            "path": path, "mode": file.mode(), "ino": file.ino(), "created": false,
            "dev": kernel_dev(file.dev()),
        }),
    ))
}

/// A page that 32-bit calls can point to.
struct Low(*mut u8);

impl Low {
    fn new() -> Result<Self> {
        #[cfg(target_arch = "x86_64")]
        const BELOW: i32 = libc::MAP_32BIT;
        #[cfg(not(target_arch = "x86_64"))]
        const BELOW: i32 = 0;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | BELOW;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping below 2 GiB.
        let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, kind, -1, 0) };
        ensure!(page != libc::MAP_FAILED, "no page below 2 GiB");
        Ok(Self(page.cast()))
    }

    /// Writes `bytes` at `at`; gives their address.
    fn put(&self, at: usize, bytes: &[u8]) -> Result<u32> {
        ensure!(at + bytes.len() <= 4096);
        // SAFETY: it was just looked that they fit.
        let address = unsafe {
            let place = self.0.add(at);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
            place as usize
        };
        Ok(u32::try_from(address)?)
    }
}

/// A call of the 32-bit table, by `int 0x80`; gives what the kernel returned.
///
/// # Errors
/// On another machine than x86-64.
pub fn call32(nr: u32, args: [u32; 3]) -> Result<i32> {
    #[cfg(target_arch = "x86_64")]
    {
        let mut result = u64::from(nr);
        // SAFETY: the callers give addresses of memory that lives through the call. The entry
        // does not keep r8 to r11, and rbx is the compiler's own.
        unsafe {
            std::arch::asm!(
                "xchg {first}, rbx", "int 0x80", "xchg {first}, rbx",
                first = inout(reg) u64::from(args[0]) => _,
                inlateout("rax") result,
                in("rcx") u64::from(args[1]), in("rdx") u64::from(args[2]),
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        Ok(result as i32)
    }
    #[cfg(not(target_arch = "x86_64"))]
    anyhow::bail!("32-bit calls ({nr}, {args:?}) are made by x86-64 alone here")
}

/// Three 32-bit calls, of which the first is told.
///
/// # Errors
/// On another machine than x86-64, and where the kernel has no 32-bit calls.
pub fn compat() -> Result<Done> {
    // Neither table has an event of this number.
    const GETPPID: u32 = 64;
    for _ in 0..3 {
        let parent = call32(GETPPID, [0; 3])?;
        ensure!(
            parent.cast_unsigned() == std::os::unix::process::parent_id(),
            "the kernel has no 32-bit calls: {parent}"
        );
    }
    Ok(Done::new("compat", json!({"syscall": GETPPID})))
}

/// Binds a UDP socket to the loopback by socketcall(2), whose arguments are in memory.
///
/// # Errors
/// When a call fails.
pub fn socketcall() -> Result<Done> {
    const SOCKETCALL: u32 = 102;
    const BIND: u32 = 2;
    // SAFETY: the call takes no pointers.
    let fd = super::ok("socket", unsafe {
        libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)
    })?;
    let low = Low::new()?;
    let mut address = [0_u8; 16];
    address[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    address[4..8].copy_from_slice(&[127, 0, 0, 1]);
    let at = low.put(64, &address)?;
    let args = [fd.cast_unsigned(), at, 16].map(u32::to_ne_bytes).concat();
    let ret = call32(SOCKETCALL, [BIND, low.put(0, &args)?, 0])?;
    succeeded("socketcall", ret.into())?;
    use std::os::fd::FromRawFd;
    // SAFETY: the descriptor is this function's own.
    let socket = unsafe { std::net::UdpSocket::from_raw_fd(fd) };
    Ok(Done::new(
        "bind",
        json!({
            "family": libc::AF_INET, "type": libc::SOCK_DGRAM, "local": "127.0.0.1",
            "local_port": socket.local_addr()?.port(), "ret": 0,
        }),
    ))
}

/// A length that takes both halves of a 64-bit number, which a 32-bit call gets one by one.
const LENGTH: u64 = 5_000_000_000;

/// Sets the length of `path` through a descriptor, by ftruncate64(2).
///
/// # Errors
/// When a call fails.
pub fn ftruncate64(path: &str) -> Result<Done> {
    const FTRUNCATE64: u32 = 194;
    let file = std::fs::OpenOptions::new().write(true).open(path)?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
    let halves = [LENGTH as u32, (LENGTH >> 32) as u32];
    let ret = call32(FTRUNCATE64, [fd.cast_unsigned(), halves[0], halves[1]])?;
    succeeded("ftruncate64", ret.into())?;
    let metadata = file.metadata()?;
    ensure!(metadata.len() == LENGTH);
    Ok(Done::new(
        "truncate",
        json!({
            "path": path, "resolved": true, "length": LENGTH, "ino": metadata.ino(),
            "dev": kernel_dev(metadata.dev()),
        }),
    ))
}

/// The same by its path, by truncate64(2).
///
/// # Errors
/// When the call fails.
pub fn truncate64(path: &str) -> Result<Done> {
    const TRUNCATE64: u32 = 193;
    let low = Low::new()?;
    let name = low.put(0, &[path.as_bytes(), b"\0"].concat())?;
    let ret = call32(TRUNCATE64, [name, LENGTH as u32, (LENGTH >> 32) as u32])?;
    succeeded("truncate64", ret.into())?;
    Ok(Done::new(
        "truncate",
        json!({"path": path, "resolved": false, "length": LENGTH}),
    ))
}

/// Asks to become user 54321 by the 32-bit table; needs root.
///
/// # Errors
/// When the call fails.
pub fn setuid32() -> Result<Done> {
    const SETUID32: u32 = 213;
    const SOMEBODY: u32 = 54321;
    let ret = call32(SETUID32, [SOMEBODY, 0, 0])?;
    succeeded("setuid32", ret.into())?;
    Ok(Done::new(
        "creds",
        json!({"syscall": 65535, "ret": 0, "uids": [SOMEBODY, SOMEBODY, SOMEBODY, SOMEBODY]}),
    ))
}

/// Asks for the user that it is by an x32 number, which few kernels know: refused or not, it is
/// told.
///
/// # Errors
/// Never.
pub fn setuid_x32() -> Result<Done> {
    const X32: libc::c_long = 0x4000_0000;
    // SAFETY: the call takes no pointers.
    let ret = kernel_result(unsafe { libc::syscall(X32 | libc::SYS_setuid, libc::getuid()) });
    Ok(Done::new(
        "creds",
        json!({"syscall": libc::SYS_setuid, "ret": ret}),
    ))
}
