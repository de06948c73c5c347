//! What a unit of Type=notify tells systemd. Without systemd every call does nothing.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// A manager that does not read keeps what the kernel queues (ten messages) and no more. A
/// word is waited for so long and then given up: no daemon stands still for its manager.
const PATIENCE: Duration = Duration::from_millis(50);
/// READY=1 comes once; without it the start counts as failed.
const READY_PATIENCE: Duration = Duration::from_secs(2);

/// Speaks to the service manager. WATCHDOG=1 goes out only through [`Service::beat`], which
/// the daemons call from finished work and never from a timer.
#[derive(Debug)]
pub struct Service {
    every: Option<Duration>,
    last_beat: Option<Instant>,
    last_status: String,
}

impl Service {
    /// Reads what systemd asked for (WATCHDOG_USEC).
    pub fn new() -> Self {
        // A third of the deadline: two beats may be late before systemd acts.
        let every = sd_notify::watchdog_enabled().map(|deadline| deadline / 3);
        Self {
            every,
            last_beat: None,
            last_status: String::new(),
        }
    }

    /// Start-up is finished.
    pub fn ready(&self) {
        send(&NotifyState::Ready, READY_PATIENCE);
    }

    /// Start-up takes longer, through no fault of this unit; asks for `more` from now.
    pub fn extend(&self, more: Duration) {
        let more = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
        send(&NotifyState::ExtendTimeoutUsec(more), PATIENCE);
    }

    /// Shut-down begins.
    pub fn stopping(&self) {
        send(&NotifyState::Stopping, PATIENCE);
    }

    /// One line for `systemctl status`; sent when it changed.
    pub fn status(&mut self, line: &str) {
        if line != self.last_status {
            send(&NotifyState::Status(line), PATIENCE);
            line.clone_into(&mut self.last_status);
        }
    }

    /// A piece of work was finished: keeps the watchdog, at most three times a deadline.
    pub fn beat(&mut self) {
        let Some(every) = self.every else { return };
        if self.last_beat.is_none_or(|last| last.elapsed() >= every) {
            send(&NotifyState::Watchdog, PATIENCE);
            self.last_beat = Some(Instant::now());
        }
    }
}

impl Default for Service {
    fn default() -> Self {
        Self::new()
    }
}

fn send(state: &NotifyState<'_>, patience: Duration) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send_to(&socket, state, patience) {
        tracing::warn!("cannot notify the service manager: {error}; check NOTIFY_SOCKET");
    }
}

/// `sd_notify::notify` waits for its reader without end, so the datagram is sent here.
fn send_to(socket: &OsStr, state: &NotifyState<'_>, patience: Duration) -> io::Result<()> {
    let address = match socket.as_bytes() {
        // systemd's way to write an abstract name.
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let datagram = UnixDatagram::unbound()?;
    datagram.set_write_timeout(Some(patience))?;
    datagram.connect_addr(&address)?;
    datagram.send(format!("{state}\n").as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    use std::time::{Duration, Instant};

    use sd_notify::NotifyState;

    use super::{PATIENCE, send_to};

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up() {
        let name = format!("ravn-service-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let socket = format!("@{name}");
        let began = Instant::now();
        // More than the kernel queues, in any of its settings that a test may meet.
        let refused = (0..2000)
            .find_map(|_| send_to(socket.as_ref(), &NotifyState::Watchdog, PATIENCE).err());
        assert_eq!(refused.unwrap().kind(), std::io::ErrorKind::WouldBlock);
        assert!(began.elapsed() < Duration::from_secs(10));
        let mut message = [0; 64];
        let length = manager.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"WATCHDOG=1\n");
    }
}
