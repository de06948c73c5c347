//! An event in a few words, and what its addresses mean.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ravn_shared::event::{Event, Named, Socket, Target};
use ravn_shared::show::{namespaces, operation, record_type};

/// Most bytes of a text that a process remembers.
const MOST: usize = 96;

/// What happened, as bytes of the host's users: escape before showing.
pub fn short(event: &Event<'_>) -> Vec<u8> {
    let cut = |bytes: &[u8]| bytes[bytes.len().saturating_sub(MOST)..].to_vec();
    match event {
        Event::Fork(fork) if fork.thread => Vec::new(),
        Event::Fork(fork) => format!("child {}", fork.child_tgid).into_bytes(),
        Event::Exec(exec) => {
            let mut text = exec.argv[..exec.argv.len().min(MOST)].to_vec();
            for byte in &mut text {
                if *byte == 0 {
                    *byte = b' ';
                }
            }
            text
        }
        Event::Exit(exit) => format!("status {}", exit.status).into_bytes(),
        Event::Open(open) | Event::Read(open) => cut(open.path),
        Event::Unlink(file) => cut(file.path),
        Event::Rename(names) | Event::Link(names) => cut(names.to.path),
        Event::Symlink(symlink) => pair(cut(symlink.link.path), b" to ", cut(symlink.target)),
        Event::Chown(chown) => pair(
            format!("{}:{}", chown.uid.cast_signed(), chown.gid.cast_signed()).into_bytes(),
            b" ",
            cut(chown.file.path),
        ),
        Event::Truncate(truncate) => pair(
            format!("to {} ", truncate.length).into_bytes(),
            b"",
            cut(truncate.file.path),
        ),
        Event::SetXattr(set) => pair(cut(set.name), b" of ", cut(set.file.path)),
        Event::Mknod(mknod) => cut(mknod.file.path),
        Event::Chmod(chmod) => {
            let mut text = format!("{:o} ", chmod.mode & 0o7777).into_bytes();
            text.extend(cut(chmod.file.path));
            text
        }
        Event::Connect(socket) | Event::Accept(socket) | Event::Send(socket) => {
            end(socket.remote, socket.remote_port)
        }
        Event::Close(close) => pair(
            end(close.socket.remote, close.socket.remote_port),
            b" ",
            format!("sent {} received {}", close.sent, close.received).into_bytes(),
        ),
        Event::Dns(dns) => pair(
            cut(dns.name),
            b" ",
            record_type(dns.record_type).into_bytes(),
        ),
        Event::RawSocket(raw) => {
            format!("family {} protocol {:#x}", raw.family, raw.protocol).into_bytes()
        }
        Event::Bind(socket) | Event::Listen(socket) => end(socket.local, socket.local_port),
        Event::Creds(creds) => format!("uid {} euid {}", creds.uids[0], creds.uids[1]).into_bytes(),
        Event::Ptrace(call) => format!(
            "request {:#x} of {} = {}",
            call.request,
            at(&call.process, call.target),
            call.ret
        )
        .into_bytes(),
        Event::VmWrite(access) => format!(
            "{} {} = {}",
            if access.write { "wrote" } else { "read" },
            at(&access.process, access.target),
            access.ret
        )
        .into_bytes(),
        Event::Kill(kill) => {
            format!("signal {} to {}", kill.signal, at(&kill.process, 0)).into_bytes()
        }
        Event::Unshare(unshare) => namespaces(unshare.flags).into_bytes(),
        Event::SetNs(setns) => namespaces(setns.namespaces).into_bytes(),
        Event::PivotRoot(pivot) => cut(pivot.new_root),
        Event::ExecMemory(memory) => pair(
            format!("{} bytes ", memory.length).into_bytes(),
            b"",
            cut(memory.path),
        ),
        Event::Keyctl(keyctl) => format!("operation {}", keyctl.operation).into_bytes(),
        Event::Kexec(kexec) => cut(kexec.path),
        Event::PerfEventOpen(perf) => {
            format!("type {} config {:#x}", perf.event_type, perf.config).into_bytes()
        }
        Event::Userfaultfd(fault) => format!("flags {:#x}", fault.flags).into_bytes(),
        Event::IoUring(ring) => format!("{} entries", ring.entries).into_bytes(),
        Event::IoUringOp(op) => pair(
            operation(op.operation).into_bytes(),
            b" ",
            if op.remote.is_empty() {
                cut(op.path)
            } else {
                end(op.remote, op.remote_port)
            },
        ),
        Event::Compat(compat) => format!("32-bit call {}", compat.syscall).into_bytes(),
        Event::Memfd(memfd) => cut(memfd.name),
        Event::DupSocket(dup) => {
            let mut text = format!("fd {} = ", dup.new_fd).into_bytes();
            text.extend(end(dup.socket.remote, dup.socket.remote_port));
            text
        }
        Event::Mount(mount) => {
            let mut text = cut(mount.source);
            text.extend_from_slice(b" on ");
            text.extend(cut(mount.target));
            text
        }
        Event::Module(module) => cut(module.name),
        Event::Bpf(bpf) => format!("command {} type {}", bpf.command, bpf.object_type).into_bytes(),
        Event::Cgroup(cgroup) => cut(cgroup.path),
        Event::Tampering(tampering) => cut(tampering.detail),
        Event::Chunk(_) | Event::Process(_) | Event::CgroupFound(_) | Event::Unknown { .. } => {
            Vec::new()
        }
    }
}

fn pair(mut first: Vec<u8>, between: &[u8], second: Vec<u8>) -> Vec<u8> {
    first.extend_from_slice(between);
    first.extend(second);
    first
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

fn end(bytes: &[u8], port: u16) -> Vec<u8> {
    match address(bytes) {
        Some(ip) => std::net::SocketAddr::new(ip, port).to_string().into_bytes(),
        None => bytes[..bytes.len().min(MOST)].to_vec(),
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
