//! The operations that are timed: each as small a loop around the system calls as there is.

use std::ffi::CString;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use anyhow::{Context, Result};

use super::slices::{Operation, Pinned};
use crate::acts::ok;

/// A system call that does nothing and that no rule wants.
#[derive(Debug)]
pub struct Getppid;

impl Operation for Getppid {
    fn run(&mut self, times: u32) -> Result<()> {
        for _ in 0..times {
            // SAFETY: getppid has no preconditions.
            unsafe { libc::syscall(libc::SYS_getppid) };
        }
        Ok(())
    }
}

/// open and close of a file.
#[derive(Debug)]
pub struct OpenClose {
    path: CString,
    flags: libc::c_int,
}

impl OpenClose {
    /// For reading, which nobody wants to know of.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn reading(folder: &Path) -> Result<Self> {
        Self::new(&folder.join("read"), libc::O_RDONLY)
    }

    /// For writing, which is an event with a path of five components (or more, where the
    /// folder is deeper).
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn writing(folder: &Path) -> Result<Self> {
        let mut path = PathBuf::from(folder);
        // The root is a component to the iterator, and the file's own name will be one.
        while path.components().count() < 5 {
            path.push("deeper");
        }
        fs::create_dir_all(&path)?;
        Self::new(&path.join("written"), libc::O_WRONLY)
    }

    fn new(path: &Path, flags: libc::c_int) -> Result<Self> {
        fs::write(path, b"x").with_context(|| format!("write {}", path.display()))?;
        let path = CString::new(path.as_os_str().as_encoded_bytes())?;
        Ok(Self { path, flags })
    }
}

impl Operation for OpenClose {
    fn run(&mut self, times: u32) -> Result<()> {
        for _ in 0..times {
            // SAFETY: `path` is a C string, and the descriptor is this loop's own.
            unsafe {
                let fd = ok("open", libc::open(self.path.as_ptr(), self.flags))?;
                libc::close(fd);
            }
        }
        Ok(())
    }
}

/// A byte to another thread and back, both on one CPU: four calls and two switches.
#[derive(Debug)]
pub struct PipeRoundTrip {
    to: Option<std::io::PipeWriter>,
    from: std::io::PipeReader,
    peer: Option<JoinHandle<()>>,
}

impl PipeRoundTrip {
    /// Starts the other thread, on the CPU of the timed slices.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new() -> Result<Self> {
        let _pinned = Pinned::new()?;
        let (mut their_end, to) = std::io::pipe()?;
        let (from, mut answer) = std::io::pipe()?;
        let peer = std::thread::spawn(move || {
            let mut byte = [0];
            while their_end.read_exact(&mut byte).is_ok() && answer.write_all(&byte).is_ok() {}
        });
        Ok(Self {
            to: Some(to),
            from,
            peer: Some(peer),
        })
    }
}

impl Operation for PipeRoundTrip {
    fn run(&mut self, times: u32) -> Result<()> {
        let to = self.to.as_mut().context("the pipe is closed")?;
        for _ in 0..times {
            let mut byte = [1];
            to.write_all(&byte)?;
            self.from.read_exact(&mut byte)?;
        }
        Ok(())
    }
}

impl Drop for PipeRoundTrip {
    fn drop(&mut self) {
        // The other end reads the end of the pipe.
        self.to = None;
        if let Some(peer) = self.peer.take() {
            let _ = peer.join();
        }
    }
}

/// A TCP connection over loopback: connect, accept, close of both.
#[derive(Debug)]
pub struct Connect {
    listener: TcpListener,
    address: libc::sockaddr_in,
}

impl Connect {
    /// Listens on a port of its own.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let SocketAddr::V4(bound) = listener.local_addr()? else {
            anyhow::bail!("127.0.0.1 is no IPv4 address");
        };
        // SAFETY: an all-zero sockaddr_in is valid.
        let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
        address.sin_family = libc::AF_INET as libc::sa_family_t;
        address.sin_port = bound.port().to_be();
        address.sin_addr.s_addr = u32::from(*bound.ip()).to_be();
        Ok(Self { listener, address })
    }
}

impl Operation for Connect {
    fn run(&mut self, times: u32) -> Result<()> {
        // Closed by a reset: what lingered in TIME_WAIT would use up the ports in a second.
        let reset = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        for _ in 0..times {
            // SAFETY: the address and the option live through the calls, with their sizes; the
            // descriptors are this loop's own.
            unsafe {
                let client = ok("socket", libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0))?;
                let address = (&raw const self.address).cast();
                let size = size_of_val(&self.address) as libc::socklen_t;
                ok("connect", libc::connect(client, address, size))?;
                let listener = self.listener.as_raw_fd();
                let null = std::ptr::null_mut();
                let server = ok("accept", libc::accept(listener, null, null.cast()))?;
                let option = (&raw const reset).cast();
                let size = size_of_val(&reset) as libc::socklen_t;
                ok(
                    "setsockopt",
                    libc::setsockopt(client, libc::SOL_SOCKET, libc::SO_LINGER, option, size),
                )?;
                libc::close(client);
                libc::close(server);
            }
        }
        Ok(())
    }
}

/// fork, and wait for the child, which ends at once.
#[derive(Debug)]
pub struct Fork;

impl Operation for Fork {
    fn run(&mut self, times: u32) -> Result<()> {
        for _ in 0..times {
            // SAFETY: the child makes one async-signal-safe call and is gone.
            let child = unsafe {
                let child = ok("fork", libc::fork())?;
                if child == 0 {
                    libc::_exit(0);
                }
                child
            };
            wait(child)?;
        }
        Ok(())
    }
}

/// posix_spawn of a program that does nothing, and wait.
#[derive(Debug)]
pub struct Spawn;

impl Operation for Spawn {
    fn run(&mut self, times: u32) -> Result<()> {
        let program = c"/bin/true".as_ptr();
        let argv = [program.cast_mut(), std::ptr::null_mut()];
        let environment = [std::ptr::null_mut()];
        for _ in 0..times {
            let mut child = 0;
            // SAFETY: path, arguments and environment are C strings in arrays that end with
            // null; attributes and actions may be null.
            let failed = unsafe {
                libc::posix_spawn(
                    &raw mut child,
                    program,
                    std::ptr::null(),
                    std::ptr::null(),
                    argv.as_ptr(),
                    environment.as_ptr(),
                )
            };
            if failed != 0 {
                return Err(std::io::Error::from_raw_os_error(failed)).context("posix_spawn");
            }
            wait(child)?;
        }
        Ok(())
    }
}

fn wait(child: libc::pid_t) -> Result<()> {
    let mut status = 0;
    // SAFETY: the child is the caller's own and not yet waited for.
    ok("waitpid", unsafe {
        libc::waitpid(child, &raw mut status, 0)
    })?;
    anyhow::ensure!(status == 0, "a child ended with wait status {status}");
    Ok(())
}
