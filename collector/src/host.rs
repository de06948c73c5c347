//! What this host must offer before anything is loaded.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

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

/// Oldest release that the programs were loaded on.
const OLDEST: (u32, u32) = (6, 2);

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
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // What cannot be read as a release is tried.
    if version(release.trim()).is_some_and(|version| version < OLDEST) {
        return Err(HostError::OldKernel(release.trim().to_owned()));
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

/// Major and minor number of a release such as `6.1.0-28-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{OLDEST, version};

    #[test]
    fn a_release_tells_whether_it_is_old_enough() {
        assert!(version("6.1.0-28-amd64").is_some_and(|version| version < OLDEST));
        assert!(version("6.18.0").is_some_and(|version| version >= OLDEST));
        assert_eq!(version("weird"), None);
    }
}
