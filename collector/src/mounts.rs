//! Files that the configuration names, as the kernel compares them.
//!
//! `stat` shows a device of its own for each subvolume of btrfs, and that of a layer for a file of
//! an overlay; the kernel compares the superblock's, which the mount tells.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A file that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    ino: u64,
    dev: u32,
    ctime_sec: i64,
    ctime_nsec: u32,
}

impl Named {
    /// `struct sensitive_file`.
    pub fn file(&self) -> [u8; 16] {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.ino.to_ne_bytes());
        key[8..12].copy_from_slice(&self.dev.to_ne_bytes());
        key
    }

    /// `struct ravn_image`.
    pub fn program(&self) -> [u8; 24] {
        let mut key = [0; 24];
        key[..8].copy_from_slice(&self.ino.to_ne_bytes());
        key[8..16].copy_from_slice(&self.ctime_sec.to_ne_bytes());
        key[16..20].copy_from_slice(&self.ctime_nsec.to_ne_bytes());
        key[20..].copy_from_slice(&self.dev.to_ne_bytes());
        key
    }
}

/// The superblock's device of every mount, by the mount's id.
#[derive(Debug, Default)]
pub struct Mounts(BTreeMap<u64, u32>);

impl Mounts {
    /// As they are now; empty where they cannot be read, and then devices are as `stat` has them.
    pub fn read() -> Self {
        Self::parse(&fs::read("/proc/self/mountinfo").unwrap_or_default())
    }

    /// Lines that begin `id parent major:minor` (proc_pid_mountinfo(5)).
    fn parse(mountinfo: &[u8]) -> Self {
        let line = |line: &[u8]| {
            let mut fields = line.split(|byte| *byte == b' ');
            let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
            let device = std::str::from_utf8(fields.nth(1)?).ok()?;
            let (major, minor) = device.split_once(':')?;
            Some((id, dev(major.parse().ok()?, minor.parse().ok()?)))
        };
        let lines = mountinfo.split(|byte| *byte == b'\n');
        Self(lines.filter_map(line).collect())
    }

    /// Looks a path up, through symlinks.
    ///
    /// # Errors
    /// When it is not there.
    pub fn find(&self, path: &Path) -> io::Result<Named> {
        let name = CString::new(path.as_os_str().as_bytes())?;
        let wanted = libc::STATX_INO | libc::STATX_CTIME | libc::STATX_MNT_ID;
        // SAFETY: all zero is a valid value of the plain structure that the kernel fills.
        let mut about: libc::statx = unsafe { std::mem::zeroed() };
        // SAFETY: the name ends in NUL, and `about` lives through the call.
        let found =
            unsafe { libc::statx(libc::AT_FDCWD, name.as_ptr(), 0, wanted, &raw mut about) };
        if found != 0 {
            return Err(io::Error::last_os_error());
        }
        let shown = dev(about.stx_dev_major, about.stx_dev_minor);
        let mounted = self.0.get(&about.stx_mnt_id).copied();
        Ok(Named {
            ino: about.stx_ino,
            dev: mounted.unwrap_or(shown),
            ctime_sec: about.stx_ctime.tv_sec,
            ctime_nsec: about.stx_ctime.tv_nsec,
        })
    }
}

/// The kernel's own device number has 12 bits of major and 20 of minor (include/linux/kdev_t.h).
const fn dev(major: u32, minor: u32) -> u32 {
    major << 20 | minor
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_device_is_the_mounts() {
        let mounts = Mounts::parse(
            b"27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
              46 27 0:41 /a\\040b /x rw - overlay o rw\nbroken\n",
        );
        let expected = [(27, 254 << 20), (46, 41)];
        assert_eq!(mounts.0, BTreeMap::from(expected));
        let exe = Path::new("/proc/self/exe");
        let found = Mounts::read().find(exe).unwrap();
        assert_eq!(found.file()[8..12], found.program()[20..]);
        assert!(Mounts::default().find(Path::new("/nonexistent")).is_err());
    }
}
