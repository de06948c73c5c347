//! A day of ordinary work on one host, played whole: no alert, level LOW.

use ravn_shared::event::{Exec, exec_flags};

use super::script::{Host, SECOND, at_terminal, program};
use crate::verdict::Level;

const MIRROR: &[u8] = &[151, 101, 2, 132];

fn quiet(what: &str, play: fn(&mut Host)) {
    let mut host = Host::new();
    host.older(300, 1, 0, "sshd");
    host.older(301, 1, 0, "cron");
    play(&mut host);
    assert_eq!(
        host.level(),
        Level::Low,
        "{what}: {}",
        host.judge.score().reason
    );
    assert!(host.alerts.is_empty(), "{what}: {:?}", host.fired());
}

fn sudo(host: &mut Host, shell: u32) -> u32 {
    let pid = host.fork(shell);
    let exec = at_terminal("/usr/bin/sudo", "sudo\0-i\0", 1000);
    host.exec(
        pid,
        Exec {
            flags: exec_flags::SECURE,
            euid: 0,
            ..exec
        },
    );
    host.become_user(pid, 0);
    pid
}

#[test]
fn installing_packages() {
    quiet("apt-get install", |h| {
        let shell = h.login(1000);
        let sudo = sudo(h, shell);
        let apt = h.run(sudo, "/usr/bin/apt-get", "apt-get install nginx");
        let http = h.run(apt, "/usr/lib/apt/methods/http", "http");
        h.connect(http, MIRROR);
        h.become_user(http, 42);
        h.write(http, "/var/cache/apt/archives/partial/nginx.deb");
        let pre = h.run(apt, "/usr/bin/perl", "perl dpkg-preconfigure");
        h.write_ino(pre, "/tmp/nginx.config.a1", 601, 0o100_755);
        let config = h.fork(pre);
        h.exec(
            config,
            Exec {
                ino: 601,
                ..program("/tmp/nginx.config.a1", "x\0")
            },
        );
        let dpkg = h.run(apt, "/usr/bin/dpkg", "dpkg --unpack");
        for file in [
            "/etc/cron.d/nginx",
            "/usr/lib/systemd/system/nginx.service.dpkg-new",
            "/etc/pam.d/nginx.dpkg-new",
            "/etc/sudoers.d/nginx.dpkg-new",
        ] {
            h.write(dpkg, file);
            h.chmod(dpkg, file, 0o4755);
            h.rename(dpkg, file, file);
        }
        let postinst = h.run(
            dpkg,
            "/usr/bin/dash",
            "sh /var/lib/dpkg/info/nginx.postinst",
        );
        let adduser = h.run(postinst, "/usr/bin/perl", "perl adduser");
        let useradd = h.run(adduser, "/usr/sbin/useradd", "useradd www");
        h.rename(useradd, "/etc/passwd+", "/etc/passwd");
        let ctl = h.run(postinst, "/usr/bin/systemctl", "systemctl enable nginx");
        h.write(
            ctl,
            "/etc/systemd/system/multi-user.target.wants/nginx.service",
        );
        let nginx = h.run(postinst, "/usr/sbin/nginx", "nginx -t");
        h.run(nginx, "/usr/bin/dash", "sh -c true");
        for pid in [
            config, pre, useradd, adduser, ctl, postinst, dpkg, http, apt,
        ] {
            h.exit(pid);
        }
        h.pass(30);
    });
}

