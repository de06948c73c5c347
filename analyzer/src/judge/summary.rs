//! An event in a few words, and what its addresses mean.

use std::fmt::Arguments;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ravn_shared::event::{Event, Named, Socket, Target};
use ravn_shared::show::{namespaces, operation, record_type};

/// Most bytes of a text that a process remembers.
const MOST: usize = 96;

/// Writes what happened, as bytes of the host's users: escape before showing. Every record comes
/// here, so `text` may be one that was used before.
pub fn short(event: &Event<'_>, text: &mut Vec<u8>) {
    match event {
        Event::Fork(fork) if fork.thread => {}
        Event::Fork(fork) => put(text, format_args!("child {}", fork.child_tgid)),
        Event::Exec(exec) => {
            let argv = &exec.argv[..exec.argv.len().min(MOST)];
            text.extend(
                argv.iter()
                    .map(|byte| if *byte == 0 { b' ' } else { *byte }),
            );
        }
        Event::Exit(exit) => put(text, format_args!("status {}", exit.status)),
        Event::Open(open) | Event::Read(open) => cut(text, open.path),
        Event::Unlink(file) => cut(text, file.path),
        Event::Rename(names) | Event::Link(names) => cut(text, names.to.path),
        Event::Symlink(symlink) => pair(text, symlink.link.path, b" to ", symlink.target),
        Event::Chown(chown) => {
            let (uid, gid) = (chown.uid.cast_signed(), chown.gid.cast_signed());
            put(text, format_args!("{uid}:{gid} "));
            cut(text, chown.file.path);
        }
        Event::Truncate(truncate) => {
            put(text, format_args!("to {} ", truncate.length));
            cut(text, truncate.file.path);
        }
        Event::SetXattr(set) => pair(text, set.name, b" of ", set.file.path),
        Event::Mknod(mknod) => cut(text, mknod.file.path),
        Event::Chmod(chmod) => {
            put(text, format_args!("{:o} ", chmod.mode & 0o7777));
            cut(text, chmod.file.path);
        }
        Event::Connect(socket) | Event::Accept(socket) | Event::Send(socket) => {
            end(text, socket.remote, socket.remote_port);
        }
        Event::Close(close) => {
            end(text, close.socket.remote, close.socket.remote_port);
            let (sent, received) = (close.sent, close.received);
            put(text, format_args!(" sent {sent} received {received}"));
        }
        Event::Dns(dns) => {
            cut(text, dns.name);
            put(text, format_args!(" {}", record_type(dns.record_type)));
        }
        Event::RawSocket(raw) => put(
            text,
            format_args!("family {} protocol {:#x}", raw.family, raw.protocol),
        ),
        Event::Bind(socket) | Event::Listen(socket) => end(text, socket.local, socket.local_port),
        Event::Creds(creds) => put(
            text,
            format_args!("uid {} euid {}", creds.uids[0], creds.uids[1]),
        ),
        Event::Ptrace(call) => {
            let of = at(&call.process, call.target);
            put(
                text,
                format_args!("request {:#x} of {of} = {}", call.request, call.ret),
            );
        }
        Event::VmWrite(access) => {
            let did = if access.write { "wrote" } else { "read" };
            let of = at(&access.process, access.target);
            put(text, format_args!("{did} {of} = {}", access.ret));
        }
        Event::Kill(kill) => put(
            text,
            format_args!("signal {} to {}", kill.signal, at(&kill.process, 0)),
        ),
        Event::Unshare(unshare) => put(text, format_args!("{}", namespaces(unshare.flags))),
        Event::SetNs(setns) => put(text, format_args!("{}", namespaces(setns.namespaces))),
        Event::PivotRoot(pivot) => cut(text, pivot.new_root),
        Event::ExecMemory(memory) => {
            put(text, format_args!("{} bytes ", memory.length));
            cut(text, memory.path);
        }
        Event::Keyctl(keyctl) => put(text, format_args!("operation {}", keyctl.operation)),
        Event::Kexec(kexec) => cut(text, kexec.path),
        Event::PerfEventOpen(perf) => put(
            text,
            format_args!("type {} config {:#x}", perf.event_type, perf.config),
        ),
        Event::Userfaultfd(fault) => put(text, format_args!("flags {:#x}", fault.flags)),
        Event::IoUring(ring) => put(text, format_args!("{} entries", ring.entries)),
        Event::IoUringOp(op) => {
            put(text, format_args!("{} ", operation(op.operation)));
            if op.remote.is_empty() {
                cut(text, op.path);
            } else {
                end(text, op.remote, op.remote_port);
            }
        }
        Event::Compat(compat) => put(text, format_args!("32-bit call {}", compat.syscall)),
        Event::Memfd(memfd) => cut(text, memfd.name),
        Event::DupSocket(dup) => {
            put(text, format_args!("fd {} = ", dup.new_fd));
            end(text, dup.socket.remote, dup.socket.remote_port);
        }
        Event::Mount(mount) => pair(text, mount.source, b" on ", mount.target),
        Event::Module(module) => cut(text, module.name),
        Event::Bpf(bpf) => put(
            text,
            format_args!("command {} type {}", bpf.command, bpf.object_type),
        ),
        Event::Cgroup(cgroup) => cut(text, cgroup.path),
        Event::Tampering(tampering) => cut(text, tampering.detail),
        Event::Chunk(_) | Event::Process(_) | Event::CgroupFound(_) | Event::Unknown { .. } => {}
    }
}

