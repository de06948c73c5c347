//! A program under test: started, watched through its notify socket, its log kept.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::notify::{Notify, Said};
use super::wait_until;

/// The user and group without rights that the analyzer runs as.
const NOBODY: u32 = 65534;

/// A running daemon. Dropped, it is killed; its log is printed when the test failed.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
    notify: Notify,
    ended: Option<ExitStatus>,
}

impl Daemon {
    /// Starts `program` with `args`; its notify socket and log are made in `folder`. With
    /// `unprivileged` it runs as nobody, without groups and capabilities.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Path, args: &[&str], folder: &Path, unprivileged: bool) -> Result<Self> {
        Self::start_with(program, args, folder, unprivileged, &[])
    }

    /// The same with variables of its environment.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_with(
        program: &Path,
        args: &[&str],
        folder: &Path,
        unprivileged: bool,
        variables: &[(String, String)],
    ) -> Result<Self> {
        let name = program
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let log = folder.join(format!("{name}.log"));
        let output = File::options().append(true).create(true).open(&log)?;
        let notify = Notify::bind(&folder.join(format!("{name}.notify")))?;
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .env("NOTIFY_SOCKET", notify.path())
            .env("WATCHDOG_USEC", "10000000")
            .env_remove("JOURNAL_STREAM")
            .env("RUST_BACKTRACE", "1")
            .envs(variables.iter().cloned());
        // SAFETY: geteuid has no preconditions.
        if unprivileged && unsafe { libc::geteuid() } == 0 {
            command.uid(NOBODY).gid(NOBODY);
            // SAFETY: the function makes one system call, which is safe between fork and exec.
            unsafe { command.pre_exec(no_new_privileges) };
        }
        let child = command
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self {
            name,
            child,
            log,
            notify,
            ended: None,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory that it has in use, bytes.
    ///
    /// # Errors
    /// When it has ended.
    pub fn resident_bytes(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .context("no VmRSS: has it ended?")?
            .parse()?;
        Ok(kib * 1024)
    }

    /// Lines of its log that hold `words`.
    pub fn says(&self, words: &str) -> usize {
        let log = self.log();
        log.lines().filter(|line| line.contains(words)).count()
    }

    /// What it has told the service manager so far.
    pub fn said(&self) -> Said {
        self.notify.said()
    }

    /// All that it has printed.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for READY=1.
    ///
    /// # Errors
    /// When it ends instead, or is not ready in time.
    pub fn wait_ready(&mut self, limit: Duration) -> Result<()> {
        let what = format!("READY=1 from {}", self.name);
        wait_until(limit, &what, || {
            if let Some(status) = self.has_ended()? {
                bail!(
                    "{} ended ({status}) before READY:\n{}",
                    self.name,
                    self.log()
                );
            }
            Ok(self.said().ready.then_some(()))
        })
        .with_context(|| format!("STATUS={:?}\n{}", self.said().status, self.log()))
    }

    /// Its exit status, if it has ended.
    ///
    /// # Errors
    /// When it cannot be asked for.
    pub fn has_ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    /// Waits for its end and gives the exit code, or 128 and the signal.
    ///
    /// # Errors
    /// When it does not end in time.
    pub fn wait_end(&mut self, limit: Duration) -> Result<i32> {
        let what = format!("the end of {}", self.name);
        let status = wait_until(limit, &what, || self.has_ended())?;
        Ok(status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
    }

    /// Sends a signal to it.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&mut self, signal: i32) -> Result<()> {
        if self.has_ended()?.is_some() {
            bail!("{} has ended already:\n{}", self.name, self.log());
        }
        let pid = libc::pid_t::try_from(self.child.id())?;
        // SAFETY: the child was not waited for, so the id is still its own.
        match unsafe { libc::kill(pid, signal) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()).context("signal a daemon"),
        }
    }

    /// Kills it as `kill -9` does, and waits for its end.
    ///
    /// # Errors
    /// When it had ended before.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(libc::SIGKILL)?;
        self.wait_end(Duration::from_secs(5)).map(drop)
    }

    /// Stops it as systemd does, with SIGTERM, and waits.
    ///
    /// # Errors
    /// When it does not end within ten seconds, or not with 0.
    pub fn stop(&mut self) -> Result<()> {
        self.signal(libc::SIGTERM)?;
        match self.wait_end(Duration::from_secs(10))? {
            0 => Ok(()),
            code => bail!(
                "{} ended with {code} on SIGTERM:\n{}",
                self.name,
                self.log()
            ),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !matches!(self.has_ended(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!(
                "--- {} (STATUS={:?})\n{}",
                self.name,
                self.said().status,
                self.log()
            );
        }
    }
}

/// Nothing that it executes may gain rights. (std drops the supplementary groups when it
/// changes the user as root.)
fn no_new_privileges() -> std::io::Result<()> {
    // SAFETY: prctl is a plain system call without pointers.
    match unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
