//! Acts of one process upon another.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Done, kernel_result, ok, succeeded};

/// A child that waits until it is killed; dropped, it is.
pub struct Waiting(libc::pid_t);

impl Waiting {
    /// Forks it; `user`: it becomes that user first, and tells when it has.
    ///
    /// # Errors
    /// When a call fails.
    pub fn start(user: Option<libc::uid_t>) -> Result<Self> {
        let mut pipe = [0; 2];
        // SAFETY: `pipe` has room for two; the process has one thread, and the child calls only
        // async-signal-safe functions.
        unsafe {
            ok("pipe", libc::pipe(pipe.as_mut_ptr()))?;
            match libc::fork() {
                0 => {
                    if let Some(user) = user {
                        libc::syscall(libc::SYS_setuid, user);
                    }
                    // After that call, which undoes it: it does not outlive this program.
                    libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    libc::write(pipe[1], [0_u8; 1].as_ptr().cast(), 1);
                    loop {
                        libc::pause();
                    }
                }
                child => {
                    let child = Self(ok("fork", child)?);
                    let mut told = [0_u8; 1];
                    libc::read(pipe[0], told.as_mut_ptr().cast(), 1);
                    Ok(child)
                }
            }
        }
    }

    /// Its number.
    pub const fn pid(&self) -> libc::pid_t {
        self.0
    }

    /// What a record must say of it.
    ///
    /// # Errors
    /// When it is gone.
    pub fn target(&self, uid: libc::uid_t) -> Result<Value> {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.0)).context("comm")?;
        Ok(json!({
            "target_tgid": self.0, "target_pid": self.0, "target_uid": uid,
            "target_comm": name.trim_end(),
        }))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // SAFETY: the child was not waited for, so the number is its own.
        unsafe {
            libc::kill(self.0, libc::SIGKILL);
            libc::waitpid(self.0, std::ptr::null_mut(), libc::__WALL);
        }
    }
}

/// The fields of both.
pub fn joined(mut one: Value, two: Value) -> Value {
    if let (Some(all), Value::Object(more)) = (one.as_object_mut(), two) {
        all.extend(more);
    }
    one
}

/// Attaches to a child of its own.
///
/// # Errors
/// When a call fails.
pub fn ptrace_attach() -> Result<Done> {
    let child = Waiting::start(None)?;
    // SAFETY: the raw call takes no pointers here.
    let ret = kernel_result(unsafe {
        libc::syscall(libc::SYS_ptrace, libc::PTRACE_ATTACH, child.pid(), 0, 0)
    });
    succeeded("ptrace", ret)?;
    let fields = json!({"request": libc::PTRACE_ATTACH, "target": child.pid(), "ret": ret});
    Ok(Done::new("ptrace", joined(fields, child.target(0)?)))
}

/// Lets the parent trace it.
///
/// # Errors
/// When the call fails.
pub fn ptrace_traceme() -> Result<Done> {
    // SAFETY: the call takes no pointers here.
    let ret =
        kernel_result(unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_TRACEME, 0, 0, 0) });
    succeeded("ptrace", ret)?;
    Ok(Done::new(
        "ptrace",
        json!({"request": libc::PTRACE_TRACEME, "ret": ret, "target_tgid": 0}),
    ))
}

/// Writes four bytes into a child, or reads them; its own memory first, which is no event.
///
/// # Errors
/// When a call fails.
pub fn vm(write: bool) -> Result<Done> {
    let mut here = *b"ravn";
    let there = *b"RAVN";
    let child = Waiting::start(None)?;
    let local = libc::iovec {
        iov_base: here.as_mut_ptr().cast(),
        iov_len: here.len(),
    };
    // A fork has the same addresses.
    let remote = libc::iovec {
        iov_base: there.as_ptr().cast_mut().cast(),
        iov_len: there.len(),
    };
    let call = if write {
        libc::SYS_process_vm_writev
    } else {
        libc::SYS_process_vm_readv
    };
    let upon = |pid: libc::pid_t| {
        // As wide as the kernel reads them: of a narrower one, what lies above it counts too.
        // SAFETY: both vectors describe arrays of this process, at addresses that the child has too.
        kernel_result(unsafe {
            libc::syscall(
                call,
                pid,
                &raw const local,
                1_usize,
                &raw const remote,
                1_usize,
                0_usize,
            )
        })
    };
    succeeded("process_vm", upon(std::process::id().cast_signed()))?;
    let ret = upon(child.pid());
    succeeded("process_vm", ret)?;
    let fields = json!({"write": write, "target": child.pid(), "ret": ret});
    Ok(Done::new("vm_write", joined(fields, child.target(0)?)))
}

/// Sends a signal to a child that is another user, and one to a child that is not, which is no
/// event. Needs root.
///
/// # Errors
/// When a call fails.
pub fn kill() -> Result<Done> {
    let own = Waiting::start(None)?;
    let other = Waiting::start(Some(54321))?;
    // SAFETY: both children are there.
    unsafe {
        ok("kill", libc::kill(own.pid(), libc::SIGCONT))?;
        ok("kill", libc::kill(other.pid(), libc::SIGCONT))?;
    }
    let fields = json!({"signal": libc::SIGCONT, "result": 1});
    let done = Done::new("kill", joined(fields, other.target(54321)?));
    // Its end here were a second signal to it; the kernel ends it with this program.
    std::mem::forget(other);
    Ok(done)
}

/// Sends SIGCONT to `pid`, which is the sensor.
///
/// # Errors
/// When the call fails.
pub fn signal(pid: &str) -> Result<Done> {
    let pid: libc::pid_t = pid.parse()?;
    // SAFETY: SIGCONT does no harm to whoever runs.
    ok("kill", unsafe { libc::kill(pid, libc::SIGCONT) })?;
    Ok(Done::new(
        "kill",
        json!({"signal": libc::SIGCONT, "target_tgid": pid}),
    ))
}
