//! Which token a record becomes.

use crate::event::{Event, Exec, Record, Socket, Task, exec_flags, stdio};

use super::{Token, UNKNOWN, id};

/// Class of a program, by the name of its image. A name is the user's to choose; whether it
/// can be believed, the origin beside it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(
    missing_docs,
    reason = "the names say it; `PROGRAMS` lists who belongs where"
)]
pub enum Program {
    Shell,
    Interpreter,
    Files,
    Text,
    Archive,
    Client,
    Remote,
    Server,
    Database,
    Container,
    Package,
    Build,
    System,
    Account,
    Recon,
    Kernel,
    Debug,
    Other,
}

/// Class, its name in tokens, and the names of its programs (without trailing versions).
const PROGRAMS: [(Program, &str, &str); 18] = [
    (
        Program::Shell,
        "shell",
        "sh bash dash zsh ksh fish ash busybox tcsh csh rbash mksh",
    ),
    (
        Program::Interpreter,
        "interpreter",
        "python perl ruby node nodejs php lua luajit java tclsh awk gawk mawk deno bun Rscript",
    ),
    (
        Program::Files,
        "files",
        "cat ls cp mv rm mkdir rmdir ln touch chmod chown chgrp dd find stat readlink realpath \
         dirname basename mktemp install df du tee head tail wc truncate shred sync chattr lsattr",
    ),
    (
        Program::Text,
        "text",
        "grep egrep fgrep sed cut sort uniq tr diff patch less more vi vim nano emacs ed xargs \
         jq rg base64 od xxd hexdump strings file printf echo seq expr test true false sleep date env",
    ),
    (
        Program::Archive,
        "archive",
        "tar gzip gunzip bzip2 xz zstd zip unzip cpio 7z lz4 pigz",
    ),
    (
        Program::Client,
        "client",
        "curl wget nc ncat netcat socat ftp tftp telnet dig host nslookup ping git redis-cli psql \
         mysql lynx aria2c openssl",
    ),
    (
        Program::Remote,
        "remote",
        "ssh scp sftp rsync sshd sshd-session mosh-server dropbear sftp-server",
    ),
    (
        Program::Server,
        "server",
        "nginx apache apache2 httpd lighttpd caddy haproxy php-fpm gunicorn uwsgi named unbound \
         dnsmasq postfix master smtpd exim dovecot vsftpd smbd squid",
    ),
    (
        Program::Database,
        "database",
        "mysqld mariadbd postgres redis-server mongod memcached etcd influxd clickhouse-server",
    ),
    (
        Program::Container,
        "container",
        "docker dockerd containerd containerd-shim runc crun podman kubelet kubectl buildah lxc \
         conmon nsenter unshare bwrap docker-init tini",
    ),
    (
        Program::Package,
        "package",
        "dpkg apt apt-get apt-cache apt-key apt-config aptitude rpm yum dnf snap snapd pip npm \
         yarn gem unattended-upgrade dpkg-deb dpkg-query dpkg-split debconf http gpgv update-alternatives",
    ),
    (
        Program::Build,
        "build",
        "gcc cc g++ c++ clang ld as ar make cmake ninja cargo rustc go cc1 cc1plus collect2 meson \
         rustup pkg-config strip objcopy ranlib nm configure m4 x86_64-linux-gnu-gcc",
    ),
    (
        Program::System,
        "system",
        "systemd systemctl journalctl systemd-journald systemd-udevd systemd-logind udevadm \
         dbus-daemon cron crond anacron at atd logrotate run-parts rsyslogd login agetty init \
         systemd-tmpfiles systemd-run logger chronyd polkitd",
    ),
    (
        Program::Account,
        "account",
        "sudo su passwd pkexec useradd userdel usermod groupadd adduser deluser chpasswd chage \
         newgrp doas visudo gpasswd",
    ),
    (
        Program::Recon,
        "recon",
        "id whoami uname hostname ps top htop ss netstat ip ifconfig w who last lastlog lsof \
         lscpu lsblk lspci lsusb getent env printenv groups arp route nmap tcpdump free uptime \
         locale tty stty getconf lsb_release",
    ),
    (
        Program::Kernel,
        "kernel",
        "insmod rmmod modprobe depmod kmod mount umount iptables nft sysctl losetup mkfs fsck \
         swapon kexec dmesg bpftool setcap getcap chroot pivot_root ip6tables ipset tc",
    ),
    (
        Program::Debug,
        "debug",
        "gdb gdbserver strace ltrace perf valgrind bpftrace rr",
    ),
    (Program::Other, "other", ""),
];

