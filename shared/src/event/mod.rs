//! A record of the kernel's, as it travels: one header, one payload per kind.
//!
//! Everything here borrows from the bytes that it was read from. Strings that a
//! user of the host chose (paths, command lines, names) are raw bytes; show them
//! through [`crate::text::escape`] only.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::kind::{Kind, Stream};

mod file;
mod network;
mod own;
mod process;
mod security;

pub use file::{Chmod, Chown, Mknod, Named, Open, Rename, SetXattr, Symlink, Truncate};
pub use network::{Close, Dns, DupSocket, RawSocket, Socket};
pub use own::Tampering;
pub use process::{Cgroup, Chunk, Exec, Exit, Fork, exec_flags, stdio};
pub use security::{
    Bpf, Compat, Creds, ExecMemory, Ids, IoUring, IoUringOp, Kexec, Keyctl, Kill, Memfd, Module,
    Mount, PerfEvent, PivotRoot, Ptrace, SetNs, Target, Unshare, Userfaultfd, VmAccess,
};

/// One record: what happened, who did it, where it stands among all others.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<'a> {
    /// The CPU that it was made on; with the kind's stream it names the counter.
    pub cpu: u16,
    /// Its number in the stream of its kind on that CPU, from 0. A chunk's number is
    /// that of its first syscall.
    pub n: u64,
    /// CLOCK_BOOTTIME, nanoseconds. Of a chunk: when it was opened.
    pub time_ns: u64,
    /// Who did it; all zero for a chunk, whose words name their threads.
    pub task: Task<'a>,
    /// Where it stands in that CPU's syscall sequence.
    pub place: Place,
    /// What was done.
    pub event: Event<'a>,
}

/// The thread that a record speaks of, as it was at that time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task<'a> {
    /// Process id, in the initial pid namespace.
    pub tgid: u32,
    /// Thread id, in the initial pid namespace.
    pub pid: u32,
    /// Start of the process (its group leader's `start_boottime`), nanoseconds.
    pub start_ns: u64,
    /// Process id of the real parent.
    pub parent_tgid: u32,
    /// Start of the parent process, nanoseconds.
    pub parent_start_ns: u64,
    /// Real user id, in the initial user namespace.
    pub uid: u32,
    /// Real group id, in the initial user namespace.
    pub gid: u32,
    /// Id of the cgroup in the unified hierarchy.
    pub cgroup_id: u64,
    /// The kernel's name of the thread, up to 15 bytes; the thread chose it.
    #[serde(with = "serde_bytes", borrow)]
    pub comm: &'a [u8],
}

/// A place in one CPU's syscall sequence: after `word` words of the chunk whose first
/// number is `first_n`. It orders records and syscalls exactly, without a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// First syscall number of the chunk that was open.
    pub first_n: u64,
    /// Number of 16-bit words that the chunk held.
    pub word: u32,
}

macro_rules! events {
    ($($name:ident($payload:ty);)*) => {
        /// What was done.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event<'a> {
            $(
                #[doc = concat!("See [`Kind::", stringify!($name), "`].")]
                $name($payload),
            )*
            /// A kind that this version does not know; its payload was skipped. The header
            /// still counts in the ledger.
            Unknown {
                /// The kind's wire value.
                kind: u16,
                /// The stream that numbers it.
                stream: Stream,
            },
        }

        impl<'a> Event<'a> {
            /// The kind of this event, if this version knows it.
            pub fn kind(&self) -> Option<Kind> {
                match self {
                    $(Self::$name(_) => Some(Kind::$name),)*
                    Self::Unknown { .. } => None,
                }
            }

            /// An event of a kind with nothing in it: all fields zero or empty.
            pub fn empty(kind: Kind) -> Self {
                match kind {
                    $(Kind::$name => Self::$name(Default::default()),)*
                }
            }

            /// Writes the payload alone: one value, positional.
            pub(crate) fn serialize_payload<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$name(payload) => payload.serialize(output),)*
                    Self::Unknown { .. } => ().serialize(output),
                }
            }

            /// Reads the payload of a kind.
            pub(crate) fn deserialize_payload<D: Deserializer<'a>>(
                kind: Kind,
                input: D,
            ) -> Result<Self, D::Error> {
                match kind {
                    $(Kind::$name => Deserialize::deserialize(input).map(Self::$name),)*
                }
            }
        }
    };
}

events! {
    Fork(Fork);
    Exec(Exec<'a>);
    Exit(Exit);
    Cgroup(Cgroup<'a>);
    Chunk(Chunk<'a>);
    Open(Open<'a>);
    Unlink(Named<'a>);
    Rename(Rename<'a>);
    Chmod(Chmod<'a>);
    Link(Rename<'a>);
    Symlink(Symlink<'a>);
    Chown(Chown<'a>);
    Truncate(Truncate<'a>);
    SetXattr(SetXattr<'a>);
    Mknod(Mknod<'a>);
    Read(Open<'a>);
    Connect(Socket<'a>);
    Accept(Socket<'a>);
    Bind(Socket<'a>);
    Listen(Socket<'a>);
    Send(Socket<'a>);
    Close(Close<'a>);
    Dns(Dns<'a>);
    RawSocket(RawSocket);
    Creds(Creds);
    Ptrace(Ptrace<'a>);
    Memfd(Memfd<'a>);
    DupSocket(DupSocket<'a>);
    Mount(Mount<'a>);
    Module(Module<'a>);
    Bpf(Bpf);
    VmWrite(VmAccess<'a>);
    PivotRoot(PivotRoot<'a>);
    Unshare(Unshare<'a>);
    SetNs(SetNs<'a>);
    ExecMemory(ExecMemory<'a>);
    Kill(Kill<'a>);
    Keyctl(Keyctl);
    Kexec(Kexec<'a>);
    PerfEventOpen(PerfEvent<'a>);
    Userfaultfd(Userfaultfd);
    IoUring(IoUring);
    IoUringOp(IoUringOp<'a>);
    Compat(Compat);
    Process(Exec<'a>);
    Tampering(Tampering<'a>);
    CgroupFound(Cgroup<'a>);
}

impl Event<'_> {
    /// Numbers of its stream that this event took: one, or of a chunk one a syscall.
    pub fn numbers(&self) -> u64 {
        match self {
            Self::Chunk(chunk) => u64::from(chunk.count),
            _ => 1,
        }
    }

    /// The stream that numbers this event.
    pub fn stream(&self) -> Stream {
        match self {
            Self::Unknown { stream, .. } => *stream,
            known => known.kind().map_or(Stream::Collector, Kind::stream),
        }
    }
}
