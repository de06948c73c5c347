//! Credentials, other processes, the kernel.

use serde::{Deserialize, Serialize};

/// Another process, as the kernel found it: in the initial pid namespace. All empty where the
/// kernel could not look it up for the sensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target<'a> {
    /// Process id.
    pub tgid: u32,
    /// Thread id.
    pub pid: u32,
    /// Start of the process, nanoseconds since boot.
    pub start_ns: u64,
    /// Real user.
    pub uid: u32,
    /// The thread's name; the thread chose it.
    #[serde(with = "serde_bytes", borrow)]
    pub comm: &'a [u8],
}

/// Who a process is, in the initial user namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// Real, effective, saved, file-system user.
    pub uids: [u32; 4],
    /// Real, effective, saved, file-system group.
    pub gids: [u32; 4],
    /// Effective capabilities.
    pub cap_effective: u64,
    /// Permitted capabilities.
    pub cap_permitted: u64,
    /// Inode number of the user namespace, as `/proc/PID/ns/user` shows it.
    pub user_ns: u32,
    /// Its depth; 0 is the initial one.
    pub user_ns_level: u32,
}

/// Credentials after a call that sets them, in the initial user namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creds {
    /// Number of the syscall, x86-64 table; 0xffff for a 32-bit call.
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
    /// Permitted capabilities.
    #[serde(default)]
    pub cap_permitted: u64,
    /// Inode number of the user namespace.
    #[serde(default)]
    pub user_ns: u32,
    /// What was before, if [`Creds::before_known`]: the task was seen since its fork or an
    /// earlier change.
    #[serde(default)]
    pub before: Ids,
    /// See `before`.
    #[serde(default)]
    pub before_known: bool,
}

/// ptrace was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ptrace<'a> {
    /// PTRACE_ATTACH 16, PTRACE_POKETEXT 4…
    pub request: u64,
    /// The target as the caller named it, in the caller's pid namespace.
    pub target: u32,
    /// Result of the call.
    pub ret: i32,
    /// Who that is.
    #[serde(borrow, default)]
    pub process: Target<'a>,
}

/// memfd_create was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// mount or move_mount was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bpf {
    /// BPF_MAP_CREATE 0, BPF_PROG_LOAD 5, BPF_LINK_CREATE 28…
    pub command: u32,
    /// Type of the map or program where the command has one.
    pub object_type: u32,
    /// Result of the call.
    pub ret: i32,
}

/// Memory of another process was read or written (process_vm_readv, process_vm_writev).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmAccess<'a> {
    /// It was written, not read.
    pub write: bool,
    /// The target as the caller named it, in the caller's pid namespace.
    pub target: u32,
    /// Bytes, or a negative errno.
    pub ret: i64,
    /// Who that is.
    #[serde(borrow)]
    pub process: Target<'a>,
}

/// pivot_root was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PivotRoot<'a> {
    /// The new root, as given.
    #[serde(with = "serde_bytes", borrow)]
    pub new_root: &'a [u8],
    /// Where the old one goes, as given.
    #[serde(with = "serde_bytes", borrow)]
    pub put_old: &'a [u8],
    /// Result of the call.
    pub ret: i32,
}

/// A process got namespaces of its own: by unshare, or from the clone that made it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unshare<'a> {
    /// CLONE_NEW* bits: asked for by unshare, found by comparison for a clone.
    pub flags: u64,
    /// Result of the call.
    pub ret: i32,
    /// Inode number of the user namespace afterwards.
    pub user_ns: u32,
    /// Its depth; 0 is the initial one.
    pub user_ns_level: u32,
    /// The child that a clone gave them; empty for unshare.
    #[serde(borrow)]
    pub child: Target<'a>,
}

