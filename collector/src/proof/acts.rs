//! The acts that prove: one for each ring, by a thread that does nothing else.
//!
//! A memfd is made and opened for writing through /proc, an abstract Unix socket is bound, a
//! short thread is started, which moves itself between CPUs. No rule fires on them, nothing is
//! left of them, and the kernel's records of them carry the nonce as a name.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

/// Acts that take longer hang; the polling thread goes on.
const PATIENCE: Duration = Duration::from_secs(2);

/// The proving thread.
#[derive(Debug)]
pub struct Prover {
    pid: u32,
    ask: SyncSender<u64>,
    done: Receiver<Acts>,
}

/// What was done.
#[derive(Debug)]
pub struct Acts {
    /// Why an act could not be done.
    pub refused: Vec<String>,
    /// The short thread moved between CPUs.
    pub moved: bool,
}

/// How the records of a nonce are named.
pub fn name(nonce: u64) -> String {
    format!("ravn-proof-{nonce:016x}")
}

impl Prover {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start() -> Result<Self> {
        let (ask, asked) = sync_channel(1);
        let (told, done) = sync_channel(1);
        let (tell_pid, pid) = sync_channel(1);
        thread::Builder::new()
            .name("prove".to_owned())
            .spawn(move || {
                let _ = tell_pid.send(own_pid());
                while let Ok(nonce) = asked.recv() {
                    if told.send(act(nonce)).is_err() {
                        return;
                    }
                }
            })
            .context("cannot start a thread")?;
        let pid = pid.recv().context("the proving thread ended at once")?;
        Ok(Self { pid, ask, done })
    }

    /// Its thread id.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Does the acts; when this returns, their records are in the rings.
    ///
    /// # Errors
    /// When the thread hangs or is gone.
    pub fn act(&self, nonce: u64) -> Result<Acts> {
        // What an act that hung finished later.
        while self.done.try_recv().is_ok() {}
        self.ask
            .try_send(nonce)
            .context("the proving thread hangs")?;
        self.done
            .recv_timeout(PATIENCE)
            .context("the proving thread hangs")
    }
}

fn act(nonce: u64) -> Acts {
    let name = name(nonce);
    let mut refused = Vec::new();
    let mut note = |what: &str, result: io::Result<()>| {
        if let Err(error) = result {
            refused.push(format!("{what}: {error}"));
        }
    };
    note("memfd_create and open", memfd(&name));
    note("bind", bind(&name));
    let mut moved = false;
    note("a thread", short_thread().map(|did| moved = did));
    Acts { refused, moved }
}

fn memfd(name: &str) -> io::Result<()> {
    let name = std::ffi::CString::new(name)?;
    // SAFETY: the name ends in NUL.
    let file = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if file < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and ours.
    let _file = unsafe { OwnedFd::from_raw_fd(file) };
    std::fs::File::options()
        .write(true)
        .open(format!("/proc/self/fd/{file}"))
        .map(drop)
}

fn bind(name: &str) -> io::Result<()> {
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?).map(drop)
}

fn short_thread() -> io::Result<bool> {
    let thread = thread::Builder::new().name("prove-short".to_owned());
    thread
        .spawn(wander)?
        .join()
        .map_err(|_| io::Error::other("it panicked"))
}

/// Moves this thread to two CPUs in turn, where it may run on two; it has to move once then.
fn wander() -> bool {
    // SAFETY: all zero is an empty set.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let bytes = size_of::<libc::cpu_set_t>();
    // SAFETY: the set lives through the call and has the size that is told.
    if unsafe { libc::sched_getaffinity(0, bytes, &raw mut allowed) } != 0 {
        return false;
    }
    let size = libc::CPU_SETSIZE.cast_unsigned() as usize;
    // SAFETY: every number is below the size of the set.
    let mut cpus = (0..size).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &allowed) });
    let (Some(first), Some(second)) = (cpus.next(), cpus.next()) else {
        return false;
    };
    [first, second].into_iter().all(|cpu| {
        // SAFETY: all zero is an empty set.
        let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: the number is below the size of the set.
        unsafe { libc::CPU_SET(cpu, &mut one) };
        // SAFETY: the set lives through the call and has the size that is told.
        unsafe { libc::sched_setaffinity(0, bytes, &raw const one) == 0 }
    })
}

fn own_pid() -> u32 {
    // SAFETY: gettid has no preconditions.
    unsafe { libc::gettid() }.cast_unsigned()
}
