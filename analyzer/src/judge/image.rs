//! What a program is, told by the path of its image as the kernel walked it.
//!
//! Never by comm, which a thread sets to what it likes. The one exception is a process that is
//! older than the sensor: its image is not known, and all that comm decides there is where an
//! incident begins.

use serde::{Deserialize, Serialize};

/// Folders that packages fill and only root may write to.
const PACKAGE_DIRS: [&[u8]; 13] = [
    b"/usr/bin/",
    b"/usr/sbin/",
    b"/usr/lib/",
    b"/usr/lib32/",
    b"/usr/lib64/",
    b"/usr/libexec/",
    b"/usr/share/",
    b"/bin/",
    b"/sbin/",
    b"/lib/",
    b"/lib64/",
    b"/nix/store/",
    b"/snap/",
];

/// Folders where anybody may leave a file.
const OPEN_DIRS: [&[u8]; 5] = [
    b"/tmp/",
    b"/var/tmp/",
    b"/dev/shm/",
    b"/run/user/",
    b"/run/lock/",
];

/// Programs whose children are sessions, jobs and units of their own.
const BOUNDARIES: [&[u8]; 24] = [
    b"systemd",
    b"systemd-executor",
    b"init",
    b"sshd",
    b"sshd-session",
    b"sshd-auth",
    b"dropbear",
    b"cron",
    b"crond",
    b"atd",
    b"anacron",
    b"containerd-shim",
    b"containerd-shim-runc-v1",
    b"containerd-shim-runc-v2",
    b"conmon",
    b"tmux",
    b"tmux: server",
    b"screen",
    b"SCREEN",
    b"login",
    b"gdm-session-worker",
    b"sddm-helper",
    b"inetd",
    b"xinetd",
];

const SHELLS: [&[u8]; 11] = [
    b"sh", b"bash", b"dash", b"zsh", b"ksh", b"mksh", b"ksh93", b"fish", b"ash", b"tcsh", b"csh",
];

const INTERPRETERS: [&[u8]; 9] = [
    b"python", b"perl", b"ruby", b"php", b"lua", b"node", b"tclsh", b"gawk", b"mawk",
];

/// Programs that change the host for its administrator: what runs below them is a trusted change.
const CHANGERS: [&[u8]; 17] = [
    b"dpkg",
    b"dpkg-deb",
    b"dpkg-preconfigure",
    b"apt",
    b"apt-get",
    b"aptitude",
    b"apt-key",
    b"snapd",
    b"rpm",
    b"dnf",
    b"dnf5",
    b"yum",
    b"zypper",
    b"pacman",
    b"apk",
    b"unattended-upgrade",
    b"cloud-init",
];

/// Container runtimes that copy themselves into memory before they enter a container.
const RUNTIMES: [&[u8]; 4] = [b"runc", b"crun", b"docker-runc", b"youki"];

/// Faces the network and should not start shells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Server {
    /// A web server.
    Web,
    /// PHP, for which starting programs is ordinary.
    Php,
    /// A database.
    Database,
    /// A mail server.
    Mail,
}

impl Server {
    /// The value of `Ravn.Server`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Php => "php",
            Self::Database => "database",
            Self::Mail => "mail",
        }
    }
}

/// The last component of a path.
pub fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

/// In a folder that packages fill; `/usr/local` is not one.
pub fn packaged(path: &[u8]) -> bool {
    PACKAGE_DIRS.iter().any(|dir| path.starts_with(dir))
}

/// Where packages or the administrator install programs; only root writes there.
pub fn installed(path: &[u8]) -> bool {
    packaged(path) || path.starts_with(b"/opt/") || path.starts_with(b"/usr/local/")
}

/// In a folder where anybody may leave a file.
pub fn open_to_all(path: &[u8]) -> bool {
    OPEN_DIRS.iter().any(|dir| path.starts_with(dir))
}

/// A command interpreter for people.
pub fn shell(path: &[u8], argv: &[u8]) -> bool {
    let name = base(path);
    if name == b"busybox" {
        let first = argv.split(|byte| *byte == 0).next().unwrap_or_default();
        return SHELLS.contains(&base(first).strip_prefix(b"-").unwrap_or(base(first)));
    }
    SHELLS.contains(&name)
}

/// An interpreter of a language that can open sockets; versions in the name are allowed.
pub fn interpreter(path: &[u8]) -> bool {
    let name = base(path);
    let stem = name
        .iter()
        .position(|byte| byte.is_ascii_digit())
        .map_or(name, |end| &name[..end]);
    INTERPRETERS.contains(&stem)
}

