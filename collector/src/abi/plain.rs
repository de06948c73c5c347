//! Kinds whose payload needs no path turned round: fields and strings as they stand.

use ravn_shared::event::{
    Bpf, Cgroup, Chunk, Close, Creds, Dns, Event, Exit, Fork, Ids, Memfd, Mount, RawSocket, Socket,
};

use super::header::HEADER_BYTES;
use crate::cursor::Cursor;

/// Bytes of `struct ravn_socket` without strings.
const SOCKET_BYTES: usize = 64;

pub fn fork<'a>(c: &mut Cursor<'a>) -> Option<Event<'a>> {
    let (child_start_ns, child_tgid, child_pid, thread) = (c.u64()?, c.u32()?, c.u32()?, c.u32()?);
    Some(Event::Fork(Fork {
        child_tgid,
        child_pid,
        child_start_ns,
        thread: thread != 0,
    }))
}

pub fn exit<'a>(c: &mut Cursor<'a>) -> Option<Event<'a>> {
    let (thread_start_ns, status, process) = (c.u64()?, c.u32()?, c.u32()?);
    Some(Event::Exit(Exit {
        status,
        thread_start_ns,
        process: process != 0,
    }))
}

pub fn cgroup<'a>(c: &mut Cursor<'a>) -> Option<Cgroup<'a>> {
    let (id, path_len) = (c.u64()?, c.u32()?);
    c.u32()?;
    Some(Cgroup {
        id,
        path: c.string(path_len)?.0,
    })
}

pub fn chunk<'a>(c: &mut Cursor<'a>, sample_bytes: usize) -> Option<Event<'a>> {
    let (count, ticks) = (c.u32()?, c.u32()?);
    let words = c.take(sample_bytes.checked_sub(HEADER_BYTES + 8)?)?;
    Some(Event::Chunk(Chunk {
        count,
        ticks,
        words,
    }))
}

/// A socket, and the two descriptors that a copy of it has.
pub fn socket<'a>(c: &mut Cursor<'a>) -> Option<(Socket<'a>, [i32; 2])> {
    let (family, kind, protocol) = (c.u16()?, c.u16()?, c.u16()?);
    let (local_port, remote_port, as_given, ret) = (c.u16()?, c.u16()?, c.u16()?, c.i32()?);
    let (local_len, remote_len) = (c.u32()?, c.u32()?);
    let fds = [c.i32()?, c.i32()?];
    let (local_inet, remote_inet) = (c.take(16)?, c.take(16)?);
    let (local, remote) = if matches!(family, 2 | 10) {
        (
            local_inet.get(..local_len as usize)?,
            remote_inet.get(..remote_len as usize)?,
        )
    } else {
        (
            unix_name(c.string(local_len)?.0),
            unix_name(c.string(remote_len)?.0),
        )
    };
    let socket = Socket {
        family,
        kind,
        protocol,
        local,
        local_port,
        remote,
        remote_port,
        ret,
        as_given: as_given != 0,
    };
    Some((socket, fds))
}

/// The kernel keeps the NUL that ends a path; an abstract name begins with one and may
/// hold any.
fn unix_name(raw: &[u8]) -> &[u8] {
    if raw.first() == Some(&0) {
        raw
    } else {
        raw.strip_suffix(b"\0").unwrap_or(raw)
    }
}

/// A connection's end: a socket, then what went through it.
pub fn close<'a>(c: &mut Cursor<'a>) -> Option<Event<'a>> {
    let mut fixed = Cursor::new(c.take(SOCKET_BYTES)?);
    let (sent, received, duration_ns) = (c.u64()?, c.u64()?, c.u64()?);
    Some(Event::Close(Close {
        socket: socket(&mut fixed)?.0,
        sent,
        received,
        duration_ns,
    }))
}

/// A question: a socket, type and length of the name, the name.
pub fn dns<'a>(c: &mut Cursor<'a>) -> Option<Event<'a>> {
    let mut fixed = Cursor::new(c.take(SOCKET_BYTES)?);
    let (name_len, record_type) = (c.u32()?, c.u16()?);
    c.u16()?;
    let (name, cut) = c.string(name_len)?;
    Some(Event::Dns(Dns {
        name,
        record_type,
        cut,
        socket: socket(&mut fixed)?.0,
    }))
}

pub fn raw_socket<'a>(c: &mut Cursor<'a>) -> Option<Event<'a>> {
    let (family, kind, protocol) = (c.u16()?, c.u16()?, c.u16()?);
    c.take(6)?;
    Some(Event::RawSocket(RawSocket {
        family,
        kind,
        protocol,
        ret: c.i32()?,
    }))
}

/// `struct ravn_ids`.
fn ids(c: &mut Cursor<'_>) -> Option<Ids> {
    Some(Ids {
        cap_effective: c.u64()?,
        cap_permitted: c.u64()?,
        uids: [c.u32()?, c.u32()?, c.u32()?, c.u32()?],
        gids: [c.u32()?, c.u32()?, c.u32()?, c.u32()?],
        user_ns: c.u32()?,
        user_ns_level: c.u32()?,
    })
}

pub fn creds<'a>(c: &mut Cursor<'a>) -> Option<Event<'a>> {
    let (before, after) = (ids(c)?, ids(c)?);
    let (ret, syscall, before_known) = (c.i32()?, c.u32()?, c.u32()?);
    c.u32()?;
    Some(Event::Creds(Creds {
        syscall: u16::try_from(syscall).ok()?,
        ret,
        uids: after.uids,
        gids: after.gids,
        cap_effective: after.cap_effective,
        user_ns_level: after.user_ns_level,
        cap_permitted: after.cap_permitted,
        user_ns: after.user_ns,
        before,
        before_known: before_known != 0,
    }))
}

pub fn memfd<'a>(c: &mut Cursor<'a>) -> Option<Event<'a>> {
    let (ino, flags, ret, name_len) = (c.u64()?, c.u32()?, c.i32()?, c.u32()?);
    c.u32()?;
    Some(Event::Memfd(Memfd {
        name: c.string(name_len)?.0,
        flags,
        ino,
        ret,
    }))
}

pub fn mount<'a>(c: &mut Cursor<'a>) -> Option<Event<'a>> {
    let (flags, ret) = (c.u64()?, c.i32()?);
    let (source_len, target_len, fstype_len) = (c.u32()?, c.u32()?, c.u32()?);
    let (source, target, fstype) = (
        c.string(source_len)?.0,
        c.string(target_len)?.0,
        c.string(fstype_len)?.0,
    );
    Some(Event::Mount(Mount {
        source,
        target,
        fstype,
        flags,
        ret,
    }))
}

pub fn bpf<'a>(c: &mut Cursor<'a>) -> Option<Event<'a>> {
    let (command, object_type, ret) = (c.u32()?, c.u32()?, c.i32()?);
    Some(Event::Bpf(Bpf {
        command,
        object_type,
        ret,
    }))
}
