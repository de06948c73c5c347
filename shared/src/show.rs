//! A record as names and values that a person or a JSON reader understands. Every string is
//! escaped: who made the record chose it.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use crate::event::{Chmod, Creds, Event, Exec, Named, Socket, exec_flags};
use crate::text::{command_line, escape};

/// A value to show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Shown {
    /// Escaped text.
    Text(String),
    /// A count, an id, a size.
    Number(u64),
    /// A result: a descriptor, 0, or a negative errno.
    Result(i32),
    /// Yes or no.
    Flag(bool),
    /// Several ids.
    Numbers(Vec<u64>),
}

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) if text.is_empty() || text.contains(' ') => write!(f, "\"{text}\""),
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Result(ret) => write!(f, "{ret}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Numbers(numbers) => {
                let text: Vec<String> = numbers.iter().map(u64::to_string).collect();
                f.write_str(&text.join(","))
            }
        }
    }
}

/// The name of an event's kind as users see it; `unknown` for one of a later version.
pub fn kind(event: &Event<'_>) -> &'static str {
    event.kind().map_or("unknown", crate::kind::Kind::name)
}

/// What an event says, by the names of its fields.
pub fn fields(event: &Event<'_>) -> Vec<(&'static str, Shown)> {
    match event {
        Event::Fork(fork) => vec![
            ("child_tgid", number(fork.child_tgid)),
            ("child_pid", number(fork.child_pid)),
            ("child_start_ns", number(fork.child_start_ns)),
            ("thread", Shown::Flag(fork.thread)),
        ],
        Event::Exec(exec) => self::exec(exec),
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
        Event::Open(open) => vec![
            ("path", text(open.path)),
            ("flags", number(open.flags)),
            ("mode", number(open.mode)),
            ("ino", number(open.ino)),
            ("dev", number(open.dev)),
            ("created", Shown::Flag(open.created)),
            ("cut", Shown::Flag(open.cut)),
        ],
        Event::Unlink(file) => named(file, ["dir", "path", "resolved"]).into(),
        Event::Rename(rename) => {
            let mut all: Vec<_> = named(&rename.from, ["from_dir", "from", "from_resolved"]).into();
            all.extend(named(&rename.to, ["to_dir", "to", "to_resolved"]));
            all.push(("flags", number(rename.flags)));
            all
        }
        Event::Chmod(chmod) => self::chmod(chmod),
        Event::Connect(socket)
        | Event::Accept(socket)
        | Event::Bind(socket)
        | Event::Listen(socket) => self::socket(socket),
        Event::Creds(creds) => self::creds(creds),
        Event::Ptrace(ptrace) => vec![
            ("request", number(ptrace.request)),
            ("target", number(ptrace.target)),
            ("ret", Shown::Result(ptrace.ret)),
        ],
        Event::Memfd(memfd) => vec![
            ("name", text(memfd.name)),
            ("flags", number(memfd.flags)),
            ("ino", number(memfd.ino)),
            ("ret", Shown::Result(memfd.ret)),
        ],
        Event::DupSocket(dup) => {
            let mut all = vec![
                ("old_fd", Shown::Result(dup.old_fd)),
                ("new_fd", Shown::Result(dup.new_fd)),
            ];
            all.extend(self::socket(&dup.socket));
            all
        }
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
        Event::Unknown { kind, .. } => vec![("kind_number", number(*kind))],
    }
}

fn exec(exec: &Exec<'_>) -> Vec<(&'static str, Shown)> {
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
    ]
}

fn named(file: &Named<'_>, names: [&'static str; 3]) -> [(&'static str, Shown); 3] {
    let [dir, path, resolved] = names;
    [
        (dir, text(file.dir)),
        (path, text(file.path)),
        (resolved, Shown::Flag(file.resolved)),
    ]
}

fn chmod(chmod: &Chmod<'_>) -> Vec<(&'static str, Shown)> {
    let mut all: Vec<_> = named(&chmod.file, ["dir", "path", "resolved"]).into();
    all.extend([
        ("mode", number(chmod.mode)),
        ("ino", number(chmod.ino)),
        ("dev", number(chmod.dev)),
    ]);
    all
}

fn socket(socket: &Socket<'_>) -> Vec<(&'static str, Shown)> {
    // Of a Unix socket the address is a path; of the others it has the length of its family.
    let shown = |bytes| match socket.family {
        2 | 10 => Shown::Text(address(bytes)),
        _ => text(bytes),
    };
    vec![
        ("family", number(socket.family)),
        ("type", number(socket.kind)),
        ("protocol", number(socket.protocol)),
        ("local", shown(socket.local)),
        ("local_port", number(socket.local_port)),
        ("remote", shown(socket.remote)),
        ("remote_port", number(socket.remote_port)),
        ("ret", Shown::Result(socket.ret)),
        ("as_given", Shown::Flag(socket.as_given)),
    ]
}

fn creds(creds: &Creds) -> Vec<(&'static str, Shown)> {
    vec![
        ("syscall", number(creds.syscall)),
        ("ret", Shown::Result(creds.ret)),
        ("uids", Shown::Numbers(creds.uids.map(u64::from).to_vec())),
        ("gids", Shown::Numbers(creds.gids.map(u64::from).to_vec())),
        ("cap_effective", number(creds.cap_effective)),
        ("user_ns_level", number(creds.user_ns_level)),
    ]
}

/// An address of 4 or 16 bytes as people write it; any other length as escaped bytes.
pub fn address(bytes: &[u8]) -> String {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        Ipv4Addr::from(v4).to_string()
    } else if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
        Ipv6Addr::from(v6).to_string()
    } else {
        escape(bytes)
    }
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
    use crate::event::Open;

    #[test]
    fn a_hostile_path_is_escaped_and_an_address_is_readable() {
        let open = Event::Open(Open {
            path: b"/tmp/\x1b[2J",
            flags: 1,
            mode: 0,
            ino: 2,
            dev: 3,
            created: true,
            cut: false,
        });
        let shown = fields(&open);
        assert_eq!(
            shown[0],
            ("path", Shown::Text("/tmp/\\u{1b}[2J".to_owned()))
        );
        assert_eq!(address(&[127, 0, 0, 1]), "127.0.0.1");
        assert_eq!(
            address(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            "::1"
        );
    }
}
