//! What a record can be: its kind, the stream that numbers it, the class that
//! decides what is shed first.

use serde::{Deserialize, Serialize};

/// A stream of numbered records; one counter per CPU and load of the programs.
///
/// The numbers are wire values: `bpf/abi.h` has the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[repr(u8)]
pub enum Stream {
    /// Process life: fork, exec, exit. Ring `syscall_events`.
    Syscall = 0,
    /// Chunks of syscall sequences; one number per syscall. Ring `syscall_events`.
    Sequence = 1,
    /// Ring `file_events`.
    File = 2,
    /// Ring `network_events`.
    Network = 3,
    /// Ring `security_events`.
    Security = 4,
    /// What the collector itself says: snapshot, coverage, tampering.
    Collector = 5,
}

impl Stream {
    /// Every stream, in wire order.
    pub const ALL: [Self; 6] = [
        Self::Syscall,
        Self::Sequence,
        Self::File,
        Self::Network,
        Self::Security,
        Self::Collector,
    ];

    /// The stream's name as it is shown and stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syscall => "syscall",
            Self::Sequence => "sequence",
            Self::File => "file",
            Self::Network => "network",
            Self::Security => "security",
            Self::Collector => "collector",
        }
    }
}

impl From<Stream> for u8 {
    fn from(stream: Stream) -> Self {
        stream as Self
    }
}

impl TryFrom<u8> for Stream {
    type Error = String;

    fn try_from(value: u8) -> Result<Self, String> {
        Self::ALL
            .get(usize::from(value))
            .copied()
            .ok_or_else(|| format!("unknown stream {value}"))
    }
}

/// How dear a batch is. Under pressure the highest number goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[repr(u8)]
pub enum Class {
    /// Process life, credentials, security, the collector's own word.
    Essential = 0,
    /// Files and network.
    Ordinary = 1,
    /// Syscall sequences.
    Sequences = 2,
}

impl Class {
    /// Every class, dearest first.
    pub const ALL: [Self; 3] = [Self::Essential, Self::Ordinary, Self::Sequences];
}

impl From<Class> for u8 {
    fn from(class: Class) -> Self {
        class as Self
    }
}

impl TryFrom<u8> for Class {
    type Error = String;

    fn try_from(value: u8) -> Result<Self, String> {
        Self::ALL
            .get(usize::from(value))
            .copied()
            .ok_or_else(|| format!("unknown class {value}"))
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal, $stream:ident;)*) => {
        /// The kind of a record. Append only; the numbers are wire values.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Kind { $($(#[$doc])* $name = $value,)* }

        impl Kind {
            /// Every kind, in wire order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The kind of a wire value, if this version knows it.
            pub const fn from_wire(value: u16) -> Option<Self> {
                match value { $($value => Some(Self::$name),)* _ => None }
            }

            /// The name that users see, in `ravn events` and in rules.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The stream that numbers this kind.
            pub const fn stream(self) -> Stream {
                match self { $(Self::$name => Stream::$stream,)* }
            }
        }
    };
}

