//! More rights than before: root, setuid files, ways out of a container, cloud keys.

use ravn_shared::event::{Event, Exec, exec_flags};

use super::{Case, attack, healthy};
use crate::judge::tests::script::{SECOND, program};
use crate::verdict::Level;

pub const CASES: &[Case] = &[
    attack("gained-root", "an exploit, then a shell", |h| {
        let shell = h.login(1000);
        let exploit = h.run(shell, "/home/a/x", "x");
        h.turn_into(exploit, 0);
        h.exec(exploit, program("/usr/bin/bash", "bash\0"));
        assert_eq!(h.level(), Level::High);
    }),
    attack("gained-root", "an exploit that only forks", |h| {
        let shell = h.login(1000);
        let exploit = h.run(shell, "/home/a/x", "x");
        h.turn_into(exploit, 0);
        h.fork(exploit);
    }),
    attack(
        "gained-root",
        "an exploit that sets its user, seen in time",
        |h| {
            let shell = h.login(1000);
            let exploit = h.run(shell, "/home/a/x", "x");
            h.now_ns += 3 * SECOND;
            h.become_user(exploit, 0);
        },
    ),
    attack("gained-root", "a setuid program in /tmp", |h| {
        let shell = h.login(1000);
        let pid = h.fork(shell);
        h.exec(
            pid,
            Exec {
                flags: exec_flags::SECURE,
                euid: 0,
                ..program("/tmp/sh", "sh\0")
            },
        );
    }),
    healthy("gained-root", "sudo", |h| {
        let shell = h.login(1000);
        let sudo = h.fork(shell);
        let exec = program("/usr/bin/sudo", "sudo\0id\0");
        h.exec(
            sudo,
            Exec {
                flags: exec_flags::SECURE,
                euid: 0,
                ..exec
            },
        );
        h.become_user(sudo, 0);
        let id = h.run(sudo, "/usr/bin/id", "id");
        h.now_ns += 5 * SECOND;
        h.write(id, "/root/x");
        h.exit(id);
    }),
    healthy(
        "gained-root",
        "sudo whose exec is told after its setuid",
        |h| {
            let shell = h.login(1000);
            h.now_ns += 60 * SECOND;
            let sudo = h.fork(shell);
            h.become_user(sudo, 0);
            let exec = program("/usr/bin/sudo", "sudo\0id\0");
            h.exec(
                sudo,
                Exec {
                    flags: exec_flags::SECURE,
                    euid: 0,
                    ..exec
                },
            );
            h.now_ns += 5 * SECOND;
            h.write(sudo, "/root/x");
            h.exit(sudo);
        },
    ),
    healthy("gained-root", "a daemon that drops and takes back", |h| {
        let pid = h.daemon("/usr/sbin/smbd", 0);
        h.become_user(pid, 1000);
        h.become_user(pid, 0);
        h.now_ns += 5 * SECOND;
        h.fork(pid);
    }),
    healthy("gained-root", "root in a user namespace", |h| {
        let shell = h.login(1000);
        let pid = h.run(shell, "/usr/bin/unshare", "unshare -r");
        h.now_ns += 5 * SECOND;
        h.event(
            pid,
            Event::Creds(ravn_shared::event::Creds {
                syscall: 105,
                ret: 0,
                uids: [1000; 4],
                gids: [1000; 4],
                cap_effective: u64::MAX,
                user_ns_level: 1,
                ..Default::default()
            }),
        );
        h.fork(pid);
    }),
    attack(
        "gained-root",
        "an exploit that needs a user namespace first",
        |h| {
            let shell = h.login(1000);
            let pid = h.run(shell, "/home/a/x", "x");
            h.event(
                pid,
                Event::Creds(ravn_shared::event::Creds {
                    syscall: 272,
                    ret: 0,
                    uids: [1000; 4],
                    gids: [1000; 4],
                    cap_effective: u64::MAX,
                    user_ns_level: 1,
                    ..Default::default()
                }),
            );
            h.now_ns += 5 * SECOND;
            h.turn_into(pid, 0);
            h.write(pid, "/root/x");
        },
    ),
    healthy("gained-root", "a sandbox's helper in /opt", |h| {
        let shell = h.login(1000);
        let pid = h.fork(shell);
        let exec = program("/opt/google/chrome/chrome-sandbox", "x\0");
        h.exec(
            pid,
            Exec {
                flags: exec_flags::SECURE,
                euid: 0,
                ..exec
            },
        );
        h.fork(pid);
    }),
    attack("setuid-no-argv", "PwnKit", |h| {
        let shell = h.login(1000);
        let pid = h.fork(shell);
        h.exec(
            pid,
            Exec {
                flags: exec_flags::SECURE,
                euid: 0,
                ..program("/usr/bin/pkexec", "")
            },
        );
    }),
    healthy("setuid-no-argv", "pkexec as it is meant", |h| {
        let shell = h.login(1000);
        let pid = h.fork(shell);
        let exec = program("/usr/bin/pkexec", "pkexec\0id\0");
        h.exec(
            pid,
            Exec {
                flags: exec_flags::SECURE,
                euid: 0,
                ..exec
            },
        );
    }),
    attack("kernel-helpers", "core_pattern from a container", |h| {
        let shim = h.run(1, "/usr/bin/containerd-shim-runc-v2", "shim");
        let sh = h.run(shim, "/usr/bin/dash", "sh");
        h.write(sh, "/proc/sys/kernel/core_pattern");
    }),
    attack(
        "kernel-helpers",
        "release_agent of a cgroup mounted somewhere",
        |h| {
            let shell = h.login(0);
            h.write(shell, "/tmp/cgrp/release_agent");
        },
    ),
    healthy("kernel-helpers", "systemd-sysctl, sysctl, apport", |h| {
        let pid = h.daemon("/usr/lib/systemd/systemd-sysctl", 0);
        h.write(pid, "/proc/sys/kernel/core_pattern");
        let pid = h.fork(1);
        let exec = program(
            "/usr/bin/python3.11",
            "python3\0/usr/share/apport/apport\0--start\0",
        );
        h.exec(
            pid,
            Exec {
                filename: b"/usr/share/apport/apport",
                ..exec
            },
        );
        h.write(pid, "/proc/sys/kernel/core_pattern");
    }),
    attack("setuid-file", "chmod u+s in /tmp", |h| {
        let shell = h.login(0);
        let chmod = h.run(shell, "/usr/bin/chmod", "chmod u+s /tmp/sh");
        h.chmod(chmod, "tmp/sh", 0o4755);
    }),
    healthy(
        "setuid-file",
        "dpkg, tar, git's setgid folders, one's own file",
        |h| {
            let shell = h.login(0);
            let dpkg = h.run(shell, "/usr/bin/dpkg", "dpkg -i");
            h.chmod(dpkg, "/opt/x/helper.dpkg-new", 0o4755);
            let tar = h.run(shell, "/usr/bin/tar", "tar xf");
            h.chmod(tar, "/srv/backup/usr/bin/su", 0o4755);
            let chmod = h.run(shell, "/usr/bin/chmod", "chmod g+s");
            h.chmod(chmod, "/srv/git/x", 0o2775);
            let user = h.login(1000);
            let chmod = h.run(user, "/usr/bin/chmod", "chmod u+s");
            h.chmod(chmod, "/home/a/x", 0o4755);
        },
    ),
    attack("container-mount", "the host's disk", |h| {
        let shim = h.run(1, "/usr/bin/containerd-shim-runc-v2", "shim");
        let sh = h.run(shim, "/usr/bin/dash", "sh");
        let mount = h.run(sh, "/usr/bin/mount", "mount /dev/sda1 /mnt");
        h.mount(mount, "/dev/sda1", "/mnt", "ext4");
    }),
    healthy(
        "container-mount",
        "systemd's sandboxing, runc's mounts",
        |h| {
            let pid = h.run(1, "/usr/lib/systemd/systemd-executor", "x");
            h.mount(pid, "/dev/sda1", "/run/systemd/unit-root", "ext4");
            let shim = h.run(1, "/usr/bin/containerd-shim-runc-v2", "shim");
            let runc = h.run(shim, "/usr/bin/runc", "runc init");
            h.mount(runc, "/dev/sdb", "/data", "ext4");
            h.mount(runc, "proc", "/proc", "proc");
        },
    ),
    attack("cloud-metadata", "curl for the role's keys", |h| {
        let web = h.daemon("/usr/sbin/nginx", 33);
        let curl = h.run(web, "/usr/bin/curl", "curl");
        h.connect(curl, &[169, 254, 169, 254]);
    }),
    healthy("cloud-metadata", "the cloud's agent", |h| {
        let pid = h.daemon("/usr/bin/google_guest_agent", 0);
        h.connect(pid, &[169, 254, 169, 254]);
    }),
];