impl Program {
    /// The class of the image at `path`.
    pub fn of(path: &[u8]) -> Self {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let end = name
            .iter()
            .rposition(|byte| !byte.is_ascii_digit() && *byte != b'.' && *byte != b'-')
            .map_or(0, |at| at + 1);
        // First as it stands ("bzip2"), then without a version ("python3.11", "gcc-12").
        for tried in [name, &name[..end]] {
            let found = PROGRAMS.iter().find(|(_, _, names)| {
                names
                    .split_ascii_whitespace()
                    .any(|known| known.as_bytes() == tried)
            });
            if let Some((program, _, _)) = found {
                return *program;
            }
        }
        if name.starts_with(b"systemd-") {
            return Self::System;
        }
        Self::Other
    }

    /// The class of a checkpoint's number.
    pub fn from_number(number: u8) -> Option<Self> {
        PROGRAMS
            .get(usize::from(number))
            .map(|(program, _, _)| *program)
    }

    const fn name(self) -> &'static str {
        PROGRAMS[self as usize].1
    }
}

/// The tokens of an exec; the second value is how many of them are used.
pub type ExecTokens = ([Token; 5], usize);

/// The token that names the program that a thread ran until its exec.
pub fn started_by(before: Program) -> Token {
    token(&format!("from:{}", before.name()))
}

/// Tokens of an exec in the order in which they enter the stream: for whom and how, then the
/// program itself.
pub fn of_exec(exec: &Exec<'_>, task: &Task<'_>) -> ExecTokens {
    let mut tokens = [UNKNOWN; 5];
    let mut used = 0;
    let mut push = |name: &str| {
        tokens[used] = token(name);
        used += 1;
    };
    push(match task.uid {
        0 => "as:root",
        65534 => "as:nobody",
        1..1000 => "as:system",
        _ => "as:user",
    });
    push(if exec.loginuid == u32::MAX {
        "login:none"
    } else {
        "login:user"
    });
    push(match most_telling(exec.stdio) {
        stdio::INET => "stdio:inet",
        stdio::TTY => "stdio:tty",
        stdio::UNIX => "stdio:unix",
        stdio::PIPE => "stdio:pipe",
        stdio::FILE => "stdio:file",
        stdio::DEVICE => "stdio:device",
        stdio::NONE => "stdio:none",
        _ => "stdio:other",
    });
    let program = Program::of(exec.path);
    let origin = origin(exec);
    push(&if origin == "packaged" {
        format!("exec:{}@packaged", program.name())
    } else {
        let group = match program {
            Program::Shell => "shell",
            Program::Interpreter => "interpreter",
            _ => "other",
        };
        format!("exec:{group}@{origin}")
    });
    if exec.flags & exec_flags::SECURE != 0 {
        push("exec:elevated");
    }
    (tokens, used)
}

/// Of the three standard descriptors the one that says most: a peer over a terminal over
/// the rest.
fn most_telling(kinds: [u8; 3]) -> u8 {
    let order = [
        stdio::INET,
        stdio::TTY,
        stdio::UNIX,
        stdio::PIPE,
        stdio::FILE,
    ];
    order
        .into_iter()
        .find(|kind| kinds.contains(kind))
        .unwrap_or(kinds[0])
}

