//! The fields of each kind.

use super::names::{namespaces, operation, record_type};
use super::{Shown, address};
use crate::event::{Chmod, Creds, Event, Exec, Named, Rename, Socket, Target, exec_flags};
use crate::text::{command_line, escape};

type Field = (&'static str, Shown);

/// What an event says, by the names of its fields.
pub fn fields(event: &Event<'_>) -> Vec<Field> {
    match event {
        Event::Fork(fork) => vec![
            ("child_tgid", number(fork.child_tgid)),
            ("child_pid", number(fork.child_pid)),
            ("child_start_ns", number(fork.child_start_ns)),
            ("thread", Shown::Flag(fork.thread)),
        ],
        Event::Exec(exec) | Event::Process(exec) => self::exec(exec),
        Event::Cgroup(cgroup) | Event::CgroupFound(cgroup) => {
            vec![("id", number(cgroup.id)), ("path", text(cgroup.path))]
        }
        Event::Tampering(tampering) => vec![
            ("what", text(tampering.what)),
            ("detail", text(tampering.detail)),
        ],
        Event::Exit(exit) => vec![
            ("code", number(exit.status >> 8)),
            ("signal", number(exit.status & 0x7f)),
            ("process", Shown::Flag(exit.process)),
        ],
        Event::Chunk(chunk) => vec![
            ("count", number(chunk.count)),
            ("ticks", number(chunk.ticks)),
            ("bytes", number(chunk.words.len() as u64)),
        ],
        Event::Unknown { kind, .. } => vec![("kind_number", number(*kind))],
        of_file @ (Event::Open(_)
        | Event::Read(_)
        | Event::Unlink(_)
        | Event::Rename(_)
        | Event::Link(_)
        | Event::Symlink(_)
        | Event::Chmod(_)
        | Event::Chown(_)
        | Event::Truncate(_)
        | Event::SetXattr(_)
        | Event::Mknod(_)) => self::file(of_file),
        of_socket @ (Event::Connect(_)
        | Event::Accept(_)
        | Event::Bind(_)
        | Event::Listen(_)
        | Event::Send(_)
        | Event::Close(_)
        | Event::Dns(_)
        | Event::RawSocket(_)
        | Event::DupSocket(_)) => network(of_socket),
        other => security(other),
    }
}

fn exec(exec: &Exec<'_>) -> Vec<Field> {
    vec![
        ("path", text(exec.path)),
        ("argv", Shown::Text(command_line(exec.argv))),
        ("argv_bytes", number(exec.argv_bytes)),
        (
            "redacted",
            Shown::Flag(exec.flags & exec_flags::REDACTED != 0),
        ),
        ("cwd", text(exec.cwd)),
        ("filename", text(exec.filename)),
        ("ino", number(exec.ino)),
        ("dev", number(exec.dev)),
        ("flags", number(exec.flags)),
        ("euid", number(exec.euid)),
        ("egid", number(exec.egid)),
        ("cap_effective", number(exec.cap_effective)),
        ("loginuid", number(exec.loginuid)),
        ("session", number(exec.session)),
        ("tty", number(exec.tty)),
        ("stdio", Shown::Numbers(exec.stdio.map(u64::from).to_vec())),
        ("stdio_peer", Shown::Text(address(exec.stdio_peer))),
        ("stdio_peer_port", number(exec.stdio_peer_port)),
        ("ctime", Shown::Long(exec.ctime.0)),
        ("ctime_nsec", number(exec.ctime.1)),
        ("interpreter", text(exec.interpreter)),
        ("cap_gained", number(exec.cap_gained)),
        ("euid_before", number(exec.euid_before)),
        ("user_ns_level", number(exec.user_ns_level)),
    ]
}

fn file(event: &Event<'_>) -> Vec<Field> {
    match event {
        Event::Open(open) | Event::Read(open) => vec![
            ("path", text(open.path)),
            ("flags", number(open.flags)),
            ("mode", number(open.mode)),
            ("ino", number(open.ino)),
            ("dev", number(open.dev)),
            ("created", Shown::Flag(open.created)),
            ("cut", Shown::Flag(open.cut)),
        ],
        Event::Unlink(file) => one(file).into(),
        Event::Rename(names) | Event::Link(names) => two(names),
        Event::Symlink(symlink) => with(&symlink.link, [("target", text(symlink.target))]),
        Event::Chmod(chmod) => self::chmod(chmod),
        Event::Chown(chown) => with(
            &chown.file,
            [
                ("uid", number(chown.uid)),
                ("gid", number(chown.gid)),
                ("ino", number(chown.ino)),
                ("dev", number(chown.dev)),
            ],
        ),
        Event::Truncate(truncate) => with(
            &truncate.file,
            [
                ("length", number(truncate.length)),
                ("ino", number(truncate.ino)),
                ("dev", number(truncate.dev)),
            ],
        ),
        Event::SetXattr(set) => with(
            &set.file,
            [
                ("name", text(set.name)),
                ("size", number(set.size)),
                ("removed", Shown::Flag(set.removed)),
                ("ino", number(set.ino)),
                ("dev", number(set.dev)),
            ],
        ),
        Event::Mknod(mknod) => with(
            &mknod.file,
            [("mode", number(mknod.mode)), ("rdev", number(mknod.rdev))],
        ),
        _ => Vec::new(),
    }
}

fn named(file: &Named<'_>, names: [&'static str; 3]) -> [Field; 3] {
    let [dir, path, resolved] = names;
    [
        (dir, text(file.dir)),
        (path, text(file.path)),
        (resolved, Shown::Flag(file.resolved)),
    ]
}

