//! Promise: what is told once for each flow, image or process is told although its first record
//! found no room: the next of its kind is told instead. Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use ravn_tests::harness::pins::positions;
use ravn_tests::harness::programs::program;
use ravn_tests::harness::sandbox::{PATIENCE, truth};
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::{Sandbox, wait_until};

/// A window of the budget (2^30 ns), and a little.
const WINDOW: Duration = Duration::from_millis(1100);

fn sandbox(name: &str, drop_in: &str) -> Option<Sandbox> {
    if !can_run(&format!("kernel_once::{name}"), Need::Kernel).unwrap() {
        return None;
    }
    let mut sandbox = Sandbox::new().unwrap();
    let folder = sandbox.folder().join("collector.toml.d");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("once.toml"), drop_in).unwrap();
    sandbox.start_collector().unwrap();
    Some(sandbox)
}

/// A run of the trigger that stands at a FIFO between its two acts.
struct Standing {
    child: Child,
    fifo: PathBuf,
}

impl Standing {
    fn start(sandbox: &Sandbox, way: &str) -> Self {
        let fifo = sandbox.fifo(way).unwrap();
        let mut command = sandbox.command(program("trigger").unwrap()).unwrap();
        command.args(["again", way]).arg(&fifo);
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        Self { child, fifo }
    }

    /// Between its acts `meanwhile` is done; then the one record must tell of the second.
    fn check(mut self, sandbox: &Sandbox, meanwhile: impl FnOnce()) {
        // Waits for the other end: the first act is over then.
        let gate = fs::File::options().write(true).open(&self.fifo).unwrap();
        meanwhile();
        drop(gate);
        let mut said = Vec::new();
        let mut output = self.child.stdout.take().unwrap();
        output.read_to_end(&mut said).unwrap();
        let told = std::process::Output {
            status: self.child.wait().unwrap(),
            stdout: said,
            stderr: Vec::new(),
        };
        let told = truth(&["again"], &told).unwrap();
        let records = sandbox.records_of(told.tgid).unwrap();
        let kind: Vec<_> = records
            .into_iter()
            .filter(|seen| seen.kind == told.kind)
            .collect();
        told.check(&kind, sandbox.cgroup().unwrap().id().unwrap())
            .unwrap_or_else(|error| panic!("{error:#}"));
    }
}

fn signal(sandbox: &Sandbox, signal: i32) {
    let collector = sandbox.collector.as_ref().unwrap().pid();
    // SAFETY: the collector was not waited for, so the number is its own.
    let done = unsafe { libc::kill(collector.cast_signed(), signal) };
    assert_eq!(done, 0);
}

/// The collector stands still until the ring is full and the first act over.
fn ring_full(name: &str, way: &str, ring: &str) {
    let small = "[rings]\nsecurity = 65536\nnetwork = 65536\n[filter]\nbudget = 0\n";
    let Some(sandbox) = sandbox(name, small) else {
        return;
    };
    let path = sandbox.pins.load().unwrap().join(ring);
    signal(&sandbox, libc::SIGSTOP);
    Standing::start(&sandbox, way).check(&sandbox, || {
        signal(&sandbox, libc::SIGCONT);
        wait_until(PATIENCE, "an empty ring", || {
            let (read, written) = positions(&path)?;
            Ok((read == written).then_some(()))
        })
        .unwrap();
    });
}

#[test]
fn a_flow_whose_first_datagram_found_the_ring_full() {
    let name = "a_flow_whose_first_datagram_found_the_ring_full";
    ring_full(name, "send", "network_events");
}

#[test]
fn memory_that_was_made_executable_while_the_ring_was_full() {
    let name = "memory_that_was_made_executable_while_the_ring_was_full";
    ring_full(name, "map-wx", "security_events");
}

#[test]
fn a_32_bit_call_that_found_the_ring_full() {
    if cfg!(target_arch = "x86_64") {
        let name = "a_32_bit_call_that_found_the_ring_full";
        ring_full(name, "compat", "security_events");
    }
}

#[test]
fn a_flow_whose_first_datagram_passed_the_budget() {
    let name = "a_flow_whose_first_datagram_passed_the_budget";
    let Some(sandbox) = sandbox(name, "[filter]\nbudget = 100\n") else {
        return;
    };
    Standing::start(&sandbox, "send").check(&sandbox, || std::thread::sleep(WINDOW));
}
