//! The calls of bpf(2) that libbpf-rs has for programs of an open object alone.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libbpf_rs::libbpf_sys::{
    BPF_TRACE_ITER, bpf_iter_create, bpf_link_create, bpf_obj_get_info_by_fd, bpf_obj_pin,
    bpf_prog_info, bpf_prog_test_run_opts, bpf_test_run_opts,
};

/// BPF_F_TEST_RUN_ON_CPU of include/uapi/linux/bpf.h.
const TEST_RUN_ON_CPU: u32 = 1;

/// Runs a raw tracepoint program once, on this CPU or on a given one, and gives its result.
///
/// # Errors
/// When the kernel refuses (the CPU is offline).
pub fn run(program: BorrowedFd<'_>, cpu: Option<u32>) -> io::Result<u32> {
    let mut opts = bpf_test_run_opts {
        sz: size_of::<bpf_test_run_opts>() as _,
        cpu: cpu.unwrap_or_default(),
        flags: if cpu.is_some() { TEST_RUN_ON_CPU } else { 0 },
        ..Default::default()
    };
    // SAFETY: the descriptor is open, and the options hold no pointer but null.
    match unsafe { bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut opts) } {
        0 => Ok(opts.retval),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// Most maps of one program that are asked for; ours have fewer.
const MOST_MAPS: usize = 64;

/// How often the kernel did not run a program because it ran on that CPU already.
///
/// # Errors
/// When the kernel does not tell.
pub fn recursion_misses(program: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(info(program, &mut [])?.recursion_misses)
}

/// Id of a program, and of the maps that it uses.
///
/// # Errors
/// When the kernel does not tell.
pub fn program_and_maps(program: BorrowedFd<'_>) -> io::Result<(u32, Vec<u32>)> {
    let mut maps = [0; MOST_MAPS];
    let info = info(program, &mut maps)?;
    let used = maps.into_iter().take(info.nr_map_ids as usize).collect();
    Ok((info.id, used))
}

fn info(program: BorrowedFd<'_>, maps: &mut [u32]) -> io::Result<bpf_prog_info> {
    let mut info = bpf_prog_info {
        nr_map_ids: u32::try_from(maps.len()).unwrap_or(0),
        map_ids: maps.as_mut_ptr() as u64,
        ..Default::default()
    };
    let mut bytes = size_of::<bpf_prog_info>() as u32;
    // SAFETY: the kernel writes at most `bytes` bytes, and at most as many ids as `maps` takes.
    let asked = unsafe {
        bpf_obj_get_info_by_fd(program.as_raw_fd(), (&raw mut info).cast(), &raw mut bytes)
    };
    match asked {
        0 => Ok(info),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// Opens an iterator program for one reading.
///
/// # Errors
/// When the kernel refuses.
pub fn iterate(program: BorrowedFd<'_>) -> io::Result<File> {
    // SAFETY: the descriptor is open, and no options are given.
    let link = unsafe { bpf_link_create(program.as_raw_fd(), 0, BPF_TRACE_ITER, std::ptr::null()) };
    let link = owned(link)?;
    // SAFETY: the link is open.
    owned(unsafe { bpf_iter_create(link.as_raw_fd()) }).map(File::from)
}

/// A new descriptor, or the error that libbpf gave instead.
fn owned(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(-fd));
    }
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Pins a program.
///
/// # Errors
/// When the file system refuses.
pub fn pin(program: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the name ends in NUL, and the descriptor is open.
    match unsafe { bpf_obj_pin(program.as_raw_fd(), name.as_ptr()) } {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}
