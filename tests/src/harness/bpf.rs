//! The BPF objects that a daemon holds, and its programs run by somebody else.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use libbpf_rs::query::ProgInfoIter;

/// BPF_PROG_TEST_RUN, and its flag BPF_F_TEST_RUN_ON_CPU, of include/uapi/linux/bpf.h.
const PROG_TEST_RUN: libc::c_int = 10;
const TEST_RUN_ON_CPU: u32 = 1;

/// Ids in a field (`prog_id:`, `map_id:`) of the descriptors that a process holds.
///
/// # Errors
/// When the process is gone.
pub fn ids_of(pid: u32, field: &str) -> Result<Vec<u32>> {
    let folder = format!("/proc/{pid}/fdinfo");
    let mut ids = Vec::new();
    for entry in Path::new(&folder)
        .read_dir()
        .with_context(|| folder.clone())?
    {
        // A descriptor may be closed meanwhile.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        let numbers = text.lines().filter_map(|line| line.strip_prefix(field));
        ids.extend(numbers.filter_map(|number| number.trim().parse::<u32>().ok()));
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// A program of a daemon's that is run by hand.
#[derive(Debug)]
pub struct Borrowed {
    program: OwnedFd,
}

impl Borrowed {
    /// The program that the process `pid` holds by this name (its first fifteen bytes).
    ///
    /// # Errors
    /// When it holds none.
    pub fn of(pid: u32, name: &str) -> Result<Self> {
        let ids = ids_of(pid, "prog_id:")?;
        let known = ProgInfoIter::default()
            .find(|info| ids.contains(&info.id) && info.name.to_string_lossy() == name);
        let Some(info) = known else {
            bail!("process {pid} holds no BPF program {name}");
        };
        let program = libbpf_rs::Program::fd_from_id(info.id)?;
        Ok(Self { program })
    }

    /// Runs it once on a CPU, by an interrupt there; gives what it returned.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn run_on(&self, cpu: u32) -> Result<u32> {
        /// `union bpf_attr` as BPF_PROG_TEST_RUN has it.
        #[repr(C)]
        #[derive(Default)]
        struct TestRun {
            prog_fd: u32,
            retval: u32,
            sizes: [u32; 2],
            data: [u64; 2],
            repeat: u32,
            duration: u32,
            ctx_sizes: [u32; 2],
            ctx: [u64; 2],
            flags: u32,
            cpu: u32,
            batch_size: u32,
            pad: u32,
        }
        let mut run = TestRun {
            prog_fd: self.program.as_raw_fd().cast_unsigned(),
            flags: TEST_RUN_ON_CPU,
            cpu,
            ..TestRun::default()
        };
        // SAFETY: `run` lives through the call, which writes inside of it alone.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                PROG_TEST_RUN,
                &raw mut run,
                size_of::<TestRun>(),
            )
        };
        if result < 0 {
            return Err(std::io::Error::last_os_error()).context("run a BPF program");
        }
        Ok(run.retval)
    }
}
