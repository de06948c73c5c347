//! What the kernel of this host offers.

use std::fs;
use std::path::Path;

use ravn_shared::kernel;

use super::Check;

/// Kernel, BTF, privilege, cgroups.
pub fn checks() -> Vec<Check> {
    vec![release(), btf(), privilege(), cgroup()]
}

fn release() -> Check {
    let what = "kernel";
    let release = kernel::release();
    match kernel::version(&release) {
        Some(version) if version >= kernel::OLDEST => Check::good(what, release),
        _ => Check::bad(
            what,
            release,
            "the collector needs Linux 6.2 or later: boot one (Debian 12: from its backports)",
        ),
    }
}

fn btf() -> Check {
    let path = "/sys/kernel/btf/vmlinux";
    if Path::new(path).exists() {
        Check::good("BTF", path)
    } else {
        Check::bad(
            "BTF",
            format!("no {path}"),
            "run a kernel with CONFIG_DEBUG_INFO_BTF=y, as every distribution's has it since 2021",
        )
    }
}

fn privilege() -> Check {
    // CAP_SYS_ADMIN 21, CAP_PERFMON 38, CAP_BPF 39.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok())
        .unwrap_or_default();
    let has = |capability: u32| effective >> capability & 1 == 1;
    if has(21) || has(38) && has(39) {
        Check::good("privilege", "this user may load BPF")
    } else {
        Check::note(
            "privilege",
            "this user may not load BPF; whether the collector may is not looked at",
            "run ravn doctor as root to see everything",
        )
    }
}

fn cgroup() -> Check {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let place = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let place = fields.next()?;
        (fields.next()? == "cgroup2").then_some(place)
    });
    match place {
        Some(place) => Check::good("cgroup2", place),
        None => Check::bad(
            "cgroup2",
            "the unified hierarchy is not mounted",
            "mount -t cgroup2 none /sys/fs/cgroup/unified",
        ),
    }
}
