//! What an event is to a rule: the `category` of its logsource.

use ravn_shared::event::Event as What;
use rsigma_parser::LogSource;

/// A kind of event as rules know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Category {
    /// Exec.
    ProcessCreation,
    /// Open for writing or creating, and the new name of a rename or link.
    FileEvent,
    /// Unlink.
    FileDelete,
    /// Rename.
    FileRename,
    /// Connect and accept.
    NetworkConnection,
    /// A question to a name server.
    DnsQuery,
    /// `service: ravn` from here on.
    Chmod,
    /// Bind and listen.
    Listen,
    /// Changed credentials, and any record that shows root that nothing explains.
    Creds,
    /// [`Kind::Ptrace`](ravn_shared::kind::Kind::Ptrace).
    Ptrace,
    /// [`Kind::Memfd`](ravn_shared::kind::Kind::Memfd).
    Memfd,
    /// [`Kind::DupSocket`](ravn_shared::kind::Kind::DupSocket).
    DupSocket,
    /// [`Kind::Mount`](ravn_shared::kind::Kind::Mount).
    Mount,
    /// [`Kind::Module`](ravn_shared::kind::Kind::Module).
    Module,
    /// [`Kind::Bpf`](ravn_shared::kind::Kind::Bpf).
    Bpf,
    /// [`Kind::Link`](ravn_shared::kind::Kind::Link).
    Link,
    /// [`Kind::Symlink`](ravn_shared::kind::Kind::Symlink).
    Symlink,
    /// [`Kind::Chown`](ravn_shared::kind::Kind::Chown).
    Chown,
    /// [`Kind::Truncate`](ravn_shared::kind::Kind::Truncate).
    Truncate,
    /// [`Kind::SetXattr`](ravn_shared::kind::Kind::SetXattr).
    SetXattr,
    /// [`Kind::Mknod`](ravn_shared::kind::Kind::Mknod).
    Mknod,
    /// [`Kind::Read`](ravn_shared::kind::Kind::Read).
    Read,
    /// [`Kind::Send`](ravn_shared::kind::Kind::Send).
    Send,
    /// [`Kind::Close`](ravn_shared::kind::Kind::Close).
    Close,
    /// [`Kind::RawSocket`](ravn_shared::kind::Kind::RawSocket).
    RawSocket,
    /// [`Kind::VmWrite`](ravn_shared::kind::Kind::VmWrite).
    VmWrite,
    /// [`Kind::PivotRoot`](ravn_shared::kind::Kind::PivotRoot).
    PivotRoot,
    /// [`Kind::Unshare`](ravn_shared::kind::Kind::Unshare).
    Unshare,
    /// [`Kind::SetNs`](ravn_shared::kind::Kind::SetNs).
    SetNs,
    /// [`Kind::ExecMemory`](ravn_shared::kind::Kind::ExecMemory).
    ExecMemory,
    /// [`Kind::Kill`](ravn_shared::kind::Kind::Kill).
    Kill,
    /// [`Kind::Keyctl`](ravn_shared::kind::Kind::Keyctl).
    Keyctl,
    /// [`Kind::Kexec`](ravn_shared::kind::Kind::Kexec).
    Kexec,
    /// [`Kind::PerfEventOpen`](ravn_shared::kind::Kind::PerfEventOpen).
    PerfEventOpen,
    /// [`Kind::Userfaultfd`](ravn_shared::kind::Kind::Userfaultfd).
    Userfaultfd,
    /// [`Kind::IoUring`](ravn_shared::kind::Kind::IoUring).
    IoUring,
    /// [`Kind::IoUringOp`](ravn_shared::kind::Kind::IoUringOp).
    IoUringOp,
    /// [`Kind::Compat`](ravn_shared::kind::Kind::Compat).
    Compat,
    /// The collector's own word on what was done to it.
    Tampering,
}

/// Number of categories.
pub const CATEGORIES: usize = Category::Tampering as usize + 1;

/// Categories of Sigma itself.
const SIGMA: [(&str, Category); 6] = [
    ("process_creation", Category::ProcessCreation),
    ("file_event", Category::FileEvent),
    ("file_delete", Category::FileDelete),
    ("file_rename", Category::FileRename),
    ("network_connection", Category::NetworkConnection),
    ("dns_query", Category::DnsQuery),
];

