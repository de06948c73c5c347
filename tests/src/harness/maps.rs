//! Maps of a running collector: a test fills what a configuration would.

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result, bail};

/// What tells a map from the others of a collector: type, bytes of a key, bytes of a value.
pub type Shape = [u32; 3];

const BPF_MAP_UPDATE_ELEM: u32 = 2;

/// A map of another process.
#[derive(Debug)]
pub struct Map(OwnedFd);

impl Map {
    /// The one map of this shape that process `pid` holds.
    ///
    /// # Errors
    /// When there is none, or it cannot be taken over.
    pub fn of(pid: u32, shape: Shape) -> Result<Self> {
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
            let entry = entry?;
            let Ok(info) = fs::read_to_string(entry.path()) else {
                continue;
            };
            let field = |name: &str| -> Option<u32> {
                let line = info.lines().find_map(|line| line.strip_prefix(name))?;
                line.trim().parse().ok()
            };
            let found = ["map_type:", "key_size:", "value_size:"].map(field);
            if found == shape.map(Some) {
                let fd: i32 = entry.file_name().to_string_lossy().parse()?;
                return take(pid, fd).map(Self);
            }
        }
        bail!("process {pid} holds no map of type, key and value {shape:?}")
    }

    /// Sets an element.
    ///
    /// # Errors
    /// The kernel's word.
    pub fn set(&self, key: &[u8], value: &[u8]) -> Result<()> {
        // union bpf_attr for elements: map_fd, padding, key, value, flags.
        let attributes = [
            self.0.as_raw_fd() as u64,
            key.as_ptr() as u64,
            value.as_ptr() as u64,
            0,
        ];
        // SAFETY: key and value are as long as the map's shape says, which the caller gave.
        let ret = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                BPF_MAP_UPDATE_ELEM,
                attributes.as_ptr(),
                size_of_val(&attributes),
            )
        };
        if ret != 0 {
            return Err(std::io::Error::last_os_error()).context("set an element of a map");
        }
        Ok(())
    }
}

/// A copy of another process' descriptor.
fn take(pid: u32, fd: i32) -> Result<OwnedFd> {
    // SAFETY: neither call takes pointers; both descriptors are owned at once.
    unsafe {
        let process = libc::syscall(libc::SYS_pidfd_open, pid, 0);
        let process = own(process).context("pidfd_open")?;
        let copy = libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), fd, 0);
        own(copy).context("pidfd_getfd")
    }
}

/// # Safety
/// `fd` belongs to nobody else.
unsafe fn own(fd: libc::c_long) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: as the caller promises.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd)?) })
}