fn one(file: &Named<'_>) -> [Field; 3] {
    named(file, ["dir", "path", "resolved"])
}

fn two(names: &Rename<'_>) -> Vec<Field> {
    let mut all: Vec<_> = named(&names.from, ["from_dir", "from", "from_resolved"]).into();
    all.extend(named(&names.to, ["to_dir", "to", "to_resolved"]));
    all.push(("flags", number(names.flags)));
    all
}

fn with<const N: usize>(file: &Named<'_>, rest: [Field; N]) -> Vec<Field> {
    one(file).into_iter().chain(rest).collect()
}

fn chmod(chmod: &Chmod<'_>) -> Vec<Field> {
    let rest = [
        ("mode", number(chmod.mode)),
        ("ino", number(chmod.ino)),
        ("dev", number(chmod.dev)),
    ];
    with(&chmod.file, rest)
}

fn network(event: &Event<'_>) -> Vec<Field> {
    match event {
        Event::Connect(socket)
        | Event::Accept(socket)
        | Event::Bind(socket)
        | Event::Listen(socket)
        | Event::Send(socket) => self::socket(socket),
        Event::Close(close) => {
            let mut all = self::socket(&close.socket);
            all.extend([
                ("sent", number(close.sent)),
                ("received", number(close.received)),
                ("duration_ns", number(close.duration_ns)),
            ]);
            all
        }
        Event::Dns(dns) => {
            let mut all = vec![
                ("name", text(dns.name)),
                ("record", Shown::Text(record_type(dns.record_type))),
                ("cut", Shown::Flag(dns.cut)),
            ];
            all.extend(self::socket(&dns.socket));
            all
        }
        Event::RawSocket(raw) => vec![
            ("family", number(raw.family)),
            ("type", number(raw.kind)),
            ("protocol", number(raw.protocol)),
            ("ret", Shown::Result(raw.ret)),
        ],
        Event::DupSocket(dup) => {
            let mut all = vec![
                ("old_fd", Shown::Result(dup.old_fd)),
                ("new_fd", Shown::Result(dup.new_fd)),
            ];
            all.extend(self::socket(&dup.socket));
            all
        }
        _ => Vec::new(),
    }
}

