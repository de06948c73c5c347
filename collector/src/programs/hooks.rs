//! The programs of hooks: attached, held by their links, asked whether they still are.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use libbpf_rs::{Link, Program};
use ravn_shared::kind::Stream;

use super::kernel;

/// Every hook, in the order of `enum ravn_hook`: the place is the number of its hit counter.
pub const HOOKS: [&str; 9] = [
    "handle__sys_exit",
    "handle__sched_migrate_task",
    "handle__sched_process_fork",
    "handle__sched_process_exec",
    "handle__sched_process_exit",
    "handle__cgroup_mkdir",
    "handle__inet_sock_set_state",
    "handle__signal_generate",
    "handle__io_uring_submit_req",
];

/// An attached program.
#[derive(Debug)]
pub struct Hook {
    /// Its place in [`HOOKS`].
    pub number: usize,
    link: Link,
    link_id: u32,
    program_id: u32,
    /// None without CAP_SYS_ADMIN, which opening a program by its id takes.
    program: Option<OwnedFd>,
}

impl Hook {
    /// Takes hold of a link and of the program behind it.
    ///
    /// # Errors
    /// When the kernel does not tell of them.
    pub fn of(number: usize, link: Link) -> Result<Self> {
        let info = link.info().context("cannot ask a link for its program")?;
        let program = Program::fd_from_id(info.prog_id).ok();
        Ok(Self {
            number,
            link,
            link_id: info.id,
            program_id: info.prog_id,
            program,
        })
    }

    /// Takes hold of a pinned link.
    ///
    /// # Errors
    /// When there is none.
    pub fn pinned(number: usize, folder: &Path) -> Result<Self> {
        let path = folder.join(HOOKS[number]);
        let link =
            Link::open(&path).with_context(|| format!("cannot open the pin {}", path.display()))?;
        Self::of(number, link)
    }

    /// Pins the link by its program's name.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn pin(&mut self, folder: &Path) -> Result<()> {
        let path = folder.join(self.name());
        self.link
            .pin(&path)
            .with_context(|| format!("cannot pin {}", path.display()))
    }

    /// The program's name.
    pub const fn name(&self) -> &'static str {
        HOOKS[self.number]
    }

    /// Asks the kernel whether link and program are the ones that they were.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<()> {
        let info = self.link.info().context("its link is gone")?;
        if (info.id, info.prog_id) != (self.link_id, self.program_id) {
            bail!(
                "link {} to program {} became link {} to program {}",
                self.link_id,
                self.program_id,
                info.id,
                info.prog_id
            );
        }
        Ok(())
    }

    /// The attached program; None where it may not be opened.
    pub fn program(&self) -> Option<BorrowedFd<'_>> {
        self.program.as_ref().map(OwnedFd::as_fd)
    }

    /// Times that the kernel did not run the program because it ran on that CPU already.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn misses(&self) -> Result<u64> {
        let Some(program) = &self.program else {
            return Ok(0);
        };
        kernel::recursion_misses(program.as_fd()).context("cannot ask a program for its misses")
    }

    /// The stream that misses of this program are counted in. None: it makes no records.
    pub const fn stream(&self) -> Option<Stream> {
        match self.number {
            0 => Some(Stream::Sequence),
            1 => None,
            6 => Some(Stream::Network),
            7 | 8 => Some(Stream::Security),
            _ => Some(Stream::Syscall),
        }
    }
}
