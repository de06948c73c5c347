//! What a unit of Type=notify tells systemd. Without systemd every call does nothing.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

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
        send(&[NotifyState::Ready]);
    }

    /// Start-up takes longer, through no fault of this unit; asks for `more` from now.
    pub fn extend(&self, more: Duration) {
        send(&[NotifyState::ExtendTimeoutUsec(
            u32::try_from(more.as_micros()).unwrap_or(u32::MAX),
        )]);
    }

    /// Shut-down begins.
    pub fn stopping(&self) {
        send(&[NotifyState::Stopping]);
    }

    /// One line for `systemctl status`; sent when it changed.
    pub fn status(&mut self, line: &str) {
        if line != self.last_status {
            send(&[NotifyState::Status(line)]);
            line.clone_into(&mut self.last_status);
        }
    }

    /// A piece of work was finished: keeps the watchdog, at most three times a deadline.
    pub fn beat(&mut self) {
        let Some(every) = self.every else { return };
        if self.last_beat.is_none_or(|last| last.elapsed() >= every) {
            send(&[NotifyState::Watchdog]);
            self.last_beat = Some(Instant::now());
        }
    }
}

impl Default for Service {
    fn default() -> Self {
        Self::new()
    }
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("cannot notify the service manager: {error}; check NOTIFY_SOCKET");
    }
}
