//! Process life and sequences.

use serde::{Deserialize, Serialize};

/// A process (or a thread of one) came to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// When the image's inode last changed (its ctime), seconds and nanoseconds since 1970;
    /// no utimes() sets it back.
    #[serde(default)]
    pub ctime: (i64, u32),
    /// The program that runs a script (or what binfmt_misc knows), as its first line names it;
    /// `filename` is the script then. Empty for a plain program.
    #[serde(with = "serde_bytes", borrow, default)]
    pub interpreter: &'a [u8],
    /// Effective capabilities that it has now and had not before, if
    /// [`exec_flags::BEFORE_KNOWN`].
    #[serde(default)]
    pub cap_gained: u64,
    /// Effective user before, likewise.
    #[serde(default)]
    pub euid_before: u32,
    /// Depth of the process' user namespace; 0 is the initial one.
    #[serde(default)]
    pub user_ns_level: u32,
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
    /// `euid_before` and `cap_gained` are known: the process was seen before.
    pub const BEFORE_KNOWN: u32 = 64;
    /// Secrets among the arguments are `***`; see [`crate::redact`].
    pub const REDACTED: u32 = 128;
    /// The collector itself; only in what it tells of processes that were there before.
    pub const COLLECTOR: u32 = 256;
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Wait status of the thread: `code << 8 | signal`.
    pub status: u32,
    /// Start of this thread, nanoseconds since boot.
    pub thread_start_ns: u64,
    /// The whole process ended with it.
    pub process: bool,
}

/// What a cgroup's id stands for. The header speaks of who made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup<'a> {
    /// Id in the unified hierarchy: [`Task::cgroup_id`](super::Task::cgroup_id) of those inside.
    pub id: u64,
    /// Path below the hierarchy's root, begins with a slash.
    #[serde(with = "serde_bytes", borrow)]
    pub path: &'a [u8],
}

/// A piece of one CPU's syscall sequence; see [`crate::words`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk<'a> {
    /// Syscalls in it; they have the numbers `n .. n + count`.
    pub count: u32,
    /// Jiffies from its opening to its closing.
    pub ticks: u32,
    /// The 16-bit little-endian words.
    #[serde(with = "serde_bytes", borrow)]
    pub words: &'a [u8],
}
