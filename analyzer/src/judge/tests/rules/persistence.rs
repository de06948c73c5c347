//! What survives a restart: loader, accounts, jobs, units, keys, modules.

use ravn_shared::event::Exec;

use super::{Case, attack, healthy};
use crate::judge::tests::script::{at_terminal, program};
use crate::verdict::Level;

pub const CASES: &[Case] = &[
    attack("preload", "a library for everybody", |h| {
        let shell = h.login(0);
        h.write(shell, "/etc/ld.so.preload");
        assert_eq!(h.level(), Level::High);
    }),
    attack("preload", "by renaming over it", |h| {
        let shell = h.login(0);
        let mv = h.run(shell, "/usr/bin/mv", "mv");
        h.rename(mv, "/tmp/p", "/etc/cron.d/../ld.so.preload");
    }),
    healthy("preload", "the loader's cache", |h| {
        let pid = h.daemon("/usr/sbin/ldconfig", 0);
        h.rename(pid, "/etc/ld.so.cache~", "/etc/ld.so.cache");
    }),
    attack("pam", "a module replaced", |h| {
        let shell = h.login(0);
        let cp = h.run(shell, "/usr/bin/cp", "cp");
        h.write(cp, "/usr/lib/x86_64-linux-gnu/security/pam_unix.so");
    }),
    healthy("pam", "dpkg upgrading it", |h| {
        let shell = h.login(0);
        let dpkg = h.run(shell, "/usr/bin/dpkg", "dpkg -i");
        let child = h.run(dpkg, "/usr/bin/tar", "tar");
        h.write(child, "/usr/lib/x86_64-linux-gnu/security/pam_unix.so");
        h.write(dpkg, "/etc/pam.d/common-auth");
    }),
    attack(
        "pam",
        "what an orphan of dpkg does when dpkg is gone",
        |h| {
            let shell = h.login(0);
            let dpkg = h.run(shell, "/usr/bin/dpkg", "dpkg -i");
            let child = h.run(dpkg, "/usr/bin/dash", "sh postinst");
            h.exit(dpkg);
            h.write(child, "/etc/pam.d/sshd");
        },
    ),
    attack("accounts", "a line in passwd", |h| {
        let shell = h.login(0);
        let tee = h.run(shell, "/usr/bin/tee", "tee -a /etc/passwd");
        h.write(tee, "/etc/passwd");
    }),
    attack("accounts", "a sudo rule", |h| {
        let shell = h.login(0);
        h.write(shell, "/etc/sudoers.d/x");
    }),
    healthy("accounts", "the tools for it", |h| {
        let shell = h.login(0);
        let useradd = h.run(shell, "/usr/sbin/useradd", "useradd x");
        h.rename(useradd, "/etc/passwd+", "/etc/passwd");
        let passwd = h.run(shell, "/usr/bin/passwd", "passwd x");
        h.rename(passwd, "/etc/nshadow", "/etc/shadow");
        let visudo = h.run(shell, "/usr/sbin/visudo", "visudo");
        h.rename(visudo, "/etc/sudoers.tmp", "/etc/sudoers");
        let nano = h.run(visudo, "/usr/bin/nano", "nano /etc/sudoers.d/x.tmp");
        h.write(nano, "/etc/sudoers.d/x.tmp");
    }),
    healthy("accounts", "a container's entrypoint", |h| {
        let shim = h.run(1, "/usr/bin/containerd-shim-runc-v2", "shim");
        let sh = h.run(shim, "/bin/busybox", "sh entrypoint.sh");
        h.write(sh, "/etc/passwd");
    }),
    attack("accounts", "a tool of that name elsewhere", |h| {
        let shell = h.login(0);
        let tool = h.run(shell, "/tmp/useradd", "useradd");
        h.write(tool, "/etc/shadow");
    }),
    attack("cron", "a job by a script", |h| {
        let sh = h.daemon("/usr/bin/dash", 0);
        h.write(sh, "/etc/cron.d/x");
    }),
    healthy("cron", "crontab -e and the daemon itself", |h| {
        let shell = h.login(1000);
        let crontab = h.fork(shell);
        h.exec(
            crontab,
            at_terminal("/usr/bin/crontab", "crontab\0-e\0", 1000),
        );
        h.rename(
            crontab,
            "/var/spool/cron/crontabs/tmp.x",
            "/var/spool/cron/crontabs/a",
        );
        let atd = h.daemon("/usr/sbin/atd", 0);
        h.unlink(atd, "/var/spool/cron/atjobs/a");
        h.write(atd, "/var/spool/cron/atspool/a");
    }),
    attack("systemd-unit", "a unit by a shell", |h| {
        let shell = h.login(0);
        h.write(shell, "/etc/systemd/system/x.service");
    }),
    healthy("systemd-unit", "snapd, cloud-init and systemctl", |h| {
        let snapd = h.daemon("/usr/lib/snapd/snapd", 0);
        h.write(snapd, "/etc/systemd/system/snap.x.service");
        let pid = h.fork(1);
        let exec = program(
            "/usr/bin/python3.11",
            "python3\0/usr/bin/cloud-init\0init\0",
        );
        h.exec(
            pid,
            Exec {
                filename: b"/usr/bin/cloud-init",
                ..exec
            },
        );
        h.write(pid, "/etc/systemd/system/x.service");
        let ctl = h.daemon("/usr/bin/systemctl", 0);
        h.write(ctl, "/etc/systemd/system/x.service.d/override.conf");
    }),
    attack("ssh-keys", "keys by a server's child", |h| {
        let web = h.daemon("/usr/sbin/nginx", 33);
        h.write(web, "/var/www/.ssh/authorized_keys");
    }),
    healthy("ssh-keys", "ssh-copy-id in a login, a cloud's agent", |h| {
        let sshd = h.run(1, "/usr/sbin/sshd", "sshd");
        let pid = h.fork(sshd);
        h.exec(
            pid,
            Exec {
                loginuid: 1000,
                ..program("/usr/bin/dash", "sh\0-c\0cat\0")
            },
        );
        h.write(pid, "/home/a/.ssh/authorized_keys");
        let agent = h.daemon("/usr/bin/google_guest_agent", 0);
        h.write(agent, "/home/a/.ssh/authorized_keys");
    }),
    attack("kernel-module", "insmod from /tmp", |h| {
        let shell = h.login(0);
        let pid = h.run(shell, "/usr/bin/kmod", "insmod /tmp/r.ko");
        h.module(pid, 313, "/tmp/r.ko");
    }),
    attack("kernel-module", "another loader", |h| {
        let pid = h.daemon("/usr/bin/python3.11", 0);
        h.module(pid, 175, "");
    }),
    healthy(
        "kernel-module",
        "modprobe for docker, systemd, the kernel's helper",
        |h| {
            let docker = h.daemon("/usr/bin/dockerd", 0);
            let pid = h.run(docker, "/usr/bin/kmod", "modprobe overlay");
            h.module(
                pid,
                313,
                "/usr/lib/modules/6.1.0/kernel/fs/overlayfs/overlay.ko",
            );
            let pid = h.run(1, "/usr/bin/kmod", "/sbin/modprobe -q -- net-pf-10");
            h.module(pid, 175, "");
            let udev = h.daemon("/usr/lib/systemd/systemd-udevd", 0);
            h.module(udev, 313, "/lib/modules/6.1.0/kernel/drivers/net/x.ko");
            h.module(pid, 176, "floppy");
        },
    ),
];