#[test]
fn compiling() {
    quiet("cargo and gcc", |h| {
        let shell = h.login(1000);
        let cargo = h.run(shell, "/home/dev/.cargo/bin/cargo", "cargo build");
        h.connect(cargo, MIRROR);
        for at in 0..200 {
            let rustc = h.run(
                cargo,
                "/home/dev/.rustup/toolchains/1.95/bin/rustc",
                "rustc x.rs",
            );
            h.write_ino(rustc, "/home/dev/target/x.o", 700 + at, 0o100_644);
            let ld = h.run(rustc, "/usr/bin/x86_64-linux-gnu-ld.bfd", "ld");
            h.write_ino(ld, "/home/dev/target/build", 1700 + at, 0o100_755);
            h.write_ino(ld, "/tmp/ccAbc.s", 2700 + at, 0o100_600);
            h.unlink(ld, "/tmp/ccAbc.s");
            h.chmod(ld, "/home/dev/target/build", 0o755);
            let build = h.fork(cargo);
            h.exec(
                build,
                Exec {
                    ino: 1700 + at,
                    ..program("/home/dev/target/build", "build\0")
                },
            );
            for pid in [build, ld, rustc] {
                h.exit(pid);
            }
        }
        let make = h.run(shell, "/usr/bin/make", "make");
        let configure = h.run(make, "/usr/bin/dash", "sh ./configure");
        h.write_ino(configure, "/home/dev/a.out", 9000, 0o100_755);
    });
}

#[test]
fn units_cron_and_logins() {
    quiet("systemd, cron, ssh", |h| {
        for unit in [
            "/usr/sbin/rsyslogd",
            "/usr/lib/systemd/systemd-logind",
            "/usr/sbin/mysqld",
        ] {
            let pid = h.run(1, "/usr/lib/systemd/systemd-executor", "systemd-executor");
            h.mount(pid, "tmpfs", "/run/systemd/unit-root", "tmpfs");
            h.bpf(pid);
            h.exec(pid, program(unit, "x\0"));
            h.become_user(pid, 104);
        }
        let child = h.fork(301);
        let job = h.run(child, "/usr/bin/dash", "sh -c run-parts");
        let logrotate = h.run(job, "/usr/sbin/logrotate", "logrotate");
        h.rename(logrotate, "/var/log/syslog", "/var/log/syslog.1");
        h.write(logrotate, "/var/log/syslog");
        for uid in [1000, 1001] {
            let shell = h.login(uid);
            for line in ["ls", "ps aux", "git status", "vim notes"] {
                let pid = h.run(shell, "/usr/bin/git", line);
                h.exit(pid);
            }
            let find = h.run(shell, "/usr/bin/find", "find /usr -name x");
            h.exit(find);
            h.write(shell, "/home/a/.bash_history");
            h.exit(shell);
        }
        let keys = h.fork(300);
        h.exec(
            keys,
            Exec {
                loginuid: 1000,
                ..program("/usr/bin/dash", "sh\0-c\0x\0")
            },
        );
        h.write(keys, "/home/a/.ssh/authorized_keys");
        h.pass(10);
    });
}

#[test]
fn containers() {
    quiet("docker", |h| {
        let shim = h.run(1, "/usr/bin/containerd-shim-runc-v2", "shim");
        let runc = h.run(shim, "/usr/bin/runc", "runc create");
        h.memfd(runc, "runc_cloned:/proc/self/exe", 90);
        h.exec(
            runc,
            Exec {
                flags: exec_flags::MEMFD | exec_flags::DELETED,
                ino: 90,
                dev: 1,
                ..program("/memfd:runc_cloned:/proc/self/exe", "runc\0init\0")
            },
        );
        h.mount(
            runc,
            "overlay",
            "/var/lib/docker/overlay2/x/merged",
            "overlay",
        );
        h.bpf(runc);
        h.exec(runc, program("/usr/bin/dash", "sh\0/entrypoint.sh\0"));
        h.write(runc, "/etc/passwd");
        let apt = h.run(runc, "/usr/bin/apt-get", "apt-get install curl");
        h.write(apt, "/etc/pam.d/common-auth");
        h.exec(runc, program("/usr/sbin/nginx", "nginx\0"));
        h.pass(1);
    });
}

#[test]
fn an_admin_becoming_root_and_a_seconds_long_pause() {
    quiet("sudo", |h| {
        let shell = h.login(1000);
        let sudo = sudo(h, shell);
        h.now_ns += 10 * SECOND;
        let root = h.run(sudo, "/usr/bin/bash", "-bash");
        h.run(root, "/usr/bin/systemctl", "systemctl restart nginx");
        h.write(root, "/root/.bash_history");
    });
}
