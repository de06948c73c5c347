//! What rules see of a record: the fields of Sigma, and the kernel's facts as `Ravn.*`.
//!
//! `docs/rules.md` lists the fields. Nothing is built until a rule asks for it.

use std::borrow::Cow;
use std::cell::OnceCell;

use ravn_shared::event::{Event as What, Named, Record, Socket, exec_flags};
use rsigma_eval::{Event, EventValue};

use super::image;
use super::process::Process;
use super::summary::{absolute, address};
use super::table::{Change, Table};
use super::written::{Writers, Written};

mod of_event;

/// A record with everything around it.
pub struct Facts<'a> {
    /// The record.
    pub record: &'a Record<'a>,
    /// Whose it is, after the record.
    pub process: &'a Process,
    /// All others.
    pub table: &'a Table,
    /// Who wrote which file.
    pub writers: &'a Writers,
    /// What the record changed.
    pub change: Change,
    /// `TargetFilename`, once a rule asked for it.
    pub target_file: OnceCell<Option<Cow<'a, str>>>,
}

type Value<'a> = Option<EventValue<'a>>;

fn text(bytes: &[u8]) -> Value<'_> {
    (!bytes.is_empty()).then(|| EventValue::Str(shown(bytes)))
}

/// `from_utf8_lossy`, which walks character by character, only for what needs it.
fn shown(bytes: &[u8]) -> Cow<'_, str> {
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

fn owned(bytes: Vec<u8>) -> Value<'static> {
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    (!text.is_empty()).then_some(EventValue::Str(Cow::Owned(text)))
}

fn text_of(bytes: Cow<'_, [u8]>) -> Value<'_> {
    match bytes {
        Cow::Borrowed(bytes) => text(bytes),
        Cow::Owned(bytes) => owned(bytes),
    }
}

/// The absolute path of a name.
fn name<'a>(file: &Named<'a>) -> Cow<'a, [u8]> {
    if file.resolved {
        Cow::Borrowed(file.path)
    } else {
        Cow::Owned(absolute(file))
    }
}

fn number(value: impl Into<i64>) -> Value<'static> {
    Some(EventValue::Int(value.into()))
}

fn yes(value: bool) -> Value<'static> {
    Some(EventValue::Bool(value))
}

/// Arguments as one line, as they are: rules match bytes that people wrote, not escapes.
fn line(argv: &[u8]) -> Value<'static> {
    let trimmed = argv.strip_suffix(b"\0").unwrap_or(argv);
    owned(
        trimmed
            .iter()
            .map(|byte| if *byte == 0 { b' ' } else { *byte })
            .collect(),
    )
}

fn user(uid: u32) -> Value<'static> {
    Some(EventValue::Str(if uid == 0 {
        Cow::Borrowed("root")
    } else {
        Cow::Owned(uid.to_string())
    }))
}

