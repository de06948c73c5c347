//! A record of the kernel's, as it travels: one header, one payload per kind.
//!
//! Everything here borrows from the bytes that it was read from. Strings that a
//! user of the host chose (paths, command lines, names) are raw bytes; show them
//! through [`crate::text::escape`] only.

use serde::{Deserialize, Serialize};

use crate::kind::Kind;

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

/// What was done.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// See [`Fork`].
    Fork(Fork),
    /// See [`Exec`].
    Exec(Exec<'a>),
    /// See [`Exit`].
    Exit(Exit),
    /// See [`Chunk`].
    Chunk(Chunk<'a>),
    /// See [`Open`].
    Open(Open<'a>),
    /// See [`Named`].
    Unlink(Named<'a>),
    /// See [`Rename`].
    Rename(Rename<'a>),
    /// See [`Chmod`].
    Chmod(Chmod<'a>),
    /// See [`Socket`].
    Connect(Socket<'a>),
    /// See [`Socket`].
    Accept(Socket<'a>),
    /// See [`Socket`].
    Bind(Socket<'a>),
    /// See [`Socket`].
    Listen(Socket<'a>),
    /// See [`Creds`].
    Creds(Creds),
    /// See [`Ptrace`].
    Ptrace(Ptrace),
    /// See [`Memfd`].
    Memfd(Memfd<'a>),
    /// See [`DupSocket`].
    DupSocket(DupSocket<'a>),
    /// See [`Mount`].
    Mount(Mount<'a>),
    /// See [`Module`].
    Module(Module<'a>),
    /// See [`Bpf`].
    Bpf(Bpf),
    /// A kind that this version does not know; its payload was skipped. The header
    /// still counts in the ledger.
    Unknown {
        /// The kind's wire value.
        kind: u16,
        /// The stream that numbers it.
        stream: crate::kind::Stream,
    },
}

impl Event<'_> {
    /// The kind of this event, if this version knows it.
    pub fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Fork(_) => Kind::Fork,
            Self::Exec(_) => Kind::Exec,
            Self::Exit(_) => Kind::Exit,
            Self::Chunk(_) => Kind::Chunk,
            Self::Open(_) => Kind::Open,
            Self::Unlink(_) => Kind::Unlink,
            Self::Rename(_) => Kind::Rename,
            Self::Chmod(_) => Kind::Chmod,
            Self::Connect(_) => Kind::Connect,
            Self::Accept(_) => Kind::Accept,
            Self::Bind(_) => Kind::Bind,
            Self::Listen(_) => Kind::Listen,
            Self::Creds(_) => Kind::Creds,
            Self::Ptrace(_) => Kind::Ptrace,
            Self::Memfd(_) => Kind::Memfd,
            Self::DupSocket(_) => Kind::DupSocket,
            Self::Mount(_) => Kind::Mount,
            Self::Module(_) => Kind::Module,
            Self::Bpf(_) => Kind::Bpf,
            Self::Unknown { .. } => return None,
        })
    }

    /// Numbers of its stream that this event took: one, or of a chunk one a syscall.
    pub fn numbers(&self) -> u64 {
        match self {
            Self::Chunk(chunk) => u64::from(chunk.count),
            _ => 1,
        }
    }

    /// The stream that numbers this event.
    pub fn stream(&self) -> crate::kind::Stream {
        match self {
            Self::Unknown { stream, .. } => *stream,
            known => known
                .kind()
                .map_or(crate::kind::Stream::Collector, Kind::stream),
        }
    }
}

/// A process (or a thread of one) came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// Process of the new thread; the caller's own when `thread`.
    pub child_tgid: u32,
    /// The new thread.
    pub child_pid: u32,
    /// Start of the new thread, nanoseconds since boot.
    pub child_start_ns: u64,
    /// The new thread joined the caller's process.
    pub thread: bool,
}

/// A program was started. The header shows the process after it (comm, credentials).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec<'a> {
    /// The image that the kernel runs, as an absolute path walked from its dentry in the
    /// mount namespace of the process.
    #[serde(with = "serde_bytes", borrow)]
    pub path: &'a [u8],
    /// The arguments, each ended by NUL, at most 4 KiB of them.
    #[serde(with = "serde_bytes", borrow)]
    pub argv: &'a [u8],
    /// Length of all arguments in the process, bytes, less what redaction took; more than
    /// `argv` holds when cut.
    pub argv_bytes: u32,
    /// Working directory, absolute.
    #[serde(with = "serde_bytes", borrow)]
    pub cwd: &'a [u8],
    /// The name that the program was asked for by: for a script, the script.
    #[serde(with = "serde_bytes", borrow)]
    pub filename: &'a [u8],
    /// Inode of the image.
    pub ino: u64,
    /// Device of the image, the kernel's own encoding (major << 20 | minor).
    pub dev: u32,
    /// Bits of [`exec_flags`].
    pub flags: u32,
    /// Effective user and group after the exec, initial namespace.
    pub euid: u32,
    /// See `euid`.
    pub egid: u32,
    /// Effective capabilities after the exec.
    pub cap_effective: u64,
    /// User who logged in (audit), `u32::MAX` if unset.
    pub loginuid: u32,
    /// Session id of the process (pid of its leader).
    pub session: u32,
    /// Controlling terminal, the kernel's device number; 0 if none.
    pub tty: u32,
    /// What descriptors 0, 1 and 2 are: values of [`stdio`].
    pub stdio: [u8; 3],
    /// Remote address and port of the first of them that is a connected inet socket
    /// (4 or 16 bytes; empty if none).
    #[serde(with = "serde_bytes", borrow)]
    pub stdio_peer: &'a [u8],
    /// See `stdio_peer`.
    pub stdio_peer_port: u16,
}

/// Bits of [`Exec::flags`].
pub mod exec_flags {
    /// The image has no name left (`i_nlink` is 0), a memfd among them.
    pub const DELETED: u32 = 1;
    /// The image is a memfd.
    pub const MEMFD: u32 = 2;
    /// The image carries setuid or setgid and changed the credentials.
    pub const SECURE: u32 = 4;
    /// The path was longer than the record can hold; its end is what is kept.
    pub const PATH_CUT: u32 = 8;
    /// The working directory was cut the same way.
    pub const CWD_CUT: u32 = 16;
    /// The arguments could not be read.
    pub const ARGV_UNREADABLE: u32 = 32;
    /// Secrets among the arguments are `***`; see [`crate::redact`].
    pub const REDACTED: u32 = 64;
}

/// Values of [`Exec::stdio`].
pub mod stdio {
    /// Closed.
    pub const NONE: u8 = 0;
    /// A regular file or directory.
    pub const FILE: u8 = 1;
    /// A terminal.
    pub const TTY: u8 = 2;
    /// A pipe or FIFO.
    pub const PIPE: u8 = 3;
    /// A Unix socket.
    pub const UNIX: u8 = 4;
    /// An IPv4 or IPv6 socket that is connected.
    pub const INET: u8 = 5;
    /// `/dev/null` and other character devices.
    pub const DEVICE: u8 = 6;
    /// Something else.
    pub const OTHER: u8 = 7;
}

/// A thread ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Wait status of the thread: `code << 8 | signal`.
    pub status: u32,
    /// Start of this thread, nanoseconds since boot.
    pub thread_start_ns: u64,
    /// The whole process ended with it.
    pub process: bool,
}

/// A piece of one CPU's syscall sequence; see [`crate::words`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk<'a> {
    /// Syscalls in it; they have the numbers `n .. n + count`.
    pub count: u32,
    /// Jiffies from its opening to its closing.
    pub ticks: u32,
    /// The 16-bit little-endian words.
    #[serde(with = "serde_bytes", borrow)]
    pub words: &'a [u8],
}

/// A file was opened for writing, or created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open<'a> {
    /// The file that the kernel opened, absolute, from its dentry.
    #[serde(with = "serde_bytes", borrow)]
    pub path: &'a [u8],
    /// `f_flags` of the open file (O_WRONLY, O_APPEND…).
    pub flags: u32,
    /// `i_mode` of the file: type and permissions.
    pub mode: u32,
    /// Inode.
    pub ino: u64,
    /// Device, the kernel's encoding.
    pub dev: u32,
    /// This call created it.
    pub created: bool,
    /// The path was cut; its end is what is kept.
    pub cut: bool,
}

/// A path that was given to a call and not opened by it.
///
/// Base tier: `dir` is walked from the kernel's objects, `path` is the caller's
/// string as it stood at the end of the call; nothing resolves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named<'a> {
    /// Directory that a relative `path` starts from, absolute; empty for an absolute one.
    #[serde(with = "serde_bytes", borrow)]
    pub dir: &'a [u8],
    /// The path as given.
    #[serde(with = "serde_bytes", borrow)]
    pub path: &'a [u8],
    /// `path` is the kernel's own, absolute and free of symlinks.
    pub resolved: bool,
}

/// A file got another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rename<'a> {
    /// The old name.
    #[serde(borrow)]
    pub from: Named<'a>,
    /// The new name.
    #[serde(borrow)]
    pub to: Named<'a>,
    /// Flags of renameat2.
    pub flags: u32,
}

/// A file's permissions were changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chmod<'a> {
    /// The file.
    #[serde(borrow)]
    pub file: Named<'a>,
    /// The new mode as asked for.
    pub mode: u32,
    /// Inode and device where a descriptor was given, else 0.
    pub ino: u64,
    /// See `ino`.
    pub dev: u32,
}

/// A socket and both its ends, from the kernel's own socket after the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket<'a> {
    /// AF_INET 2, AF_INET6 10, AF_UNIX 1, others.
    pub family: u16,
    /// SOCK_STREAM 1, SOCK_DGRAM 2…
    pub kind: u16,
    /// IPPROTO_TCP 6, IPPROTO_UDP 17…
    pub protocol: u16,
    /// Local address: 4 or 16 bytes, or the path of a Unix socket.
    #[serde(with = "serde_bytes", borrow)]
    pub local: &'a [u8],
    /// Local port, host order.
    pub local_port: u16,
    /// Remote address, as `local`.
    #[serde(with = "serde_bytes", borrow)]
    pub remote: &'a [u8],
    /// Remote port, host order.
    pub remote_port: u16,
    /// Result of the call: a descriptor, 0, or a negative errno.
    pub ret: i32,
    /// The remote end is the caller's string, because the kernel kept none (a refused
    /// connection).
    pub as_given: bool,
}