/// Categories of `service: ravn`: the kernel's own events, by the name of their kind.
const OWN: [(&str, Category); 33] = [
    ("chmod", Category::Chmod),
    ("listen", Category::Listen),
    ("creds", Category::Creds),
    ("ptrace", Category::Ptrace),
    ("memfd", Category::Memfd),
    ("dup_socket", Category::DupSocket),
    ("mount", Category::Mount),
    ("module", Category::Module),
    ("bpf", Category::Bpf),
    ("link", Category::Link),
    ("symlink", Category::Symlink),
    ("chown", Category::Chown),
    ("truncate", Category::Truncate),
    ("setxattr", Category::SetXattr),
    ("mknod", Category::Mknod),
    ("read", Category::Read),
    ("send", Category::Send),
    ("close", Category::Close),
    ("raw_socket", Category::RawSocket),
    ("vm_write", Category::VmWrite),
    ("pivot_root", Category::PivotRoot),
    ("unshare", Category::Unshare),
    ("setns", Category::SetNs),
    ("exec_memory", Category::ExecMemory),
    ("kill", Category::Kill),
    ("keyctl", Category::Keyctl),
    ("kexec", Category::Kexec),
    ("perf_event_open", Category::PerfEventOpen),
    ("userfaultfd", Category::Userfaultfd),
    ("io_uring", Category::IoUring),
    ("io_uring_op", Category::IoUringOp),
    ("compat", Category::Compat),
    ("tampering", Category::Tampering),
];

impl Category {
    /// The categories that an event is matched as; most are one.
    pub fn of(event: &What<'_>) -> &'static [Self] {
        match event {
            What::Exec(_) => &[Self::ProcessCreation],
            What::Open(_) => &[Self::FileEvent],
            What::Unlink(_) => &[Self::FileDelete],
            What::Rename(_) => &[Self::FileRename, Self::FileEvent],
            What::Link(_) => &[Self::Link, Self::FileEvent],
            What::Symlink(_) => &[Self::Symlink, Self::FileEvent],
            What::Truncate(_) => &[Self::Truncate, Self::FileEvent],
            What::Connect(_) | What::Accept(_) => &[Self::NetworkConnection],
            What::Bind(_) | What::Listen(_) => &[Self::Listen],
            What::Dns(_) => &[Self::DnsQuery],
            What::Chmod(_) => &[Self::Chmod],
            What::Creds(_) => &[Self::Creds],
            What::Ptrace(_) => &[Self::Ptrace],
            What::Memfd(_) => &[Self::Memfd],
            What::DupSocket(_) => &[Self::DupSocket],
            What::Mount(_) => &[Self::Mount],
            What::Module(_) => &[Self::Module],
            What::Bpf(_) => &[Self::Bpf],
            What::Chown(_) => &[Self::Chown],
            What::SetXattr(_) => &[Self::SetXattr],
            What::Mknod(_) => &[Self::Mknod],
            What::Read(_) => &[Self::Read],
            What::Send(_) => &[Self::Send],
            What::Close(_) => &[Self::Close],
            What::RawSocket(_) => &[Self::RawSocket],
            What::VmWrite(_) => &[Self::VmWrite],
            What::PivotRoot(_) => &[Self::PivotRoot],
            What::Unshare(_) => &[Self::Unshare],
            What::SetNs(_) => &[Self::SetNs],
            What::ExecMemory(_) => &[Self::ExecMemory],
            What::Kill(_) => &[Self::Kill],
            What::Keyctl(_) => &[Self::Keyctl],
            What::Kexec(_) => &[Self::Kexec],
            What::PerfEventOpen(_) => &[Self::PerfEventOpen],
            What::Userfaultfd(_) => &[Self::Userfaultfd],
            What::IoUring(_) => &[Self::IoUring],
            What::IoUringOp(_) => &[Self::IoUringOp],
            What::Compat(_) => &[Self::Compat],
            What::Tampering(_) => &[Self::Tampering],
            What::Fork(_)
            | What::Exit(_)
            | What::Cgroup(_)
            | What::Chunk(_)
            | What::Process(_)
            | What::CgroupFound(_)
            | What::Unknown { .. } => &[],
        }
    }

    /// The category of a rule's logsource; None if it is not for us.
    pub fn of_source(source: &LogSource) -> Option<Self> {
        if source
            .product
            .as_deref()
            .is_some_and(|product| product != "linux")
        {
            return None;
        }
        let category = source.category.as_deref()?;
        let known: &[(&str, Self)] = match source.service.as_deref() {
            None => &SIGMA,
            Some("ravn") => &OWN,
            Some(_) => return None,
        };
        let found = known.iter().find(|(name, _)| *name == category);
        found.map(|(_, category)| *category)
    }
}
