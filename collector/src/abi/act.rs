//! The plain acts of the security stream: `struct ravn_act`. What the numbers are for
//! each kind, `bpf/acts.bpf.c`, `signal.bpf.c` and `io_uring.bpf.c` say.

use ravn_shared::event::{
    Compat, Event, ExecMemory, IoUring, IoUringOp, Kexec, Keyctl, Kill, PerfEvent, PivotRoot,
    Ptrace, SetNs, Target, Unshare, Userfaultfd, VmAccess,
};
use ravn_shared::kind::Kind;

use super::Decoder;
use crate::cursor::Cursor;

/// `struct ravn_act` without its strings.
struct Fixed<'a> {
    numbers: [u64; 3],
    ret: i64,
    target: Target<'a>,
    syscall: u16,
    first_len: u32,
    second_len: u32,
}

impl<'a> Fixed<'a> {
    fn read(c: &mut Cursor<'a>) -> Option<Self> {
        let (numbers, ret) = ([c.u64()?, c.u64()?, c.u64()?], c.i64()?);
        let (start_ns, tgid, pid, uid) = (c.u64()?, c.u32()?, c.u32()?, c.u32()?);
        c.u32()?;
        let comm = c.take(16)?;
        let target = Target {
            tgid,
            pid,
            start_ns,
            uid,
            comm: comm.split(|byte| *byte == 0).next().unwrap_or_default(),
        };
        let (syscall, first_len, second_len) = (c.u32()?, c.u32()?, c.u32()?);
        c.u32()?;
        Some(Self {
            numbers,
            ret,
            target,
            syscall: syscall as u16,
            first_len,
            second_len,
        })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the program widened what the kernel has in 32 bits or less"
)]
impl Decoder {
    pub(super) fn act<'a>(&'a mut self, c: &mut Cursor<'a>, kind: Kind) -> Option<Event<'a>> {
        let Fixed {
            numbers: [one, two, three],
            ret: long,
            target: process,
            syscall,
            first_len,
            second_len,
        } = Fixed::read(c)?;
        let ret = long as i32;
        // A walked path; the others are strings as given.
        let path = if matches!(kind, Kind::ExecMemory | Kind::Kexec) && first_len != 0 {
            self.path(c, first_len)?
        } else {
            0..0
        };
        let given = if path.is_empty() { first_len } else { 0 };
        let (first, _) = c.string(given)?;
        let (second, _) = c.string(second_len)?;
        let path = &self.paths[path];
        Some(match kind {
            Kind::Ptrace => Event::Ptrace(Ptrace {
                request: one,
                target: two as u32,
                ret,
                process,
            }),
            Kind::VmWrite => Event::VmWrite(VmAccess {
                write: one != 0,
                target: two as u32,
                ret: long,
                process,
            }),
            Kind::PivotRoot => Event::PivotRoot(PivotRoot {
                new_root: first,
                put_old: second,
                ret,
            }),
            Kind::Unshare => Event::Unshare(Unshare {
                flags: one,
                ret,
                user_ns: two as u32,
                user_ns_level: three as u32,
                child: process,
            }),
            Kind::SetNs => Event::SetNs(SetNs {
                namespaces: one,
                ns: two as u32,
                of_init: three,
                ret,
                process,
            }),
            Kind::ExecMemory => Event::ExecMemory(ExecMemory {
                syscall,
                address: one,
                length: two,
                protection: three as u32,
                written: three >> 32 != 0,
                path,
                ret,
            }),
            Kind::Kill => Event::Kill(Kill {
                signal: one as u32,
                result: two as u32,
                process,
            }),
            Kind::Keyctl => Event::Keyctl(Keyctl {
                operation: one as u32,
                key: two as u32,
                ret: long,
            }),
            Kind::Kexec => Event::Kexec(Kexec {
                flags: one,
                path,
                ret,
            }),
            Kind::PerfEventOpen => Event::PerfEventOpen(PerfEvent {
                event_type: one as u32,
                config: two,
                cpu: three as i32,
                ret,
                process,
            }),
            Kind::Userfaultfd => Event::Userfaultfd(Userfaultfd {
                flags: one as u32,
                ret,
            }),
            Kind::IoUring => Event::IoUring(IoUring {
                entries: one as u32,
                flags: two as u32,
                ret,
            }),
            Kind::IoUringOp => Event::IoUringOp(operation([one, two, three], first, second)),
            Kind::Compat => Event::Compat(Compat {
                syscall: one as u16,
            }),
            _ => return None,
        })
    }
}

const OP_CONNECT: u8 = 16;

#[expect(
    clippy::cast_possible_truncation,
    reason = "the program widened what the kernel has in 32 bits or less"
)]
fn operation<'a>(numbers: [u64; 3], first: &'a [u8], second: &'a [u8]) -> IoUringOp<'a> {
    let op = IoUringOp {
        operation: numbers[0] as u8,
        fd: numbers[1] as i32,
        path: first,
        family: (numbers[2] >> 32) as u16,
        socket_type: numbers[2] as u32,
        ..IoUringOp::default()
    };
    if op.operation != OP_CONNECT {
        return IoUringOp { to: second, ..op };
    }
    // A sockaddr: family, then port and address, or a path.
    let (Some(family), Some(port)) = (second.get(..2), second.get(2..4)) else {
        return op;
    };
    let family = u16::from_le_bytes([family[0], family[1]]);
    let inet = |range: std::ops::Range<usize>| second.get(range).unwrap_or_default();
    let (remote, remote_port) = match family {
        2 => (inet(4..8), u16::from_be_bytes([port[0], port[1]])),
        10 => (inet(8..24), u16::from_be_bytes([port[0], port[1]])),
        _ => (
            second[2..]
                .split(|byte| *byte == 0)
                .next()
                .unwrap_or_default(),
            0,
        ),
    };
    IoUringOp {
        family,
        remote,
        remote_port,
        ..op
    }
}