fn socket(socket: &Socket<'_>) -> Vec<Field> {
    vec![
        ("family", number(socket.family)),
        ("type", number(socket.kind)),
        ("protocol", number(socket.protocol)),
        ("local", end(socket.family, socket.local)),
        ("local_port", number(socket.local_port)),
        ("remote", end(socket.family, socket.remote)),
        ("remote_port", number(socket.remote_port)),
        ("ret", Shown::Result(socket.ret)),
        ("as_given", Shown::Flag(socket.as_given)),
    ]
}

/// Of a Unix socket the address is a path; of the others it has the length of its family.
fn end(family: u16, bytes: &[u8]) -> Shown {
    match family {
        2 | 10 => Shown::Text(address(bytes)),
        _ => text(bytes),
    }
}

fn security(event: &Event<'_>) -> Vec<Field> {
    match event {
        Event::Creds(creds) => self::creds(creds),
        Event::Memfd(memfd) => vec![
            ("name", text(memfd.name)),
            ("flags", number(memfd.flags)),
            ("ino", number(memfd.ino)),
            ("ret", Shown::Result(memfd.ret)),
        ],
        Event::Mount(mount) => vec![
            ("source", text(mount.source)),
            ("target", text(mount.target)),
            ("fstype", text(mount.fstype)),
            ("flags", number(mount.flags)),
            ("ret", Shown::Result(mount.ret)),
        ],
        Event::Module(module) => vec![
            ("syscall", number(module.syscall)),
            ("name", text(module.name)),
            ("ret", Shown::Result(module.ret)),
        ],
        Event::Bpf(bpf) => vec![
            ("command", number(bpf.command)),
            ("object_type", number(bpf.object_type)),
            ("ret", Shown::Result(bpf.ret)),
        ],
        Event::PivotRoot(pivot) => vec![
            ("new_root", text(pivot.new_root)),
            ("put_old", text(pivot.put_old)),
            ("ret", Shown::Result(pivot.ret)),
        ],
        Event::ExecMemory(memory) => vec![
            ("syscall", number(memory.syscall)),
            ("address", number(memory.address)),
            ("length", number(memory.length)),
            ("protection", number(memory.protection)),
            ("written", Shown::Flag(memory.written)),
            ("path", text(memory.path)),
            ("ret", Shown::Result(memory.ret)),
        ],
        Event::Keyctl(keyctl) => vec![
            ("operation", number(keyctl.operation)),
            ("key", number(keyctl.key)),
            ("ret", Shown::Long(keyctl.ret)),
        ],
        Event::Kexec(kexec) => vec![
            ("flags", number(kexec.flags)),
            ("path", text(kexec.path)),
            ("ret", Shown::Result(kexec.ret)),
        ],
        Event::Userfaultfd(fault) => vec![
            ("flags", number(fault.flags)),
            ("ret", Shown::Result(fault.ret)),
        ],
        Event::IoUring(ring) => vec![
            ("entries", number(ring.entries)),
            ("flags", number(ring.flags)),
            ("ret", Shown::Result(ring.ret)),
        ],
        Event::IoUringOp(op) => vec![
            ("operation", Shown::Text(operation(op.operation))),
            ("fd", Shown::Result(op.fd)),
            ("path", text(op.path)),
            ("to", text(op.to)),
            ("family", number(op.family)),
            ("type", number(op.socket_type)),
            ("remote", end(op.family, op.remote)),
            ("remote_port", number(op.remote_port)),
        ],
        Event::Compat(compat) => vec![("syscall", number(compat.syscall))],
        other => upon(other),
    }
}

