//! Promise: a proof of life that a full ring swallowed is no death: nothing is loaded anew. Apart
//! from the other tests, which its flood would disturb. Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::time::Duration;

use ravn_tests::harness::pins::positions;
use ravn_tests::harness::programs::program;
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::{Sandbox, sandbox::PATIENCE, wait_until};

/// Bytes of the ring for files: some 400 records.
const RING: u32 = 65536;

/// A thread that stands still, by ptrace, until this is dropped.
struct Held(libc::pid_t);

impl Held {
    fn stop(thread: libc::pid_t) -> Self {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: neither request reads or writes memory of this process.
        unsafe {
            assert_eq!(libc::ptrace(libc::PTRACE_SEIZE, thread, none, none), 0);
            assert_eq!(libc::ptrace(libc::PTRACE_INTERRUPT, thread, none, none), 0);
        }
        let mut status = 0;
        // SAFETY: the status lives through the call.
        let stopped = unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) };
        assert_eq!(stopped, thread);
        Self(thread)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let none = std::ptr::null_mut::<libc::c_void>();
        // SAFETY: the request reads and writes no memory of this process.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.0, none, none) };
    }
}

/// The collector's thread of that name.
fn thread(sandbox: &Sandbox, name: &str) -> libc::pid_t {
    let collector = sandbox.collector.as_ref().unwrap().pid();
    fs::read_dir(format!("/proc/{collector}/task"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|task| fs::read_to_string(task.join("comm")).unwrap().trim() == name)
        .and_then(|task| task.file_name()?.to_str()?.parse().ok())
        .unwrap()
}

fn log(sandbox: &Sandbox) -> String {
    sandbox.collector.as_ref().unwrap().log()
}

/// A flood that fills the ring for files loses the proof, and nothing is loaded anew.
#[test]
fn a_full_ring_is_not_death() {
    if !can_run("kernel_proof::a_full_ring_is_not_death", Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    sandbox
        .write_collector_toml(&format!("[rings]\nfile = {RING}\n"))
        .unwrap();
    sandbox.start_collector().unwrap();
    let load = sandbox.pins.load().unwrap();
    let folder = sandbox.folder().join("storm");
    fs::create_dir(&folder).unwrap();
    let mut flood = sandbox
        .command(program("trigger").unwrap())
        .unwrap()
        .args(["storm", folder.to_str().unwrap(), "1000000000", "0"])
        .spawn()
        .unwrap();
    // While the proving thread stands still, the polling thread waits for it and drains nothing.
    let held = Held::stop(thread(&sandbox, "prove"));
    let ring = load.join("file_events");
    let mut last = positions(&ring).unwrap();
    wait_until(PATIENCE, "a ring that nobody drains", || {
        std::thread::sleep(Duration::from_millis(50));
        let now = positions(&ring)?;
        let stuck = now == last && now.1 - now.0 > u64::from(RING / 2);
        last = now;
        Ok(stuck.then_some(()))
    })
    .unwrap();
    drop(held);
    let met = wait_until(PATIENCE, "a proof that a full ring swallowed", || {
        Ok(log(&sandbox).contains("full rings: file").then_some(()))
    });
    flood.kill().unwrap();
    flood.wait().unwrap();
    met.unwrap_or_else(|error| panic!("{error:#}\n{}", log(&sandbox)));
    assert_eq!(sandbox.pins.load().unwrap(), load);
    assert!(
        !sandbox
            .records()
            .unwrap()
            .iter()
            .any(|seen| seen.kind == "tampering"),
        "{}",
        log(&sandbox)
    );
    wait_until(PATIENCE, "a whole proof", || {
        Ok(log(&sandbox).contains("whole again").then_some(()))
    })
    .unwrap();
}
