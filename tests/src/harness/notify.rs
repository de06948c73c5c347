//! The service manager's end of `sd_notify`, so that tests know what a daemon says of itself.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A socket for NOTIFY_SOCKET, and what has come through it so far.
#[derive(Debug)]
pub struct Notify {
    socket: UnixDatagram,
    path: PathBuf,
    /// READY=1 came.
    pub ready: bool,
    /// STOPPING=1 came.
    pub stopping: bool,
    /// The last STATUS=.
    pub status: String,
    /// How often WATCHDOG=1 came.
    pub beats: u64,
    /// How often EXTEND_TIMEOUT_USEC= came.
    pub extended: u64,
}

impl Notify {
    /// Binds a socket that any user may send to.
    ///
    /// # Errors
    /// When the socket cannot be made at `path`.
    pub fn bind(path: &Path) -> Result<Self> {
        let _ = fs::remove_file(path);
        let socket =
            UnixDatagram::bind(path).with_context(|| format!("bind {}", path.display()))?;
        socket.set_nonblocking(true)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
        Ok(Self {
            socket,
            path: path.to_path_buf(),
            ready: false,
            stopping: false,
            status: String::new(),
            beats: 0,
            extended: 0,
        })
    }

    /// For the daemon's environment.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what has come.
    ///
    /// # Errors
    /// When the socket fails.
    pub fn read(&mut self) -> Result<&Self> {
        let mut message = [0; 4096];
        loop {
            match self.socket.recv(&mut message) {
                Ok(length) => self.take(&String::from_utf8_lossy(&message[..length])),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(self),
                Err(error) => return Err(error).context("read the notify socket"),
            }
        }
    }

    fn take(&mut self, message: &str) {
        for line in message.lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => self.ready = true,
                Some(("STOPPING", "1")) => self.stopping = true,
                Some(("WATCHDOG", "1")) => self.beats += 1,
                Some(("EXTEND_TIMEOUT_USEC", _)) => self.extended += 1,
                Some(("STATUS", text)) => text.clone_into(&mut self.status),
                _ => {}
            }
        }
    }
}