impl<'a> Facts<'a> {
    fn parent(&self) -> Option<&'a Process> {
        self.table.ancestors(self.process, 1).next()
    }

    fn argv(&self) -> &'a [u8] {
        match &self.record.event {
            What::Exec(exec) => exec.argv,
            _ => &self.process.argv,
        }
    }

    fn socket(&self) -> Option<&'a Socket<'a>> {
        match &self.record.event {
            What::Connect(socket)
            | What::Accept(socket)
            | What::Bind(socket)
            | What::Listen(socket)
            | What::Send(socket) => Some(socket),
            What::Close(close) => Some(&close.socket),
            What::Dns(dns) => Some(&dns.socket),
            What::DupSocket(dup) => Some(&dup.socket),
            _ => None,
        }
    }

    /// The file that the record is about: what was opened, the new name, what was removed.
    pub fn file(&self) -> Option<Cow<'a, [u8]>> {
        Some(match &self.record.event {
            What::Open(open) | What::Read(open) => Cow::Borrowed(open.path),
            What::Unlink(file) => name(file),
            What::Rename(names) | What::Link(names) => name(&names.to),
            What::Symlink(symlink) => name(&symlink.link),
            What::Chmod(chmod) => name(&chmod.file),
            What::Chown(chown) => name(&chown.file),
            What::Truncate(truncate) => name(&truncate.file),
            What::SetXattr(set) => name(&set.file),
            What::Mknod(mknod) => name(&mknod.file),
            What::ExecMemory(memory) if !memory.path.is_empty() => Cow::Borrowed(memory.path),
            What::Kexec(kexec) if !kexec.path.is_empty() => Cow::Borrowed(kexec.path),
            What::IoUringOp(op) if !op.to.is_empty() => Cow::Borrowed(op.to),
            What::IoUringOp(op) if !op.path.is_empty() => Cow::Borrowed(op.path),
            _ => return None,
        })
    }

    /// The other end of the connection that the record is about.
    pub fn remote(&self) -> Option<(std::net::IpAddr, u16)> {
        if let What::Exec(exec) = &self.record.event {
            return Some((address(exec.stdio_peer)?, exec.stdio_peer_port));
        }
        if let What::IoUringOp(op) = &self.record.event {
            return Some((address(op.remote)?, op.remote_port));
        }
        let socket = self.socket()?;
        Some((address(socket.remote)?, socket.remote_port))
    }

    fn writer(&self) -> Option<&'a Written> {
        let What::Exec(exec) = &self.record.event else {
            return None;
        };
        let memfd = exec.flags & exec_flags::MEMFD != 0;
        self.writers
            .of(if memfd { None } else { Some(exec.dev) }, exec.ino)
    }

    /// The program that a shell's `-c` begins with, or the first argument that is no option.
    fn command(&self) -> Vec<u8> {
        let argument = self
            .argv()
            .split(|byte| *byte == 0)
            .skip(1)
            .find(|argument| !argument.is_empty() && !argument.starts_with(b"-"));
        let word = argument.unwrap_or_default();
        let word = word.trim_ascii_start();
        let end = word
            .iter()
            .position(|byte| !byte.is_ascii_alphanumeric() && !b"/._-+".contains(byte));
        word[..end.unwrap_or(word.len()).min(128)].to_vec()
    }

    fn plain(&self, path: &str) -> Value<'a> {
        let process = self.process;
        match path {
            "Image" => text(&process.exe),
            "CommandLine" => line(self.argv()),
            "CurrentDirectory" => text(&process.cwd),
            "User" => user(process.uid),
            "ProcessId" => number(process.id.tgid),
            "ParentProcessId" => number(process.parent.tgid),
            "ParentImage" => text(&self.parent()?.exe),
            "ParentCommandLine" => line(&self.parent()?.argv),
            "ParentUser" => user(self.parent()?.uid),
            "SourceFilename" => match &self.record.event {
                What::Rename(names) | What::Link(names) => text_of(name(&names.from)),
                _ => None,
            },
            "DestinationIp" => Some(EventValue::Str(self.remote()?.0.to_string().into())),
            "DestinationPort" => number(self.remote()?.1),
            "SourceIp" => Some(EventValue::Str(
                address(self.socket()?.local)?.to_string().into(),
            )),
            "SourcePort" => number(self.socket()?.local_port),
            "Initiated" => yes(matches!(
                self.record.event,
                What::Connect(_) | What::Send(_) | What::Dns(_)
            )),
            "QueryName" => match &self.record.event {
                What::Dns(dns) => text(dns.name),
                _ => None,
            },
            "Protocol" => Some(EventValue::Str(Cow::Borrowed(
                match self.socket()?.protocol {
                    6 => "tcp",
                    17 => "udp",
                    _ => "other",
                },
            ))),
            _ => None,
        }
    }

    fn of_process(&self, name: &str) -> Value<'a> {
        let process = self.process;
        let exec = match &self.record.event {
            What::Exec(exec) => Some(exec),
            _ => None,
        };
        let flag = |bits: u32| yes(exec.is_some_and(|exec| exec.flags & bits != 0));
        match name {
            "ImageGone" => flag(exec_flags::DELETED | exec_flags::MEMFD),
            "Memfd" => flag(exec_flags::MEMFD),
            "Deleted" => flag(exec_flags::DELETED),
            "Setuid" => flag(exec_flags::SECURE),
            "GainedCapabilities" => yes(exec.is_some_and(|exec| exec.cap_gained != 0)),
            "ImagePackaged" => yes(image::packaged(&process.exe)),
            "ImageInstalled" => yes(image::installed(&process.exe)),
            "ImageOpenToAll" => yes(image::open_to_all(&process.exe)),
            "ImageWriter" => text(&self.writer()?.exe),
            "ImageWriterNetwork" => yes(self.writer().is_some_and(|by| by.network || by.server)),
            "ImageWriterTrusted" => yes(self.writer().is_some_and(|by| by.trusted)),
            "ImageWriterRuntime" => yes(self.writer().is_some_and(|by| by.runtime)),
            "WrittenByUntrusted" => yes(self.writer().is_some_and(|by| !by.trusted)),
            "Script" => text(&process.script),
            "Shell" => yes(image::shell(&process.exe, self.argv())),
            "Interpreter" => yes(image::interpreter(&process.exe)),
            "StdioSocket" => yes(process.sockets != 0),
            "StdioBoth" => yes(process.sockets & 1 != 0 && process.sockets & 6 != 0),
            "StdioJoined" => yes(self.change.stdio_both),
            "StdioPeer" => Some(EventValue::Str(self.remote()?.0.to_string().into())),
            "StdioPeerPort" => number(self.remote()?.1),
            "ForOthers" => yes(process.handed
                && self.parent().map_or(process.parent.tgid == 1, |parent| {
                    image::listens_for_others(parent.id.tgid, &parent.exe)
                })),
            "Runtime" => yes(process.runtime),
            "CollectorImage" => yes(self.table.runs_collector(process)),
            "Server" => Some(EventValue::Str(process.server.as_ref()?.0.name().into())),
            "ServerImage" => Some(EventValue::Str(Cow::Borrowed(&process.server.as_ref()?.1))),
            "Container" => {
                yes(process.container || self.table.cgroups.container(process.cgroup_id).is_some())
            }
            "ContainerId" => Some(EventValue::Str(
                self.table.cgroups.container(process.cgroup_id)?.into(),
            )),
            "Unit" => Some(EventValue::Str(
                self.table.cgroups.unit(process.cgroup_id)?.into(),
            )),
            "Trusted" => yes(self.table.trusted(process)),
            "Tty" => yes(process.tty != 0),
            "LoggedIn" => yes(process.loginuid != u32::MAX),
            "LoginUid" if process.loginuid == u32::MAX => Some(EventValue::Null),
            "LoginUid" => number(process.loginuid),
            "Session" => number(process.session),
            "Uid" => number(process.uid),
            "Euid" => number(process.euid),
            "GainedRoot" => yes(self.change.gained_root),
            "Command" => owned(self.command()),
            "EmptyArgv" => yes(self.argv().iter().all(|byte| *byte == 0)),
            "KernelThreadName" => {
                let first = self
                    .argv()
                    .split(|byte| *byte == 0)
                    .next()
                    .unwrap_or_default();
                yes(first.len() > 2 && first.starts_with(b"[") && first.ends_with(b"]"))
            }
            "Ancestors" => Some(EventValue::Array(
                self.table
                    .ancestors(process, 32)
                    .filter_map(|ancestor| text(&ancestor.exe))
                    .collect(),
            )),
            _ => None,
        }
    }
}