/// setns was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetNs<'a> {
    /// Kinds of namespaces that were entered, CLONE_NEW* bits.
    pub namespaces: u64,
    /// Inode number of the one that the descriptor stands for; 0 for a pidfd.
    pub ns: u32,
    /// Those of `namespaces` that are the initial ones, the host's.
    pub of_init: u64,
    /// Result of the call.
    pub ret: i32,
    /// The pidfd's process, if it was one.
    #[serde(borrow)]
    pub process: Target<'a>,
}

/// Memory was made executable that is or was writable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecMemory<'a> {
    /// mmap 9, mprotect 10, pkey_mprotect 329; 0xffff for a 32-bit call.
    pub syscall: u16,
    /// Where it begins.
    pub address: u64,
    /// Bytes.
    pub length: u64,
    /// PROT_* bits that were asked for.
    pub protection: u32,
    /// Its mapping was written to: what is executed need not be what a file holds.
    pub written: bool,
    /// The file that is mapped there; empty for anonymous memory.
    #[serde(with = "serde_bytes", borrow)]
    pub path: &'a [u8],
    /// 0, or a negative errno.
    pub ret: i32,
}

/// A signal was sent to another user's process, or to the sensor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kill<'a> {
    /// Number of the signal.
    pub signal: u32,
    /// 0 delivered, 1 ignored, 2 one is pending already, 3 and 4 queue full.
    pub result: u32,
    /// To whom.
    #[serde(borrow)]
    pub process: Target<'a>,
}

/// keyctl was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyctl {
    /// KEYCTL_JOIN_SESSION_KEYRING 1, KEYCTL_READ 11…
    pub operation: u32,
    /// Its first argument, most often a key.
    pub key: u32,
    /// Result of the call.
    pub ret: i64,
}

/// kexec_load or kexec_file_load was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kexec<'a> {
    /// KEXEC_* flags.
    pub flags: u64,
    /// The kernel's file, absolute, where one was given.
    #[serde(with = "serde_bytes", borrow)]
    pub path: &'a [u8],
    /// Result of the call.
    pub ret: i32,
}

/// perf_event_open was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerfEvent<'a> {
    /// PERF_TYPE_HARDWARE 0, PERF_TYPE_TRACEPOINT 2…
    pub event_type: u32,
    /// Which event of that type.
    pub config: u64,
    /// CPU that is watched, −1 for all.
    pub cpu: i32,
    /// Descriptor, or a negative errno.
    pub ret: i32,
    /// The process that is watched, if one was named.
    #[serde(borrow)]
    pub process: Target<'a>,
}

/// userfaultfd was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Userfaultfd {
    /// UFFD_USER_MODE_ONLY 1, O_CLOEXEC, O_NONBLOCK.
    pub flags: u32,
    /// Descriptor, or a negative errno.
    pub ret: i32,
}

/// io_uring_setup was called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoUring {
    /// Entries that were asked for.
    pub entries: u32,
    /// IORING_SETUP_* flags.
    pub flags: u32,
    /// Descriptor, or a negative errno.
    pub ret: i32,
}

/// An operation was submitted to io_uring that elsewhere takes a syscall. What came of it is
/// not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoUringOp<'a> {
    /// IORING_OP_*; see [`crate::show::operation`].
    pub operation: u8,
    /// The descriptor that it is for, or that a relative path starts from.
    pub fd: i32,
    /// A path, of a rename or link the old one: the kernel's copy, not resolved.
    #[serde(with = "serde_bytes", borrow)]
    pub path: &'a [u8],
    /// The new path, or where a symlink is made.
    #[serde(with = "serde_bytes", borrow)]
    pub to: &'a [u8],
    /// Family of a new socket or of the address.
    pub family: u16,
    /// Type of a new socket.
    pub socket_type: u32,
    /// Address of a connect: 4 or 16 bytes, or a Unix path of at most 26.
    #[serde(with = "serde_bytes", borrow)]
    pub remote: &'a [u8],
    /// Its port.
    pub remote_port: u16,
}

/// The first 32-bit call of a 64-bit process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compat {
    /// Its number, in the 32-bit table.
    pub syscall: u16,
}
