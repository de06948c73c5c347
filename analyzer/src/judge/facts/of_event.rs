//! `Ravn.*` of the event itself: what its kind has fields for.

use std::borrow::Cow;

use ravn_shared::event::{Event as What, Target};
use ravn_shared::show::{namespaces, operation, record_type};
use rsigma_eval::EventValue;

use super::{Facts, Value, image, number, text, yes};
use crate::judge::process::Process;
use crate::verdict::ProcessId;

const CLONE_NEWUSER: u64 = 0x1000_0000;
const PROT_WRITE: u32 = 2;

/// A number that the kernel has unsigned; what is too large for a rule is −1.
fn wide(value: u64) -> Value<'static> {
    number(i64::try_from(value).unwrap_or(-1))
}

fn word(text: String) -> Value<'static> {
    (!text.is_empty()).then_some(EventValue::Str(Cow::Owned(text)))
}

/// Each of several names.
fn words(list: &str) -> Value<'static> {
    let each = list.split(',').filter(|name| !name.is_empty());
    Some(EventValue::Array(
        each.map(|name| EventValue::Str(Cow::Owned(name.to_owned())))
            .collect(),
    ))
}

impl<'a> Facts<'a> {
    /// The process that an event is aimed at, as the kernel found it.
    fn aimed_at(&self) -> Option<&'a Target<'a>> {
        match &self.record.event {
            What::Ptrace(call) => Some(&call.process),
            What::VmWrite(access) => Some(&access.process),
            What::Kill(kill) => Some(&kill.process),
            What::SetNs(setns) => Some(&setns.process),
            What::PerfEventOpen(perf) => Some(&perf.process),
            _ => None,
        }
    }

    /// The number that the caller named its target by, where the kernel did not find it.
    fn named(&self) -> Option<u32> {
        match &self.record.event {
            What::Ptrace(call) => Some(call.target),
            What::VmWrite(access) => Some(access.target),
            _ => None,
        }
    }

