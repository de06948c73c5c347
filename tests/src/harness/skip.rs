//! Tests that a host cannot run say so, by name and reason, where `scripts/test` counts them.

use std::io::Write;

use anyhow::{Result, bail};

use super::cgroup;

/// What a test needs of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// BTF, the right to load BPF, the unified cgroup hierarchy.
    Kernel,
    /// systemd as the service manager.
    Systemd,
    /// QEMU or another way to boot other kernels.
    Vm,
    /// A Redis that was built with TLS.
    RedisTls,
    /// Network namespaces, and iproute2 to make them.
    Netns,
    /// libfaketime, which gives programs another clock.
    Faketime,
}

impl Need {
    const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Systemd => "systemd",
            Self::Vm => "vm",
            Self::RedisTls => "redis-tls",
            Self::Netns => "netns",
            Self::Faketime => "faketime",
        }
    }

    /// Why this host does not have it.
    fn missing(self) -> Option<String> {
        match self {
            Self::Kernel => kernel_missing(),
            Self::Systemd => (!std::path::Path::new("/run/systemd/system").exists())
                .then(|| "systemd does not run this host".to_owned()),
            Self::Vm => Some("no machine to boot".to_owned()),
            Self::RedisTls => super::redis_server::without_tls(),
            Self::Netns => super::netns::missing(),
            Self::Faketime => super::clock::library()
                .is_none()
                .then(|| "libfaketimeMT.so.1 is missing; install libfaketime".to_owned()),
        }
    }
}

fn kernel_missing() -> Option<String> {
    // SAFETY: geteuid has no preconditions.
    if unsafe { libc::geteuid() } != 0 {
        return Some("not root: BPF cannot be loaded".to_owned());
    }
    if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Some("no /sys/kernel/btf/vmlinux: this kernel has no BTF".to_owned());
    }
    if cgroup::unified().is_none() {
        return Some("no cgroup2 mount".to_owned());
    }
    // A map of one entry: what a kernel or a container forbids is refused here already.
    (!crate::acts::security::can_create_map())
        .then(|| "bpf(BPF_MAP_CREATE) is refused: no CAP_BPF here".to_owned())
}

/// Whether the test `name` can run here. If not, a line for `scripts/test` is written to the
/// file that RAVN_SKIPPED names.
///
/// # Errors
/// When the need is named in RAVN_REQUIRE: then a skip is a failure.
pub fn can_run(name: &str, need: Need) -> Result<bool> {
    let Some(reason) = need.missing() else {
        return Ok(true);
    };
    let required = std::env::var("RAVN_REQUIRE").unwrap_or_default();
    if required.split(',').any(|part| part == need.name()) {
        bail!(
            "{name} needs {}: {reason} (RAVN_REQUIRE={required})",
            need.name()
        );
    }
    eprintln!("skipped {name}: {reason}");
    if let Some(path) = std::env::var_os("RAVN_SKIPPED") {
        let mut file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(path)?;
        writeln!(file, "{name}: {reason}")?;
    }
    Ok(false)
}