/// What one process did to another.
fn upon(event: &Event<'_>) -> Vec<Field> {
    let (mut all, process) = match event {
        Event::Ptrace(ptrace) => (
            vec![
                ("request", number(ptrace.request)),
                ("target", number(ptrace.target)),
                ("ret", Shown::Result(ptrace.ret)),
            ],
            &ptrace.process,
        ),
        Event::VmWrite(access) => (
            vec![
                ("write", Shown::Flag(access.write)),
                ("target", number(access.target)),
                ("ret", Shown::Long(access.ret)),
            ],
            &access.process,
        ),
        Event::Unshare(unshare) => (
            vec![
                ("namespaces", Shown::Text(namespaces(unshare.flags))),
                ("flags", number(unshare.flags)),
                ("ret", Shown::Result(unshare.ret)),
                ("user_ns", number(unshare.user_ns)),
                ("user_ns_level", number(unshare.user_ns_level)),
            ],
            &unshare.child,
        ),
        Event::SetNs(setns) => (
            vec![
                ("namespaces", Shown::Text(namespaces(setns.namespaces))),
                ("ns", number(setns.ns)),
                ("of_init", Shown::Text(namespaces(setns.of_init))),
                ("ret", Shown::Result(setns.ret)),
            ],
            &setns.process,
        ),
        Event::Kill(kill) => (
            vec![
                ("signal", number(kill.signal)),
                ("result", number(kill.result)),
            ],
            &kill.process,
        ),
        Event::PerfEventOpen(perf) => (
            vec![
                ("type", number(perf.event_type)),
                ("config", number(perf.config)),
                ("cpu", Shown::Result(perf.cpu)),
                ("ret", Shown::Result(perf.ret)),
            ],
            &perf.process,
        ),
        _ => return Vec::new(),
    };
    all.extend(target(process));
    all
}

fn target(process: &Target<'_>) -> [Field; 5] {
    [
        ("target_tgid", number(process.tgid)),
        ("target_pid", number(process.pid)),
        ("target_start_ns", number(process.start_ns)),
        ("target_uid", number(process.uid)),
        ("target_comm", text(process.comm)),
    ]
}

fn creds(creds: &Creds) -> Vec<Field> {
    vec![
        ("syscall", number(creds.syscall)),
        ("ret", Shown::Result(creds.ret)),
        ("uids", ids(creds.uids)),
        ("gids", ids(creds.gids)),
        ("cap_effective", number(creds.cap_effective)),
        ("user_ns_level", number(creds.user_ns_level)),
        ("cap_permitted", number(creds.cap_permitted)),
        ("user_ns", number(creds.user_ns)),
        ("before_known", Shown::Flag(creds.before_known)),
        ("uids_before", ids(creds.before.uids)),
        ("gids_before", ids(creds.before.gids)),
        ("cap_effective_before", number(creds.before.cap_effective)),
        ("cap_permitted_before", number(creds.before.cap_permitted)),
        ("user_ns_before", number(creds.before.user_ns)),
        ("user_ns_level_before", number(creds.before.user_ns_level)),
    ]
}

fn ids(ids: [u32; 4]) -> Shown {
    Shown::Numbers(ids.map(u64::from).to_vec())
}

fn number(value: impl Into<u64>) -> Shown {
    Shown::Number(value.into())
}

fn text(bytes: &[u8]) -> Shown {
    Shown::Text(escape(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Dns, Unshare};
    use crate::kind::Kind;

    #[test]
    fn numbers_that_people_know_by_name_are_shown_so() {
        let named = |event: &Event<'_>, name: &str| {
            let found = fields(event).into_iter().find(|(field, _)| *field == name);
            found.map(|(_, value)| value.to_string())
        };
        let unshare = Event::Unshare(Unshare {
            flags: 0x1002_0000,
            ..Unshare::default()
        });
        assert_eq!(named(&unshare, "namespaces").as_deref(), Some("mnt,user"));
        let question = Event::Dns(Dns {
            name: b"a\x1b.example",
            record_type: 28,
            ..Dns::default()
        });
        assert_eq!(named(&question, "record").as_deref(), Some("AAAA"));
        assert_eq!(
            named(&question, "name").as_deref(),
            Some("a\\u{1b}.example")
        );
    }

    #[test]
    fn every_kind_shows_fields() {
        for kind in Kind::ALL {
            let event = Event::empty(*kind);
            assert!(!fields(&event).is_empty(), "{}", kind.name());
        }
    }
}
