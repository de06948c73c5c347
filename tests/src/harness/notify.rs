//! The service manager's end of `sd_notify`, so that tests know what a daemon says of itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// What a daemon has told so far.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// READY=1 came.
    pub ready: bool,
    /// STOPPING=1 came.
    pub stopping: bool,
    /// The last STATUS=.
    pub status: String,
    /// How often WATCHDOG=1 came.
    pub beats: u64,
    /// When it came last.
    pub last_beat: Option<Instant>,
    /// The longest time between two.
    pub longest_silence: Duration,
    /// How often EXTEND_TIMEOUT_USEC= came.
    pub extended: u64,
}

impl Said {
    fn beat(&mut self) {
        self.longest_silence = self.silence();
        self.last_beat = Some(Instant::now());
        self.beats += 1;
    }

    /// The longest time without WATCHDOG=1 since the first, the present one too.
    pub fn silence(&self) -> Duration {
        let present = self.last_beat.map_or(Duration::ZERO, |at| at.elapsed());
        self.longest_silence.max(present)
    }
}

/// A socket for NOTIFY_SOCKET. A thread reads it, as a service manager does at all times: the
/// kernel keeps ten messages, and the eleventh would block the daemon.
#[derive(Debug)]
pub struct Notify {
    path: PathBuf,
    said: Arc<Mutex<Said>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
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
        // How long the thread outlives its daemon at most.
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
        let (said, stop) = (Arc::default(), Arc::default());
        let (into, until) = (Arc::clone(&said), Arc::clone(&stop));
        Ok(Self {
            path: path.to_path_buf(),
            said,
            stop,
            reader: Some(std::thread::spawn(move || read(&socket, &into, &until))),
        })
    }

    /// For the daemon's environment.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What has come so far.
    pub fn said(&self) -> Said {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn read(socket: &UnixDatagram, into: &Mutex<Said>, until: &AtomicBool) {
    let mut message = [0; 4096];
    while !until.load(Ordering::Relaxed) {
        // Time ran out, or a signal came: look at `until` again.
        let Ok(length) = socket.recv(&mut message) else {
            continue;
        };
        let mut said = into.lock().unwrap_or_else(PoisonError::into_inner);
        for line in String::from_utf8_lossy(&message[..length]).lines() {
            match line.split_once('=') {
                Some(("READY", "1")) => said.ready = true,
                Some(("STOPPING", "1")) => said.stopping = true,
                Some(("WATCHDOG", "1")) => said.beat(),
                Some(("EXTEND_TIMEOUT_USEC", _)) => said.extended += 1,
                Some(("STATUS", text)) => text.clone_into(&mut said.status),
                _ => {}
            }
        }
    }
}
