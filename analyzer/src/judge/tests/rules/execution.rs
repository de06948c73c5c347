//! Programs from nowhere, shells on sockets and below servers.

use ravn_shared::event::{Exec, Socket, exec_flags};

use super::{Case, FAR, LOOPBACK, attack, healthy, in_memory, on_socket};
use crate::judge::tests::script::{program, tcp};
use crate::verdict::Level;

pub const CASES: &[Case] = &[
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
];