    /// That process, if it is in the table.
    fn target(&self) -> Option<&'a Process> {
        let target = self.aimed_at()?;
        if target.tgid == 0 {
            return self.table.by_tgid(self.named()?);
        }
        self.table.get(ProcessId {
            tgid: target.tgid,
            start_ns: target.start_ns,
        })
    }

    fn of_target(&self, name: &str) -> Value<'a> {
        let target = self.aimed_at()?;
        match name {
            "TargetPid" if target.tgid == 0 => number(self.named()?),
            "TargetPid" => number(target.tgid),
            "TargetUid" if target.tgid != 0 => number(target.uid),
            "TargetImage" => text(&self.target()?.exe),
            "TargetSensor" => yes(self.target().is_some_and(|at| image::sensor(&at.exe))),
            "TargetOwn" => yes(self.target().is_some_and(|target| {
                target.id == self.process.id
                    || self
                        .table
                        .ancestors(target, 64)
                        .any(|at| at.id == self.process.id)
            })),
            // Within the session, unit or container: above it stand sshd and PID 1.
            "TargetAncestor" => yes(self.target().is_some_and(|target| {
                target.uid == self.process.uid
                    && target.entry == self.process.entry
                    && self
                        .table
                        .ancestors(self.process, 64)
                        .any(|at| at.id == target.id)
            })),
            "TargetSameImage" => yes(self.target().is_some_and(|target| {
                !target.exe.is_empty()
                    && target.uid == self.process.uid
                    && image::base(&target.exe) == image::base(&self.process.exe)
            })),
            _ => None,
        }
    }

    /// What the call gave back: 0 or more, or a negative errno.
    fn result(&self) -> Option<i64> {
        Some(match &self.record.event {
            What::Bpf(bpf) => bpf.ret.into(),
            What::Mount(mount) => mount.ret.into(),
            What::Ptrace(call) => call.ret.into(),
            What::Connect(socket) | What::Send(socket) => socket.ret.into(),
            What::RawSocket(raw) => raw.ret.into(),
            What::VmWrite(access) => access.ret,
            What::PivotRoot(pivot) => pivot.ret.into(),
            What::Unshare(unshare) => unshare.ret.into(),
            What::SetNs(setns) => setns.ret.into(),
            What::ExecMemory(memory) => memory.ret.into(),
            What::Keyctl(keyctl) => keyctl.ret,
            What::Kexec(kexec) => kexec.ret.into(),
            What::PerfEventOpen(perf) => perf.ret.into(),
            What::Userfaultfd(fault) => fault.ret.into(),
            What::IoUring(ring) => ring.ret.into(),
            _ => return None,
        })
    }

    pub(super) fn of_event(&self, name: &str) -> Value<'a> {
        match name {
            "TargetPackaged" => return yes(image::packaged(&self.file()?)),
            "TargetInstalled" => return yes(image::installed(&self.file()?)),
            "Loopback" => return yes(self.remote()?.0.is_loopback()),
            "Result" => return number(self.result()?),
            _ if name.starts_with("Target") => {
                if let Some(value) = self.of_target(name) {
                    return Some(value);
                }
            }
            _ => {}
        }
        self.of_file(name)
            .or_else(|| self.of_socket(name))
            .or_else(|| self.of_security(name))
    }

    fn of_file(&self, name: &str) -> Value<'a> {
        match (&self.record.event, name) {
            (What::Open(open), "Created") => yes(open.created),
            (What::Link(_) | What::Symlink(_), "Created") => yes(true),
            (What::Open(open) | What::Read(open), "Mode") => number(open.mode),
            (What::Open(open), "Truncates") => yes(open.flags & libc::O_TRUNC.cast_unsigned() != 0),
            (What::Chmod(chmod), "Mode") => number(chmod.mode),
            (What::Chmod(chmod), "SetuidBit") => yes(chmod.mode & 0o4000 != 0),
            (What::Mknod(mknod), "Mode") => number(mknod.mode),
            (What::Mknod(mknod), "Device") => number(mknod.rdev),
            (What::Unlink(file), "Resolved") => yes(file.resolved),
            (What::Rename(rename), "Resolved") => yes(rename.to.resolved),
            (What::Chmod(chmod), "Resolved") => yes(chmod.file.resolved),
            (What::Chown(chown), "Owner") => number(chown.uid),
            (What::Chown(chown), "Group") => number(chown.gid),
            (What::Truncate(truncate), "Length") => wide(truncate.length),
            (What::Symlink(symlink), "LinkTarget") => text(symlink.target),
            (What::SetXattr(set), "Attribute") => text(set.name),
            (What::SetXattr(set), "Removed") => yes(set.removed),
            _ => None,
        }
    }

    fn of_socket(&self, name: &str) -> Value<'a> {
        match (&self.record.event, name) {
            (What::Close(close), "Sent") => wide(close.sent),
            (What::Close(close), "Received") => wide(close.received),
            (What::Close(close), "DurationMs") => wide(close.duration_ns / 1_000_000),
            (What::Dns(dns), "QueryType") => word(record_type(dns.record_type)),
            (What::RawSocket(raw), "Family") => number(raw.family),
            (What::RawSocket(raw), "SocketType") => number(raw.kind),
            (What::RawSocket(raw), "Protocol") => number(raw.protocol),
            _ => None,
        }
    }

    fn of_security(&self, name: &str) -> Value<'a> {
        match (&self.record.event, name) {
            (What::Ptrace(call), "Request") => wide(call.request),
            // ATTACH, SEIZE; POKETEXT, POKEDATA, POKEUSER; SETREGS, SETFPREGS, SETREGSET. Who pokes
            // has attached before, or started the target: a thread of it is not in the table.
            (What::Ptrace(call), "Injects") => yes(call.ret >= 0
                && (matches!(call.request, 16 | 0x4206)
                    || matches!(call.request, 4 | 5 | 6 | 13 | 15 | 0x4205)
                        && self.target().is_some())),
            (What::VmWrite(access), "Writes") => yes(access.write),
            (What::Memfd(memfd), "Name") => text(memfd.name),
            (What::Module(module), "Module") => text(module.name),
            // 175 init_module, 176 delete_module, 313 finit_module.
            (What::Module(module), "Loads") => yes(module.ret == 0 && module.syscall != 176),
            (What::Module(module), "FromMemory") => yes(module.syscall == 175),
            (What::Bpf(bpf), "BpfCommand") => number(bpf.command),
            (What::Bpf(bpf), "ObjectType") => number(bpf.object_type),
            (What::Tampering(tampering), "Part") => text(tampering.what),
            (What::Tampering(tampering), "Detail") => text(tampering.detail),
            (What::Mount(mount), "Source") => text(mount.source),
            (What::Mount(mount), "Target") => text(mount.target),
            (What::Mount(mount), "FsType") => text(mount.fstype),
            (What::PivotRoot(pivot), "Target") => text(pivot.new_root),
            (What::Unshare(unshare), "Namespaces") => words(&namespaces(unshare.flags)),
            (What::Unshare(unshare), "UserNamespace") => yes(unshare.flags & CLONE_NEWUSER != 0),
            (What::SetNs(setns), "Namespaces") => words(&namespaces(setns.namespaces)),
            (What::SetNs(setns), "OfInit") => words(&namespaces(setns.of_init)),
            (What::ExecMemory(memory), "Writable") => yes(memory.protection & PROT_WRITE != 0),
            (What::ExecMemory(memory), "Written") => yes(memory.written),
            (What::ExecMemory(memory), "Anonymous") => yes(memory.path.is_empty()),
            (What::Kill(kill), "Signal") => number(kill.signal),
            (What::Keyctl(keyctl), "Operation") => number(keyctl.operation),
            (What::PerfEventOpen(perf), "EventType") => number(perf.event_type),
            (What::IoUringOp(op), "Operation") => word(operation(op.operation)),
            (What::Compat(compat), "Syscall") => number(compat.syscall),
            (What::Creds(creds), "UserNamespaceLevel") => number(creds.user_ns_level),
            _ => None,
        }
    }
}
