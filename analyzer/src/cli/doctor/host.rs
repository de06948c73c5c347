//! What the kernel of this host offers.

use std::fs;
use std::path::Path;

use super::Check;

/// What the collector asks for.
const OLDEST: (u32, u32) = (6, 2);

/// Kernel, BTF, privilege, cgroups.
pub fn checks() -> Vec<Check> {
    vec![kernel(), btf(), privilege(), cgroup()]
}

fn kernel() -> Check {
    let what = "kernel";
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let release = release.trim();
    match version(release) {
        Some(version) if version >= OLDEST => Check::good(what, release),
        _ => Check::bad(
            what,
            release,
            "the collector needs Linux 6.2 or later: boot one (Debian 12: from its backports)",
        ),
    }
}

/// Major and minor number of a release such as `6.1.0-28-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
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

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_release_of_any_distribution_has_two_numbers() {
        assert_eq!(version("6.1.0-28-amd64"), Some((6, 1)));
        assert_eq!(version("5.10.0"), Some((5, 10)));
        assert_eq!(version("weird"), None);
    }
}
