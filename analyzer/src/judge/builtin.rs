//! The rules that the program carries with it: every file of `analyzer/rules`.

/// Name and text of each file.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("accounts.yml", include_str!("../../rules/accounts.yml")),
    ("bpf-load.yml", include_str!("../../rules/bpf-load.yml")),
    (
        "capability-file.yml",
        include_str!("../../rules/capability-file.yml"),
    ),
    (
        "cloud-metadata.yml",
        include_str!("../../rules/cloud-metadata.yml"),
    ),
    (
        "container-mount.yml",
        include_str!("../../rules/container-mount.yml"),
    ),
    (
        "container-setns.yml",
        include_str!("../../rules/container-setns.yml"),
    ),
    ("cron.yml", include_str!("../../rules/cron.yml")),
    (
        "dropped-exec.yml",
        include_str!("../../rules/dropped-exec.yml"),
    ),
    (
        "gained-root.yml",
        include_str!("../../rules/gained-root.yml"),
    ),
    (
        "kernel-helpers.yml",
        include_str!("../../rules/kernel-helpers.yml"),
    ),
    (
        "kernel-module.yml",
        include_str!("../../rules/kernel-module.yml"),
    ),
    (
        "kernel-thread-name.yml",
        include_str!("../../rules/kernel-thread-name.yml"),
    ),
    ("kexec.yml", include_str!("../../rules/kexec.yml")),
    (
        "memory-exec.yml",
        include_str!("../../rules/memory-exec.yml"),
    ),
    (
        "memory-write.yml",
        include_str!("../../rules/memory-write.yml"),
    ),
    (
        "packet-socket.yml",
        include_str!("../../rules/packet-socket.yml"),
    ),
    ("pam.yml", include_str!("../../rules/pam.yml")),
    ("php-shell.yml", include_str!("../../rules/php-shell.yml")),
    ("preload.yml", include_str!("../../rules/preload.yml")),
    (
        "ptrace-ancestor.yml",
        include_str!("../../rules/ptrace-ancestor.yml"),
    ),
    ("ptrace.yml", include_str!("../../rules/ptrace.yml")),
    (
        "sensor-files.yml",
        include_str!("../../rules/sensor-files.yml"),
    ),
    (
        "sensor-ptrace.yml",
        include_str!("../../rules/sensor-ptrace.yml"),
    ),
    (
        "sensor-tampering.yml",
        include_str!("../../rules/sensor-tampering.yml"),
    ),
    (
        "sensor-signal.yml",
        include_str!("../../rules/sensor-signal.yml"),
    ),
    (
        "server-shell.yml",
        include_str!("../../rules/server-shell.yml"),
    ),
    (
        "setuid-file.yml",
        include_str!("../../rules/setuid-file.yml"),
    ),
    (
        "setuid-no-argv.yml",
        include_str!("../../rules/setuid-no-argv.yml"),
    ),
    (
        "shell-on-socket.yml",
        include_str!("../../rules/shell-on-socket.yml"),
    ),
    (
        "socket-to-stdio.yml",
        include_str!("../../rules/socket-to-stdio.yml"),
    ),
    ("ssh-keys.yml", include_str!("../../rules/ssh-keys.yml")),
    (
        "systemd-unit.yml",
        include_str!("../../rules/systemd-unit.yml"),
    ),
    (
        "userfaultfd.yml",
        include_str!("../../rules/userfaultfd.yml"),
    ),
    (
        "written-code.yml",
        include_str!("../../rules/written-code.yml"),
    ),
];