/// Writing to memory does not fail.
fn put(text: &mut Vec<u8>, words: Arguments<'_>) {
    let _ = text.write_fmt(words);
}

/// The end of a text, which tells more than its beginning.
fn cut(text: &mut Vec<u8>, bytes: &[u8]) {
    text.extend_from_slice(&bytes[bytes.len().saturating_sub(MOST)..]);
}

fn pair(text: &mut Vec<u8>, first: &[u8], between: &[u8], second: &[u8]) {
    cut(text, first);
    text.extend_from_slice(between);
    cut(text, second);
}

/// Another process by its number; `given`: as the caller named it, if it was not found.
fn at(process: &Target<'_>, given: u32) -> u32 {
    if process.tgid == 0 {
        given
    } else {
        process.tgid
    }
}

/// An address of 4 or 16 bytes; IPv4 in IPv6 as IPv4.
pub fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(four).into());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(Ipv6Addr::from(sixteen).to_canonical())
}

/// The remote end is another machine.
pub fn elsewhere(socket: &Socket<'_>) -> bool {
    matches!(socket.family, 2 | 10)
        && address(socket.remote).is_some_and(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

/// The absolute path of a name, with `.` and `..` taken out by their letters. Symlinks in it are
/// not resolved: base tier cannot.
pub fn absolute(file: &Named<'_>) -> Vec<u8> {
    let mut path = Vec::with_capacity(file.dir.len() + file.path.len() + 1);
    if !file.path.starts_with(b"/") {
        path.extend_from_slice(file.dir);
        path.push(b'/');
    }
    path.extend_from_slice(file.path);
    let odd = |part: &[u8]| path.windows(part.len()).any(|found| found == part);
    if !odd(b"/.") && !odd(b"//") {
        return path;
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    let mut clean = Vec::with_capacity(path.len());
    for part in parts {
        clean.push(b'/');
        clean.extend_from_slice(part);
    }
    clean
}

fn end(text: &mut Vec<u8>, bytes: &[u8], port: u16) {
    match address(bytes) {
        Some(ip) => put(text, format_args!("{}", SocketAddr::new(ip, port))),
        None => text.extend_from_slice(&bytes[..bytes.len().min(MOST)]),
    }
}

#[cfg(test)]
mod tests {
    use super::{absolute, address};
    use ravn_shared::event::Named;

    #[test]
    fn names_become_absolute_by_their_letters() {
        let path = |dir: &'static str, path: &'static str| {
            let named = Named {
                dir: dir.as_bytes(),
                path: path.as_bytes(),
                resolved: false,
            };
            String::from_utf8_lossy(&absolute(&named)).into_owned()
        };
        assert_eq!(
            path("/etc/cron.d", "../ld.so.preload"),
            "/etc/ld.so.preload"
        );
        assert_eq!(path("/tmp", "a"), "/tmp/a");
        assert_eq!(path("/tmp", "//etc/./passwd"), "/etc/passwd");
        assert_eq!(path("/", "../../x"), "/x");
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 127, 0, 0, 1];
        assert!(address(&mapped).is_some_and(|ip| ip.is_loopback()));
        assert_eq!(address(b"/run/x"), None);
    }
}