impl Event for Facts<'_> {
    fn get_field(&self, path: &str) -> Option<EventValue<'_>> {
        // Nine of ten questions of file rules.
        if path == "TargetFilename" {
            let target = self.target_file.get_or_init(|| match self.file()? {
                Cow::Borrowed(path) => Some(shown(path)),
                Cow::Owned(path) => Some(Cow::Owned(String::from_utf8_lossy(&path).into_owned())),
            });
            return target
                .as_deref()
                .map(|path| EventValue::Str(Cow::Borrowed(path)));
        }
        match path.strip_prefix("Ravn.") {
            Some(name) => self.of_event(name).or_else(|| self.of_process(name)),
            None => self.plain(path),
        }
    }

    fn any_string_value(&self, pred: &dyn Fn(&str) -> bool) -> bool {
        self.all_string_values().iter().any(|value| pred(value))
    }

    fn all_string_values(&self) -> Vec<Cow<'_, str>> {
        [
            "Image",
            "CommandLine",
            "CurrentDirectory",
            "TargetFilename",
            "SourceFilename",
        ]
        .into_iter()
        .filter_map(|field| match self.get_field(field) {
            Some(EventValue::Str(text)) => Some(text),
            _ => None,
        })
        .collect()
    }

    /// Of no use here: no correlation rule is loaded, and no rule embeds its event.
    fn to_json(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}