kinds! {
    /// A process or thread was created.
    Fork = 1, "fork", Syscall;
    /// A program was started in a process.
    Exec = 2, "exec", Syscall;
    /// A thread ended; the last of its process ends the process.
    Exit = 3, "exit", Syscall;
    /// A cgroup was made.
    Cgroup = 4, "cgroup", Syscall;
    /// A piece of one CPU's syscall sequence.
    Chunk = 16, "sequence", Sequence;
    /// A file was opened for writing or created.
    Open = 32, "open", File;
    /// A name was removed (unlink, rmdir).
    Unlink = 33, "unlink", File;
    /// A file was renamed.
    Rename = 34, "rename", File;
    /// A file's mode was changed.
    Chmod = 35, "chmod", File;
    /// A file got one more name.
    Link = 36, "link", File;
    /// A symlink was made.
    Symlink = 37, "symlink", File;
    /// A file's owner or group was changed.
    Chown = 38, "chown", File;
    /// A file's length was set.
    Truncate = 39, "truncate", File;
    /// An extended attribute was set or removed.
    SetXattr = 40, "setxattr", File;
    /// A device, FIFO, socket or file was made by mknod.
    Mknod = 41, "mknod", File;
    /// A sensitive file was opened for reading.
    Read = 42, "read", File;
    /// A socket was connected, or a connection was tried.
    Connect = 48, "connect", Network;
    /// A connection was accepted.
    Accept = 49, "accept", Network;
    /// A socket was bound to an address.
    Bind = 50, "bind", Network;
    /// A socket was made to listen.
    Listen = 51, "listen", Network;
    /// An unconnected UDP socket sent to an address for the first time.
    Send = 52, "send", Network;
    /// A TCP connection ended.
    Close = 53, "close", Network;
    /// A name server was asked.
    Dns = 54, "dns", Network;
    /// A packet socket or a raw inet socket was made.
    RawSocket = 55, "raw_socket", Network;
    /// Credentials were set (the setuid and setgid families, capset), or changed otherwise.
    Creds = 64, "creds", Security;
    /// ptrace was called.
    Ptrace = 65, "ptrace", Security;
    /// An anonymous in-memory file was created.
    Memfd = 66, "memfd", Security;
    /// A socket was made standard input, output or error.
    DupSocket = 67, "dup_socket", Security;
    /// A file system was mounted or moved.
    Mount = 68, "mount", Security;
    /// A kernel module was loaded or removed.
    Module = 69, "module", Security;
    /// bpf() was called to load, create, attach or pin.
    Bpf = 70, "bpf", Security;
    /// Memory of another process was read or written by process_vm_readv or _writev.
    VmWrite = 71, "vm_write", Security;
    /// pivot_root was called.
    PivotRoot = 72, "pivot_root", Security;
    /// A process got namespaces of its own.
    Unshare = 73, "unshare", Security;
    /// A process entered other namespaces.
    SetNs = 74, "setns", Security;
    /// Memory was made executable that is or was writable.
    ExecMemory = 75, "exec_memory", Security;
    /// A signal was sent to another user's process, or to the sensor.
    Kill = 76, "kill", Security;
    /// keyctl was called.
    Keyctl = 77, "keyctl", Security;
    /// Another kernel was loaded, to be started without a boot.
    Kexec = 78, "kexec", Security;
    /// perf_event_open was called.
    PerfEventOpen = 79, "perf_event_open", Security;
    /// userfaultfd was called.
    Userfaultfd = 80, "userfaultfd", Security;
    /// An io_uring was set up.
    IoUring = 81, "io_uring", Security;
    /// An operation was submitted to io_uring that elsewhere takes a syscall.
    IoUringOp = 82, "io_uring_op", Security;
    /// A 64-bit process made its first 32-bit call.
    Compat = 83, "compat", Security;
    /// A process that was there before the sensor.
    Process = 96, "process", Collector;
    /// Something of the sensor's own was taken away or changed behind its back.
    Tampering = 98, "tampering", Collector;
    /// A cgroup that was there before the sensor.
    CgroupFound = 99, "cgroup_found", Collector;
}

impl Kind {
    /// The class of batches that this kind travels in.
    pub const fn class(self) -> Class {
        match self.stream() {
            Stream::Syscall | Stream::Security | Stream::Collector => Class::Essential,
            Stream::File | Stream::Network => Class::Ordinary,
            Stream::Sequence => Class::Sequences,
        }
    }
}

/// Why records never reached the ring or Redis; the second number of a count in
/// a batch's `lost`. The first four are the kernel's, `bpf/abi.h` has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[repr(u8)]
pub enum Reason {
    /// The ring buffer had no room. Numbered.
    RingFull = 0,
    /// A scratch area could not hold the record. Numbered.
    ScratchFull = 1,
    /// A program ran inside another on the same CPU. Takes no number.
    Recursion = 2,
    /// A process was over its budget for low-value kinds. Numbered.
    Budget = 3,
    /// The collector's buffer was full while Redis was away. Numbered.
    BufferFull = 4,
    /// Redis was out of memory and the list was trimmed. Numbered.
    RedisOom = 5,
    /// The list outgrew its bound with essential batches alone. Numbered.
    ListFull = 6,
    /// The collector could not read a record that its own program wrote. Numbered.
    Malformed = 7,
    /// The analyzer could not decode a batch. Seen as a gap.
    Undecodable = 8,
}

impl Reason {
    /// Every reason, in wire order.
    pub const ALL: [Self; 9] = [
        Self::RingFull,
        Self::ScratchFull,
        Self::Recursion,
        Self::Budget,
        Self::BufferFull,
        Self::RedisOom,
        Self::ListFull,
        Self::Malformed,
        Self::Undecodable,
    ];

    /// Whether what was lost had taken a number of its stream first, so that it
    /// shows as a gap as well.
    pub const fn numbered(self) -> bool {
        !matches!(self, Self::Recursion)
    }

    /// The reason's name as it is shown and stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::ScratchFull => "scratch_full",
            Self::Recursion => "recursion",
            Self::Budget => "budget",
            Self::BufferFull => "buffer_full",
            Self::RedisOom => "redis_oom",
            Self::ListFull => "list_full",
            Self::Malformed => "malformed",
            Self::Undecodable => "undecodable",
        }
    }
}

impl From<Reason> for u8 {
    fn from(reason: Reason) -> Self {
        reason as Self
    }
}

impl TryFrom<u8> for Reason {
    type Error = String;

    fn try_from(value: u8) -> Result<Self, String> {
        Self::ALL
            .get(usize::from(value))
            .copied()
            .ok_or_else(|| format!("unknown reason {value}"))
    }
}
