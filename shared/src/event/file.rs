//! Files.

use serde::{Deserialize, Serialize};

/// A file was opened: for writing, created, or, if it is a sensitive one, for reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// A file got another name; of a link, one more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rename<'a> {
    /// The old name.
    #[serde(borrow)]
    pub from: Named<'a>,
    /// The new name.
    #[serde(borrow)]
    pub to: Named<'a>,
    /// Flags of renameat2 or linkat.
    pub flags: u32,
}

/// A file's permissions were changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// A symlink was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symlink<'a> {
    /// The link.
    #[serde(borrow)]
    pub link: Named<'a>,
    /// Where it leads: a text, which need not exist.
    #[serde(with = "serde_bytes", borrow)]
    pub target: &'a [u8],
}

/// A file's owner or group was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chown<'a> {
    /// The file.
    #[serde(borrow)]
    pub file: Named<'a>,
    /// The new owner as asked for, in the caller's user namespace; `u32::MAX`: not changed.
    pub uid: u32,
    /// The new group, likewise.
    pub gid: u32,
    /// Inode and device where a descriptor was given, else 0.
    pub ino: u64,
    /// See `ino`.
    pub dev: u32,
}

/// A file was cut, or made longer, to a length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncate<'a> {
    /// The file.
    #[serde(borrow)]
    pub file: Named<'a>,
    /// Its length now, bytes.
    pub length: u64,
    /// Inode and device where a descriptor was given, else 0.
    pub ino: u64,
    /// See `ino`.
    pub dev: u32,
}

/// An extended attribute was set or removed: `security.capability`, an ACL…
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetXattr<'a> {
    /// The file.
    #[serde(borrow)]
    pub file: Named<'a>,
    /// The attribute's name, as given.
    #[serde(with = "serde_bytes", borrow)]
    pub name: &'a [u8],
    /// Length of the value, bytes; 0 when removed, and for setxattrat.
    pub size: u64,
    /// It was removed.
    pub removed: bool,
    /// Inode and device where a descriptor was given, else 0.
    pub ino: u64,
    /// See `ino`.
    pub dev: u32,
}

/// A device, FIFO, socket or file was made by mknod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mknod<'a> {
    /// The new file.
    #[serde(borrow)]
    pub file: Named<'a>,
    /// Type and permissions as asked for.
    pub mode: u32,
    /// Device number as asked for, encoded as in `stat`; 0 for what is no device.
    pub rdev: u32,
}
