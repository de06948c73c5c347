//! Each rule: an attack that fires it, and what looks like it on a healthy server.

use ravn_shared::event::{Event, Exec, Socket, exec_flags};

use super::script::{Host, SECOND, args, at_terminal, program, tcp};
use crate::judge::{RuleSet, Tier};
use crate::verdict::Level;

const FAR: &[u8] = &[203, 0, 113, 9];
const LOOPBACK: &[u8] = &[127, 0, 0, 1];

fn on_socket<'a>(path: &'a str, argv: &'a str, peer: &'a [u8]) -> Exec<'a> {
    Exec {
        stdio: [5, 5, 5],
        stdio_peer: peer,
        stdio_peer_port: 4444,
        ..program(path, argv)
    }
}

/// What the kernel shows of a memfd's exec.
fn in_memory<'a>(path: &'a str, ino: u64) -> Exec<'a> {
    Exec {
        flags: exec_flags::MEMFD | exec_flags::DELETED,
        ino,
        dev: 1,
        ..program(path, "x\0")
    }
}

struct Case {
    rule: &'static str,
    what: &'static str,
    fires: bool,
    play: fn(&mut Host),
}

const fn attack(rule: &'static str, what: &'static str, play: fn(&mut Host)) -> Case {
    Case {
        rule,
        what,
        fires: true,
        play,
    }
}

const fn healthy(rule: &'static str, what: &'static str, play: fn(&mut Host)) -> Case {
    Case {
        rule,
        what,
        fires: false,
        play,
    }
}

