//! What this host must offer before anything is loaded.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ravn_shared::kernel;

/// Why a host cannot run the collector. Exit code 77.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The kernel was built without type information.
    #[error(
        "no /sys/kernel/btf/vmlinux: this kernel has no BTF; boot one with CONFIG_DEBUG_INFO_BTF=y, as distributions have it"
    )]
    NoBtf,
    /// The kernel is older than what the programs ask for.
    #[error(
        "this is Linux {0}; the collector needs 6.2 or later: boot such a kernel (Debian 12 has one in its backports)"
    )]
    OldKernel(String),
    /// The caller may not load programs.
    #[error(
        "no privilege to load BPF programs; run as root, or with CAP_BPF, CAP_PERFMON and CAP_SYS_RESOURCE"
    )]
    NoPrivilege,
    /// Process ids of this process are not those that the kernel's programs see.
    #[error(
        "this is a pid namespace of its own: the collector must see the host's process ids; run the container with --pid=host"
    )]
    PidNamespace,
}

/// PROC_PID_INIT_INO of include/linux/proc_ns.h: the host's own pid namespace.
const HOST_PID_NAMESPACE: u64 = 0xeffffffc;

/// Bits of a capability set (linux/capability.h).
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_PERFMON: u64 = 1 << 38;
const CAP_BPF: u64 = 1 << 39;

/// Checks what can be known without loading anything.
///
/// # Errors
/// The first thing that is missing.
pub fn check() -> Result<(), HostError> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or_default();
    let may_load = effective & CAP_SYS_ADMIN != 0
        || effective & (CAP_BPF | CAP_PERFMON) == CAP_BPF | CAP_PERFMON;
    if !may_load {
        return Err(HostError::NoPrivilege);
    }
    let release = kernel::release();
    // What cannot be read as a release is tried.
    if kernel::version(&release).is_some_and(|version| version < kernel::OLDEST) {
        return Err(HostError::OldKernel(release));
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err(HostError::NoBtf);
    }
    let own = std::fs::metadata("/proc/self/ns/pid").map(|namespace| namespace.ino());
    if own.is_ok_and(|ino| ino != HOST_PID_NAMESPACE) {
        return Err(HostError::PidNamespace);
    }
    Ok(())
}