/// The server that this image is, if it is one.
pub fn server(path: &[u8]) -> Option<Server> {
    let name = base(path);
    if name.starts_with(b"php-fpm") || name.starts_with(b"php-cgi") {
        return Some(Server::Php);
    }
    if path.starts_with(b"/usr/lib/postfix/") || path.starts_with(b"/usr/libexec/postfix/") {
        // Delivery to a command is what these two are for.
        return (name != b"local" && name != b"pipe").then_some(Server::Mail);
    }
    Some(match name {
        b"nginx" | b"apache2" | b"httpd" | b"lighttpd" | b"caddy" | b"uwsgi" | b"uwsgi-core"
        | b"haproxy" | b"litespeed" => Server::Web,
        b"postgres" | b"mysqld" | b"mariadbd" | b"redis-server" | b"valkey-server" | b"mongod"
        | b"memcached" => Server::Database,
        b"exim4" | b"exim" | b"dovecot" | b"smtpd" | b"sendmail" | b"sendmail-mta" => Server::Mail,
        _ => return None,
    })
}

/// Children of this process are entry points of their own. `comm` counts only while the image
/// is unknown, and only for root.
pub fn boundary(tgid: u32, exe: &[u8], comm: &[u8], uid: u32) -> bool {
    if tgid <= 2 {
        return true;
    }
    if exe.is_empty() {
        return uid == 0 && BOUNDARIES.contains(&comm);
    }
    packaged(exe) && BOUNDARIES.contains(&base(exe))
}

/// Starts a trusted change: a package manager's image, or its script run by an interpreter of a
/// package, with root's rights.
pub fn changer(exe: &[u8], script: &[u8], euid: u32) -> bool {
    let named = |path: &[u8]| packaged(path) && CHANGERS.contains(&base(path));
    let plain = !script.windows(3).any(|part| part == b"/..");
    euid == 0 && (named(exe) || (plain && packaged(exe) && interpreter(exe) && named(script)))
}

/// A container runtime of a package, or one that its vendor's archive put in `/usr/local`.
pub fn runtime(exe: &[u8]) -> bool {
    let placed = packaged(exe)
        || exe.starts_with(b"/usr/local/bin/")
        || exe.starts_with(b"/usr/local/sbin/");
    placed && RUNTIMES.contains(&base(exe))
}

/// What runs below it is in a container.
pub fn container(exe: &[u8]) -> bool {
    runtime(exe)
        || packaged(exe) && (base(exe).starts_with(b"containerd-shim") || base(exe) == b"conmon")
}

/// Starts a program for each connection, with the connection as its standard input and output.
pub fn listens_for_others(tgid: u32, exe: &[u8]) -> bool {
    tgid == 1 || packaged(exe) && matches!(base(exe), b"systemd" | b"inetd" | b"xinetd" | b"tcpd")
}

/// One of the sensor's own daemons, for rules that protect it. Wider than any exclusion may be.
pub fn sensor(exe: &[u8]) -> bool {
    matches!(base(exe), b"ravn-collector" | b"ravn-analyzer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_folders_are_roots_own() {
        for path in ["/usr/bin/dpkg", "/lib/systemd/systemd", "/snap/core/1/x"] {
            assert!(packaged(path.as_bytes()), "{path}");
        }
        for path in [
            "/usr/local/bin/dpkg",
            "/tmp/usr/bin/dpkg",
            "/library/x",
            "/home/a/bin/sh",
        ] {
            assert!(!packaged(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn a_trusted_change_needs_the_image_and_root() {
        assert!(changer(b"/usr/bin/dpkg", b"", 0));
        assert!(changer(b"/usr/bin/python3.11", b"/usr/bin/cloud-init", 0));
        assert!(!changer(b"/usr/bin/dpkg", b"", 1000));
        assert!(!changer(b"/tmp/dpkg", b"", 0));
        assert!(!changer(
            b"/usr/bin/python3.11",
            b"/usr/bin/../../tmp/apt",
            0
        ));
        assert!(!changer(b"/home/a/python3", b"/usr/bin/cloud-init", 0));
    }

    #[test]
    fn comm_marks_a_boundary_only_where_the_image_is_unknown_and_root() {
        assert!(boundary(400, b"", b"sshd", 0));
        assert!(!boundary(400, b"", b"sshd", 1000));
        assert!(!boundary(400, b"/tmp/sshd", b"sshd", 0));
        assert!(boundary(400, b"/usr/sbin/sshd", b"x", 0));
    }

    #[test]
    fn busybox_is_a_shell_only_as_one() {
        assert!(shell(b"/bin/busybox", b"-ash\0"));
        assert!(!shell(b"/bin/busybox", b"ls\0/tmp\0"));
        assert!(interpreter(b"/usr/bin/python3.11") && !interpreter(b"/usr/bin/pythonista"));
    }
}