const CASES: &[Case] = &[
    attack("memory-exec", "a program out of a memfd", |h| {
        let shell = h.login(1000);
        let pid = h.run(shell, "/usr/bin/python3.11", "python3");
        h.memfd(pid, "kit", 77);
        h.exec(pid, in_memory("/memfd:kit", 77));
        assert_eq!(h.level(), Level::High);
    }),
    attack(
        "memory-exec",
        "a memfd with runc's name, not by runc",
        |h| {
            let shell = h.login(1000);
            h.memfd(shell, "runc_cloned:/proc/self/exe", 78);
            h.exec(shell, in_memory("/memfd:runc_cloned:/proc/self/exe", 78));
        },
    ),
    attack(
        "memory-exec",
        "a memfd of a runc that is no package's",
        |h| {
            let runc = h.run(1, "/tmp/runc", "runc");
            h.memfd(runc, "runc_cloned:/proc/self/exe", 79);
            h.exec(runc, in_memory("/memfd:runc_cloned:/proc/self/exe", 79));
        },
    ),
    attack(
        "memory-exec",
        "a file that was deleted before it ran",
        |h| {
            let shell = h.login(1000);
            let pid = h.fork(shell);
            h.exec(
                pid,
                Exec {
                    flags: exec_flags::DELETED,
                    ..program("/tmp/x", "x\0")
                },
            );
        },
    ),
    healthy("memory-exec", "runc entering a container", |h| {
        let shim = h.run(
            1,
            "/usr/bin/containerd-shim-runc-v2",
            "containerd-shim-runc-v2",
        );
        let runc = h.run(shim, "/usr/bin/runc", "runc init");
        h.memfd(runc, "runc_cloned:/proc/self/exe", 80);
        h.exec(runc, in_memory("/memfd:runc_cloned:/proc/self/exe", 80));
    }),
    healthy(
        "memory-exec",
        "systemd's executor, replaced by an upgrade",
        |h| {
            let pid = h.fork(1);
            let exec = program("/usr/lib/systemd/systemd-executor", "9\0");
            h.exec(
                pid,
                Exec {
                    flags: exec_flags::DELETED,
                    ..exec
                },
            );
        },
    ),
    attack("shell-on-socket", "a reverse shell", |h| {
        let www = h.daemon("/usr/bin/python3.11", 33);
        let pid = h.fork(www);
        h.exec(pid, on_socket("/usr/bin/dash", "sh\0-i\0", FAR));
        assert_eq!(h.level(), Level::High);
    }),
    attack("shell-on-socket", "a shell on a loopback connection", |h| {
        let shell = h.login(1000);
        let nc = h.run(shell, "/usr/bin/nc.traditional", "nc -l -p 4444 -e /bin/sh");
        let pid = h.fork(nc);
        h.exec(pid, on_socket("/usr/bin/dash", "sh\0", LOOPBACK));
        assert_eq!(h.level(), Level::High);
    }),
    attack("shell-on-socket", "a shell under another name", |h| {
        let www = h.daemon("/usr/bin/python3.11", 33);
        let pid = h.fork(www);
        h.exec(pid, on_socket("/tmp/kworker", "kworker\0", FAR));
    }),
    attack(
        "shell-on-socket",
        "a unit's daemon that becomes a shell itself",
        |h| {
            let pid = h.daemon("/usr/sbin/vsftpd", 0);
            h.exec(pid, on_socket("/usr/bin/dash", "sh\0", FAR));
        },
    ),
    healthy("shell-on-socket", "ssh host command", |h| {
        let sshd = h.run(1, "/usr/sbin/sshd", "sshd");
        let pid = h.fork(sshd);
        let exec = program("/usr/bin/bash", "bash\0-c\0uptime\0");
        h.exec(
            pid,
            Exec {
                stdio: [4, 4, 3],
                ..exec
            },
        );
    }),
    healthy("shell-on-socket", "a unit with Accept=yes", |h| {
        let pid = h.fork(1);
        h.exec(
            pid,
            on_socket("/usr/bin/dash", "sh\0/usr/share/x/serve\0", FAR),
        );
    }),
    healthy("shell-on-socket", "inetd", |h| {
        let inetd = h.daemon("/usr/sbin/inetd", 0);
        let pid = h.fork(inetd);
        h.exec(pid, on_socket("/usr/bin/bash", "bash\0/srv/finger\0", FAR));
    }),
    attack(
        "socket-to-stdio",
        "bash with /dev/tcp in both directions",
        |h| {
            let shell = h.login(1000);
            let pid = h.run(shell, "/usr/bin/bash", "bash -i");
            h.connect(pid, FAR);
            for fd in [1, 2, 0] {
                h.dup(pid, fd, tcp(FAR));
            }
            assert_eq!(h.level(), Level::High);
        },
    ),
    attack(
        "socket-to-stdio",
        "python's dup2 before a pty, on loopback",
        |h| {
            let pid = h.daemon("/usr/bin/python3.11", 33);
            for fd in 0..3 {
                h.dup(pid, fd, tcp(LOOPBACK));
            }
            assert_eq!(h.level(), Level::High);
        },
    ),
    healthy(
        "socket-to-stdio",
        "a port check: echo > /dev/tcp/db/5432",
        |h| {
            let pid = h.run(1, "/usr/bin/bash", "bash wait-for-it.sh");
            h.connect(pid, FAR);
            h.dup(pid, 1, tcp(FAR));
        },
    ),
    healthy(
        "socket-to-stdio",
        "reading an answer: cat < /dev/tcp",
        |h| {
            let pid = h.run(1, "/usr/bin/bash", "bash check.sh");
            h.dup(pid, 0, tcp(FAR));
        },
    ),
    healthy("socket-to-stdio", "a Unix socket", |h| {
        let pid = h.run(1, "/usr/bin/bash", "bash x");
        for fd in 0..3 {
            h.dup(
                pid,
                fd,
                Socket {
                    family: 1,
                    remote: b"/run/x",
                    ..tcp(FAR)
                },
            );
        }
    }),
    attack("server-shell", "a web shell", |h| {
        let nginx = h.daemon("/usr/sbin/nginx", 33);
        h.run(nginx, "/usr/bin/dash", "sh -c id");
        assert_eq!(h.level(), Level::High);
    }),
    attack("server-shell", "COPY ... PROGRAM of PostgreSQL", |h| {
        let db = h.daemon("/usr/lib/postgresql/15/bin/postgres", 109);
        h.run(db, "/usr/bin/dash", "sh -c curl");
    }),
    healthy("server-shell", "an archive_command that is known", |h| {
        let db = h.daemon("/usr/lib/postgresql/15/bin/postgres", 109);
        h.run(db, "/usr/bin/dash", "sh -c cp");
        h.pass(900);
        h.alerts.clear();
        let db = h.daemon("/usr/lib/postgresql/15/bin/postgres", 109);
        h.run(db, "/usr/bin/dash", "sh -c cp");
    }),
    healthy("server-shell", "mail() inside Apache", |h| {
        let web = h.daemon("/usr/sbin/apache2", 33);
        let pid = h.fork(web);
        h.exec(
            pid,
            program("/usr/bin/dash", "sh\0-c\0/usr/sbin/sendmail -t -i\0"),
        );
    }),
    healthy("server-shell", "postfix's delivery to a command", |h| {
        let pipe = h.daemon("/usr/lib/postfix/sbin/pipe", 0);
        h.run(pipe, "/usr/bin/dash", "sh -c spamc");
    }),
    healthy(
        "server-shell",
        "a server's program in no package folder is no server",
        |h| {
            let web = h.daemon("/home/dev/nginx", 1000);
            h.run(web, "/usr/bin/dash", "sh -c id");
        },
    ),
    attack("php-shell", "PHP starts a shell", |h| {
        let php = h.daemon("/usr/sbin/php-fpm8.2", 33);
        h.run(php, "/usr/bin/dash", "sh -c id");
        assert_eq!(h.level(), Level::Low, "medium alone");
    }),
    healthy("php-shell", "PHP sends mail", |h| {
        let php = h.daemon("/usr/sbin/php-fpm8.2", 33);
        let pid = h.fork(php);
        h.exec(
            pid,
            program(
                "/usr/bin/dash",
                "sh\0-c\0/usr/sbin/sendmail -t -i -fa@b.c\0",
            ),
        );
    }),
    attack("dropped-exec", "curl to /tmp, then run", |h| {
        let shell = h.login(1000);
        let curl = h.run(shell, "/usr/bin/curl", "curl -o /tmp/x");
        h.connect(curl, FAR);
        h.write_ino(curl, "/tmp/x", 501, 0o100_644);
        let pid = h.fork(shell);
        h.exec(
            pid,
            Exec {
                ino: 501,
                ..program("/tmp/x", "/tmp/x\0")
            },
        );
        assert_eq!(h.level(), Level::Low, "context alone");
    }),
    healthy("dropped-exec", "debconf's script from /tmp", |h| {
        let shell = h.login(0);
        let apt = h.run(shell, "/usr/bin/apt-get", "apt-get install x");
        h.connect(apt, FAR);
        let pre = h.run(apt, "/usr/bin/perl", "dpkg-preconfigure");
        h.write_ino(pre, "/tmp/x.config.abc", 502, 0o100_755);
        let pid = h.fork(pre);
        h.exec(
            pid,
            Exec {
                ino: 502,
                ..program("/tmp/x.config.abc", "x\0")
            },
        );
    }),
    healthy("dropped-exec", "a compiler's program in /tmp", |h| {
        let shell = h.login(1000);
        let ld = h.run(shell, "/usr/bin/x86_64-linux-gnu-ld.bfd", "ld");
        h.write_ino(ld, "/tmp/a.out", 503, 0o100_755);
        let pid = h.fork(shell);
        h.exec(
            pid,
            Exec {
                ino: 503,
                ..program("/tmp/a.out", "a.out\0")
            },
        );
    }),
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
            }),
        );
        h.fork(pid);
    }),
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
    attack("ptrace", "injection into another program", |h| {
        let victim = h.daemon("/usr/sbin/sshd", 0);
        let shell = h.login(0);
        let pid = h.run(shell, "/root/inject", "inject");
        h.ptrace(pid, 16, victim);
        h.ptrace(pid, 4, victim);
    }),
    healthy("ptrace", "gdb, strace of one's own, a crash handler", |h| {
        let victim = h.daemon("/usr/sbin/sshd", 0);
        let shell = h.login(0);
        let gdb = h.run(shell, "/usr/bin/gdb", "gdb -p 1");
        h.ptrace(gdb, 16, victim);
        let tracer = h.run(shell, "/home/a/bin/dlv", "dlv");
        let child = h.run(tracer, "/home/a/prog", "prog");
        h.ptrace(tracer, 0x4206, child);
        let app = h.run(shell, "/opt/app/app", "app");
        let handler = h.run(app, "/opt/app/app", "app --crash-handler");
        h.ptrace(handler, 16, app);
        // Reading registers, or asking to be traced, injects nothing.
        h.ptrace(child, 0, 0);
        h.ptrace(child, 12, victim);
    }),
    attack("sensor-ptrace", "gdb on the collector", |h| {
        let collector = h.daemon("/usr/bin/ravn-collector", 0);
        let shell = h.login(0);
        let gdb = h.run(shell, "/usr/bin/gdb", "gdb");
        h.ptrace(gdb, 16, collector);
        assert_eq!(h.level(), Level::High);
    }),
    attack("sensor-files", "its pins removed", |h| {
        let shell = h.login(0);
        let rm = h.run(shell, "/usr/bin/rm", "rm -r /sys/fs/bpf/ravn");
        h.unlink(rm, "/sys/fs/bpf/ravn/default/link");
    }),
    healthy("sensor-files", "its own end, and a package's", |h| {
        let collector = h.daemon("/usr/bin/ravn-collector", 0);
        h.unlink(collector, "/sys/fs/bpf/ravn/default/link");
        let shell = h.login(0);
        let dpkg = h.run(shell, "/usr/bin/dpkg", "dpkg -r ravn");
        h.unlink(dpkg, "/usr/bin/ravn-collector");
    }),
    attack("sensor-tampering", "a map overwritten", |h| {
        let collector = h.daemon("/usr/bin/ravn-collector", 0);
        h.tampering(collector, "map", "the map settings");
        assert_eq!(h.level(), Level::High);
    }),
    healthy("sensor-tampering", "what a proof of life does", |h| {
        let collector = h.daemon("/usr/bin/ravn-collector", 0);
        h.write(collector, "memfd:ravn-proof-0000000000000001");
        h.bpf(collector);
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
    attack("kernel-thread-name", "[kworker/0:1]", |h| {
        let pid = h.fork(1);
        h.exec(pid, program("/tmp/x", "[kworker/0:1]\0"));
    }),
    healthy("kernel-thread-name", "the test program [", |h| {
        let shell = h.login(1000);
        let pid = h.fork(shell);
        h.exec(pid, program("/usr/bin/[", "[\0-f\0x\0]\0"));
    }),
    attack("bpf-load", "an unknown program", |h| {
        let shell = h.login(0);
        let pid = h.run(shell, "/root/door", "door");
        h.bpf(pid);
    }),
    healthy("bpf-load", "runc out of its copy in memory", |h| {
        let runc = h.run(1, "/usr/bin/runc", "runc");
        h.memfd(runc, "runc_cloned:/proc/self/exe", 81);
        h.exec(runc, in_memory("/memfd:runc_cloned:/proc/self/exe", 81));
        h.bpf(runc);
    }),
    healthy("bpf-load", "systemd at a unit's start, runc", |h| {
        let pid = h.run(1, "/usr/lib/systemd/systemd-executor", "systemd-executor");
        h.bpf(pid);
        let runc = h.run(1, "/usr/bin/runc", "runc");
        h.bpf(runc);
    }),
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

#[test]
fn every_rule_fires_on_its_attack_and_on_no_lookalike() {
    let rules = RuleSet::load(None).unwrap();
    let mut wrong = Vec::new();
    for case in CASES {
        let mut host = Host::new();
        (case.play)(&mut host);
        let rule = rules
            .iter()
            .find(|rule| rule.name == case.rule)
            .expect(case.rule);
        let fired = if rule.tier == Tier::Core {
            host.fired()
        } else {
            host.evidence()
        };
        if fired.iter().any(|name| name == case.rule) != case.fires {
            wrong.push(format!("{}: {} ({fired:?})", case.rule, case.what));
        }
        if !case.fires && host.level() == Level::High {
            wrong.push(format!(
                "{}: {} makes HIGH ({fired:?})",
                case.rule, case.what
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_rule_has_both_cases() {
    for rule in RuleSet::load(None).unwrap().iter() {
        for fires in [true, false] {
            let found = CASES
                .iter()
                .any(|case| case.rule == rule.name && case.fires == fires);
            // Whatever touches the sensor's memory alerts.
            assert!(
                found || (rule.name == "sensor-ptrace" && !fires),
                "{} {fires}",
                rule.name
            );
        }
        assert!(!rule.next.is_empty() && !rule.techniques.is_empty() && !rule.tactics.is_empty());
        assert!(!rule.false_positives.is_empty(), "{}", rule.name);
    }
}

#[test]
fn rules_of_others_load_or_are_left_out_by_log_source() {
    let folder = std::env::temp_dir().join(format!("ravn-rules-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    put(
        "a.yml",
        "title: A\nlogsource: {product: linux, category: process_creation}\ndetection:\n  s: {CommandLine|contains: nc}\n  condition: s\nlevel: high\n",
    );
    put(
        "b.yml",
        "title: B\nlogsource: {product: windows, category: process_creation}\ndetection:\n  s: {CommandLine: x}\n  condition: s\n",
    );
    let rules = RuleSet::load(Some(&folder)).unwrap();
    assert_eq!((rules.len(), rules.skipped()), (1, 1));
    assert_eq!(rules.iter().next().unwrap().tier, Tier::Context);
    put(
        "c.yml",
        "title: C\nlogsource: {product: linux, category: process_creation}\ndetection:\n  s: {CommandLine: x}\n  condition: s\nravn: {tier: corre}\n",
    );
    let error = format!("{:#}", RuleSet::load(Some(&folder)).unwrap_err());
    assert!(
        error.contains("c.yml") && error.contains("corre"),
        "{error}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(args("a b").ends_with('\0'));
}