/// Where an image lies.
fn origin(exec: &Exec<'_>) -> &'static str {
    let starts = |prefixes: &[&str]| {
        prefixes
            .iter()
            .any(|prefix| exec.path.starts_with(prefix.as_bytes()))
    };
    if exec.flags & (exec_flags::DELETED | exec_flags::MEMFD) != 0 {
        "anon"
    } else if starts(&["/tmp/", "/var/tmp/", "/dev/", "/run/user/"]) {
        "tmp"
    } else if starts(&["/home/", "/root/"]) {
        "home"
    } else if starts(&["/usr/local/"]) {
        "local"
    } else if starts(&["/usr/", "/bin/", "/sbin/", "/lib", "/snap/"]) {
        "packaged"
    } else {
        "local"
    }
}

/// The token of a record other than exec and chunk; None for kinds that this version does
/// not know.
pub fn of_event(record: &Record<'_>) -> Option<Token> {
    Some(match &record.event {
        Event::Fork(fork) => token(if fork.thread {
            "fork:thread"
        } else {
            "fork:process"
        }),
        Event::Exit(exit) => token(match exit.status {
            0 => "exit:ok",
            status if status & 0x7f != 0 => "exit:signal",
            _ => "exit:failed",
        }),
        Event::Open(open) => {
            let mode = if open.created { "create" } else { "write" };
            token(&format!("open:{mode}:{}", place_of(open.path)))
        }
        Event::Unlink(named) => token(match place_of(named.path) {
            "tmp" => "unlink:tmp",
            "log" => "unlink:log",
            "etc" | "keys" | "persist" | "bin" | "lib" => "unlink:system",
            _ => "unlink:other",
        }),
        Event::Rename(rename) => token(match place_of(rename.to.path) {
            "tmp" => "rename:tmp",
            "etc" | "keys" | "persist" | "bin" | "lib" => "rename:system",
            _ => "rename:other",
        }),
        Event::Chmod(chmod) => token(match chmod.mode {
            mode if mode & 0o6000 != 0 => "chmod:setid",
            mode if mode & 0o111 != 0 => "chmod:exec",
            _ => "chmod:other",
        }),
        Event::Connect(socket) => token(connect(socket)),
        Event::Accept(socket) => token(match reach(socket.family, socket.remote) {
            Reach::Loopback => "accept:loopback",
            Reach::Private => "accept:private",
            Reach::Public => "accept:public",
            Reach::Unix | Reach::Other => "accept:unix",
        }),
        Event::Bind(socket) => token(match socket.family {
            2 | 10 if (1..1024).contains(&socket.local_port) => "bind:low",
            2 | 10 => "bind:high",
            _ => "bind:other",
        }),
        Event::Listen(socket) => token(match reach(socket.family, socket.local) {
            Reach::Loopback => "listen:loopback",
            Reach::Private | Reach::Public => "listen:network",
            Reach::Unix | Reach::Other => "listen:other",
        }),
        // Only the calls that the vocabulary was made of: setgroups and what changes credentials
        // besides came later.
        Event::Creds(creds) if !creds_call(creds.syscall) => return None,
        Event::Creds(creds) => token(match creds.syscall {
            _ if creds.ret < 0 => "creds:failed",
            // setuid, setreuid, setresuid, setfsuid.
            105 | 113 | 117 | 122 if creds.uids[1] == 0 => "creds:root",
            105 | 113 | 117 | 122 => "creds:drop",
            _ => "creds:other",
        }),
        Event::Ptrace(ptrace) => token(match ptrace.request {
            _ if ptrace.ret < 0 => "ptrace:failed",
            16 | 0x4206 => "ptrace:attach",
            4..=6 | 13 | 15 | 0x4205 => "ptrace:write",
            _ => "ptrace:other",
        }),
        Event::Memfd(_) => token("memfd"),
        Event::DupSocket(dup) => token(match dup.socket.family {
            2 | 10 => "dup_socket:inet",
            _ => "dup_socket:unix",
        }),
        Event::Mount(mount) => token(if mount.ret < 0 {
            "mount:failed"
        } else {
            "mount:ok"
        }),
        Event::Module(module) => token(match module.syscall {
            _ if module.ret < 0 => "module:failed",
            176 => "module:delete",
            _ => "module:load",
        }),
        Event::Bpf(bpf) => token(match bpf.command {
            5 => "bpf:load",
            8 | 17 | 28 => "bpf:attach",
            0 => "bpf:map",
            _ => "bpf:other",
        }),
        // Kinds without a token: the syscall beside them is in the sequence.
        Event::Exec(_)
        | Event::Cgroup(_)
        | Event::Chunk(_)
        | Event::Process(_)
        | Event::Tampering(_)
        | Event::CgroupFound(_)
        | Event::Link(_)
        | Event::Symlink(_)
        | Event::Chown(_)
        | Event::Truncate(_)
        | Event::SetXattr(_)
        | Event::Mknod(_)
        | Event::Read(_)
        | Event::Send(_)
        | Event::Close(_)
        | Event::Dns(_)
        | Event::RawSocket(_)
        | Event::VmWrite(_)
        | Event::PivotRoot(_)
        | Event::Unshare(_)
        | Event::SetNs(_)
        | Event::ExecMemory(_)
        | Event::Kill(_)
        | Event::Keyctl(_)
        | Event::Kexec(_)
        | Event::PerfEventOpen(_)
        | Event::Userfaultfd(_)
        | Event::IoUring(_)
        | Event::IoUringOp(_)
        | Event::Compat(_)
        | Event::Unknown { .. } => return None,
    })
}

/// The setuid and setgid families and capset; 0xffff is any of the 32-bit table.
const fn creds_call(syscall: u16) -> bool {
    matches!(
        syscall,
        105 | 106 | 113 | 114 | 117 | 119 | 122 | 123 | 126 | 0xffff
    )
}

fn token(name: &str) -> Token {
    id(name).unwrap_or(UNKNOWN)
}

/// Class of the place where a path lies.
fn place_of(path: &[u8]) -> &'static str {
    let has = |part: &[u8]| path.windows(part.len()).any(|window| window == part);
    let starts = |prefix: &str| path.starts_with(prefix.as_bytes());
    let any = |prefixes: &[&str]| prefixes.iter().any(|prefix| starts(prefix));
    if has(b"/.ssh/")
        || any(&[
            "/etc/shadow",
            "/etc/gshadow",
            "/etc/passwd",
            "/etc/sudoers",
            "/etc/pam.d/",
            "/etc/ssh/",
        ])
    {
        "keys"
    } else if any(&[
        "/etc/cron",
        "/var/spool/cron",
        "/etc/systemd/",
        "/etc/init.d/",
        "/etc/rc",
        "/usr/lib/systemd/",
        "/lib/systemd/",
        "/etc/ld.so",
    ]) || has(b"/.config/systemd/")
        || has(b"/.config/autostart/")
    {
        "persist"
    } else if any(&["/etc/profile", "/etc/bash"])
        || [
            &b"/.bashrc"[..],
            b"/.profile",
            b"/.bash_profile",
            b"/.zshrc",
        ]
        .iter()
        .any(|end| path.ends_with(end))
    {
        "profile"
    } else if starts("/etc/") {
        "etc"
    } else if any(&["/home/", "/root/"]) {
        "home"
    } else if any(&["/tmp/", "/var/tmp/", "/dev/shm/"]) {
        "tmp"
    } else if any(&["/var/log/", "/run/log/"]) {
        "log"
    } else if any(&[
        "/bin/",
        "/sbin/",
        "/usr/bin/",
        "/usr/sbin/",
        "/usr/local/bin/",
        "/usr/local/sbin/",
    ]) {
        "bin"
    } else if any(&["/lib", "/usr/lib", "/usr/local/lib"]) {
        "lib"
    } else if any(&["/proc/", "/sys/"]) {
        "proc"
    } else if starts("/dev/") {
        "dev"
    } else if any(&["/run/", "/var/run/"]) {
        "run"
    } else if any(&["/var/", "/srv/", "/opt/"]) {
        "data"
    } else {
        "other"
    }
}

