//! The file system of type bpf: where it is, and where it can be made.

use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// BPF_FS_MAGIC of include/uapi/linux/magic.h.
const MAGIC: u64 = 0xcafe_4a11;
/// Where it belongs; systemd mounts it there.
const USUAL: &str = "/sys/fs/bpf";

/// Makes `place`, a folder for root alone, on a file system of type bpf; mounts that at its
/// usual place if need be.
///
/// # Errors
/// When `place` lies elsewhere, or the kernel refuses.
pub fn prepare(place: &Path) -> Result<()> {
    let base = place
        .ancestors()
        .find(|above| above.exists())
        .context("not an absolute path")?;
    let here =
        is_bpffs(base)? || place.starts_with(USUAL) && mount() && is_bpffs(Path::new(USUAL))?;
    if !here {
        bail!(
            "{} is not on a file system of type bpf; run: mount -t bpf bpf {USUAL}",
            place.display()
        );
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(place)
        .with_context(|| format!("cannot make {}", place.display()))?;
    private(place)
}

/// Whoever may write to the folder, or owns it, could take the pins away or hold its lock.
fn private(place: &Path) -> Result<()> {
    for folder in place.ancestors().take(2) {
        let metadata =
            fs::metadata(folder).with_context(|| format!("cannot look at {}", folder.display()))?;
        if metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
            bail!(
                "{} belongs to another user than root, or others may write to it; \
                 remove it, and run this again",
                folder.display()
            );
        }
    }
    Ok(())
}

/// Whether `path` lies on a file system of type bpf.
///
/// # Errors
/// When it cannot be asked for.
pub fn is_bpffs(path: &Path) -> Result<bool> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all zero is a valid value of the plain structure that the kernel fills.
    let mut about: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the name ends in NUL, and `about` lives through the call.
    match unsafe { libc::statfs(name.as_ptr(), &raw mut about) } {
        0 => Ok(about.f_type as u64 == MAGIC),
        _ => Err(io::Error::last_os_error())
            .with_context(|| format!("cannot look at {}", path.display())),
    }
}

fn mount() -> bool {
    // SAFETY: constant strings that end in NUL.
    unsafe {
        libc::mount(
            c"bpf".as_ptr(),
            c"/sys/fs/bpf".as_ptr(),
            c"bpf".as_ptr(),
            0,
            // Its own default lets everybody make folders there.
            c"mode=0700".as_ptr().cast(),
        ) == 0
    }
}