/// Credentials after a call that sets them, in the initial user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creds {
    /// Number of the syscall, x86-64 table.
    pub syscall: u16,
    /// Result of the call.
    pub ret: i32,
    /// Real, effective, saved, file-system user.
    pub uids: [u32; 4],
    /// Real, effective, saved, file-system group.
    pub gids: [u32; 4],
    /// Effective capabilities.
    pub cap_effective: u64,
    /// Depth of the process' user namespace; 0 is the initial one.
    pub user_ns_level: u32,
}

/// ptrace was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ptrace {
    /// PTRACE_ATTACH 16, PTRACE_POKETEXT 4…
    pub request: u64,
    /// The target as the caller named it, in the caller's pid namespace.
    pub target: u32,
    /// Result of the call.
    pub ret: i32,
}

/// memfd_create was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memfd<'a> {
    /// The name that it was given.
    #[serde(with = "serde_bytes", borrow)]
    pub name: &'a [u8],
    /// MFD_CLOEXEC 1, MFD_ALLOW_SEALING 2…
    pub flags: u32,
    /// Inode of the new file, 0 when the call failed.
    pub ino: u64,
    /// Descriptor, or a negative errno.
    pub ret: i32,
}

/// A socket became descriptor 0, 1 or 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DupSocket<'a> {
    /// The descriptor that was copied.
    pub old_fd: i32,
    /// The standard descriptor that it became.
    pub new_fd: i32,
    /// The socket.
    #[serde(borrow)]
    pub socket: Socket<'a>,
}

/// mount or move_mount was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount<'a> {
    /// What is mounted, as given.
    #[serde(with = "serde_bytes", borrow)]
    pub source: &'a [u8],
    /// Where, as given.
    #[serde(with = "serde_bytes", borrow)]
    pub target: &'a [u8],
    /// Type of file system, as given.
    #[serde(with = "serde_bytes", borrow)]
    pub fstype: &'a [u8],
    /// MS_* of mount, or MOVE_MOUNT_*.
    pub flags: u64,
    /// Result of the call.
    pub ret: i32,
}

/// init_module, finit_module or delete_module was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module<'a> {
    /// Number of the syscall, x86-64 table.
    pub syscall: u16,
    /// File that finit_module read (absolute), or the name that delete_module removed.
    #[serde(with = "serde_bytes", borrow)]
    pub name: &'a [u8],
    /// Result of the call.
    pub ret: i32,
}

/// bpf() was called to create, load, attach or pin. Look-ups and test runs are not
/// events of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bpf {
    /// BPF_MAP_CREATE 0, BPF_PROG_LOAD 5, BPF_LINK_CREATE 28…
    pub command: u32,
    /// Type of the map or program where the command has one.
    pub object_type: u32,
    /// Result of the call.
    pub ret: i32,
}
