//! Acts on credentials, other processes, the kernel.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::process::capabilities;
use super::{Done, kernel_result, ok, succeeded};

/// A user and a group that no system has.
const SOMEBODY: libc::uid_t = 54321;

fn creds(syscall: libc::c_long, ret: i64) -> Value {
    let (mut real, mut effective, mut saved) = (0, 0, 0);
    // SAFETY: the three are writable.
    unsafe { libc::getresuid(&raw mut real, &raw mut effective, &raw mut saved) };
    let uids = [real, effective, saved, effective];
    // SAFETY: the three are writable.
    unsafe { libc::getresgid(&raw mut real, &raw mut effective, &raw mut saved) };
    let gids = [real, effective, saved, effective];
    json!({
        "syscall": syscall, "ret": ret, "uids": uids, "gids": gids, "user_ns_level": 0,
        "user_ns_level_before": 0, "before_known": true, "uids_before": [0, 0, 0, 0],
        "gids_before": [0, 0, 0, 0],
    })
}

/// Becomes another user; needs root.
///
/// # Errors
/// When the call fails.
pub fn setuid() -> Result<Done> {
    let (effective, permitted) = (capabilities("CapEff:")?, capabilities("CapPrm:")?);
    // SAFETY: the raw call changes this thread alone, and there is no other.
    let ret = kernel_result(unsafe { libc::syscall(libc::SYS_setuid, SOMEBODY) });
    let mut fields = creds(libc::SYS_setuid, ret);
    fields["cap_effective"] = json!(0);
    fields["cap_permitted"] = json!(0);
    fields["cap_effective_before"] = json!(effective);
    fields["cap_permitted_before"] = json!(permitted);
    succeeded("setuid", ret)?;
    Ok(Done::new("creds", fields))
}

/// Becomes another group; needs root.
///
/// # Errors
/// When the call fails.
pub fn setgid() -> Result<Done> {
    // SAFETY: the raw call changes this thread alone, and there is no other.
    let ret = kernel_result(unsafe { libc::syscall(libc::SYS_setgid, SOMEBODY) });
    succeeded("setgid", ret)?;
    Ok(Done::new("creds", creds(libc::SYS_setgid, ret)))
}

/// Becomes a member of one group that no system has; needs root.
///
/// # Errors
/// When the call fails.
pub fn setgroups() -> Result<Done> {
    // SAFETY: one group is told and given.
    let ret = kernel_result(unsafe { libc::syscall(libc::SYS_setgroups, 1, [SOMEBODY].as_ptr()) });
    succeeded("setgroups", ret)?;
    Ok(Done::new("creds", creds(libc::SYS_setgroups, ret)))
}

/// Gives up every capability but CAP_CHOWN.
///
/// # Errors
/// When the call fails.
pub fn capset() -> Result<Done> {
    // _LINUX_CAPABILITY_VERSION_3, this thread; then effective, permitted, inheritable, twice.
    let header: [u32; 2] = [0x2008_0522, 0];
    let data: [u32; 6] = [1, 1, 0, 0, 0, 0];
    // SAFETY: both arrays have the layout that version 3 of the call reads.
    let ret = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    let ret = kernel_result(ret);
    let mut fields = creds(libc::SYS_capset, ret);
    fields["cap_effective"] = json!(1);
    succeeded("capset", ret)?;
    Ok(Done::new("creds", fields))
}

/// Makes a file in memory.
///
/// # Errors
/// When the call fails.
pub fn memfd() -> Result<Done> {
    use std::os::fd::FromRawFd;
    use std::os::unix::fs::MetadataExt;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a C string; the descriptor is owned at once.
    let file = unsafe {
        let fd = ok(
            "memfd_create",
            libc::memfd_create(c"ravn-test".as_ptr(), flags),
        )?;
        std::fs::File::from_raw_fd(fd)
    };
    Ok(Done::new(
        "memfd",
        json!({
            "name": "ravn-test", "flags": flags, "ino": file.metadata()?.ino(),
            "ret": std::os::fd::AsRawFd::as_raw_fd(&file),
        }),
    ))
}

/// A child mounts a tmpfs on `folder`, in a mount namespace of its own; the truth is about
/// the child.
///
/// # Errors
/// When a call fails.
pub fn mount(folder: &str) -> Result<Done> {
    let target = std::ffi::CString::new(folder)?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    let private = libc::MS_REC | libc::MS_PRIVATE;
    let null = std::ptr::null();
    let mut status = 0;
    // The parent makes the new namespace private, which is a mount call too: so that nothing
    // leaves it, and that the child makes exactly one.
    // SAFETY: every pointer is a C string, or null where the call allows it; one thread, and
    // the child calls only async-signal-safe functions.
    let child = unsafe {
        ok("unshare", libc::unshare(libc::CLONE_NEWNS))?;
        ok(
            "mount",
            libc::mount(null, c"/".as_ptr(), null, private, null.cast()),
        )?;
        let child = match libc::fork() {
            0 => {
                let name = c"ravn-test".as_ptr();
                let kind = c"tmpfs".as_ptr();
                libc::_exit(libc::mount(name, target.as_ptr(), kind, flags, null.cast()) & 1)
            }
            child => ok("fork", child)?,
        };
        ok("waitpid", libc::waitpid(child, &raw mut status, 0))?;
        child.cast_unsigned()
    };
    if status != 0 {
        bail!("the child could not mount a tmpfs on {folder}");
    }
    Ok(Done {
        kind: "mount",
        fields: json!({
            "source": "ravn-test", "target": folder, "fstype": "tmpfs", "flags": flags, "ret": 0,
        }),
        by: Some((child, child)),
    })
}

/// Gives the kernel a module that is none.
///
/// # Errors
/// When the kernel takes it.
pub fn module() -> Result<Done> {
    let garbage = [0u8; 64];
    // SAFETY: pointer and length describe `garbage`; the parameters are a C string.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_init_module,
            garbage.as_ptr(),
            garbage.len(),
            c"".as_ptr(),
        )
    };
    let ret = kernel_result(ret);
    if ret == 0 {
        bail!("the kernel took 64 zero bytes for a module");
    }
    Ok(Done::new(
        "module",
        json!({"syscall": libc::SYS_init_module, "name": "", "ret": ret}),
    ))
}

/// Creates a BPF array of one entry.
///
/// # Errors
/// When the call is refused.
pub fn bpf() -> Result<Done> {
    let ret = create_map();
    if ret < 0 {
        bail!(
            "bpf: {}",
            std::io::Error::from_raw_os_error(i32::try_from(-ret)?)
        );
    }
    Ok(Done::new(
        "bpf",
        json!({"command": BPF_MAP_CREATE, "object_type": BPF_MAP_TYPE_ARRAY, "ret": ret}),
    ))
}

/// Whether this process may create BPF maps.
pub fn can_create_map() -> bool {
    let ret = create_map();
    if let Ok(fd) = i32::try_from(ret)
        && fd >= 0
    {
        // SAFETY: the descriptor was just made and belongs to nobody else.
        unsafe { libc::close(fd) };
        return true;
    }
    false
}

const BPF_MAP_CREATE: u32 = 0;
const BPF_MAP_TYPE_ARRAY: u32 = 2;

fn create_map() -> i64 {
    // union bpf_attr of BPF_MAP_CREATE: type, key_size, value_size, max_entries, map_flags.
    let attributes: [u32; 5] = [BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0];
    // SAFETY: pointer and size describe `attributes`.
    kernel_result(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_MAP_CREATE,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    })
}