/// How far away an address is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Loopback,
    Private,
    Public,
    Unix,
    Other,
}

fn reach(family: u16, address: &[u8]) -> Reach {
    match (family, address) {
        (1, _) => Reach::Unix,
        (2, [a, b, _, _]) => match (a, b) {
            (127, _) => Reach::Loopback,
            (10, _) | (192, 168) | (169, 254) | (172, 16..=31) | (100, 64..=127) => Reach::Private,
            _ => Reach::Public,
        },
        (10, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, rest @ ..]) => reach(2, rest),
        (10, [head @ .., last]) if address.len() == 16 => match head[0] {
            0 if *last == 1 && head.iter().all(|byte| *byte == 0) => Reach::Loopback,
            0xfc..=0xfe => Reach::Private,
            _ => Reach::Public,
        },
        _ => Reach::Other,
    }
}

/// EINPROGRESS: a non-blocking connect on its way is no failure.
const IN_PROGRESS: i32 = -115;

fn connect(socket: &Socket<'_>) -> &'static str {
    let reach = reach(socket.family, socket.remote);
    if socket.ret < 0 && socket.ret != IN_PROGRESS && reach != Reach::Unix {
        return "connect:refused";
    }
    match (reach, socket.remote_port) {
        (Reach::Loopback, _) => "connect:loopback",
        (Reach::Private, _) => "connect:private",
        (Reach::Public, 80 | 443) => "connect:public:web",
        (Reach::Public, 53) => "connect:public:dns",
        (Reach::Public, 22) => "connect:public:ssh",
        (Reach::Public, _) => "connect:public:other",
        (Reach::Unix, _) => "connect:unix",
        (Reach::Other, _) => "connect:other",
    }
}

#[cfg(test)]
mod tests;
