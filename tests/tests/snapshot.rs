//! Promise: what runs since before the sensor is known: its program, its parent, its user, where
//! it stands. Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use anyhow::Result;
use ravn_tests::harness::events::Seen;
use ravn_tests::harness::programs::program;
use ravn_tests::harness::sandbox::truth;
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::{Sandbox, sandbox::PATIENCE, wait_until};
use serde_json::json;

/// A process that ends with the test.
struct Older(Child);

impl Older {
    fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }
}

impl Drop for Older {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn found(sandbox: &Sandbox, kind: &str, of: impl Fn(&Seen) -> bool) -> Result<Seen> {
    wait_until(PATIENCE, "a record of the snapshot", || {
        Ok(sandbox
            .records()?
            .into_iter()
            .find(|seen| seen.kind == kind && of(seen)))
    })
}

/// Jiffies of user space since boot at which a process began (proc(5), field 22).
fn start_ticks(tgid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{tgid}/stat")).unwrap();
    let after = stat.rsplit(") ").next().unwrap();
    after.split(' ').nth(19).unwrap().parse().unwrap()
}

#[test]
fn a_process_older_than_the_sensor_is_told() {
    if !can_run(
        "snapshot::a_process_older_than_the_sensor_is_told",
        Need::Kernel,
    )
    .unwrap()
    {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    let folder = sandbox.folder().to_path_buf();
    let gone = folder.join("gone");
    // Not by this process: another test's fork would keep it open for writing, and it could not
    // be run.
    let copied = Command::new("cp").arg("/bin/sleep").arg(&gone).status();
    assert!(copied.unwrap().success());
    let mut command = sandbox.command(&gone).unwrap();
    let deleted = Older::start(command.arg("601"));
    fs::remove_file(&gone).unwrap();
    let mut command = sandbox.command("/bin/sleep").unwrap();
    let plain = Older::start(command.arg("602").current_dir(&folder));
    sandbox.start_collector().unwrap();

    let tgid = plain.0.id();
    let seen = found(&sandbox, "process", |seen| seen.tgid == tgid).unwrap();
    let image = fs::canonicalize("/bin/sleep").unwrap();
    let metadata = fs::metadata(&image).unwrap();
    let truth = json!({
        "path": image.to_str().unwrap(),
        "argv": "/bin/sleep 602",
        "cwd": folder.to_str().unwrap(),
        "ino": std::os::unix::fs::MetadataExt::ino(&metadata),
        "flags": 0,
        "euid": 0,
    });
    let differences = seen.differences(truth.as_object().unwrap());
    assert!(differences.is_empty(), "{differences:#?} in {seen:#?}");
    assert_eq!(seen.parent_tgid, std::process::id());
    assert_eq!(seen.cgroup_id, sandbox.cgroup().unwrap().id().unwrap());
    // Ticks of user space are 10 ms.
    assert_eq!(seen.start_ns / 10_000_000, start_ticks(tgid));

    let tgid = deleted.0.id();
    let seen = found(&sandbox, "process", |seen| seen.tgid == tgid).unwrap();
    assert_eq!(seen.fields["flags"], json!(1), "{seen:#?}");
    assert_eq!(seen.fields["path"], json!(gone.to_str().unwrap()));
}

/// What a process was before its credentials change is known, though nobody saw it begin.
#[test]
fn the_credentials_of_a_process_older_than_the_sensor_are_known() {
    let name = "snapshot::the_credentials_of_a_process_older_than_the_sensor_are_known";
    if !can_run(name, Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    let older: Vec<_> = [&["setuid"][..], &["exec", "/bin/true"]]
        .into_iter()
        .map(|act| {
            let fifo = sandbox.fifo(act[0]).unwrap();
            let mut command = sandbox.command(program("trigger").unwrap()).unwrap();
            command.arg("late").arg(&fifo).args(act);
            let child = command.stdout(Stdio::piped()).spawn().unwrap();
            (act, fifo, Older(child))
        })
        .collect();
    sandbox.start_collector().unwrap();
    for (act, fifo, mut older) in older {
        let tgid = older.0.id();
        found(&sandbox, "process", |seen| seen.tgid == tgid).unwrap();
        drop(fs::File::options().write(true).open(fifo).unwrap());
        let mut stdout = Vec::new();
        older
            .0
            .stdout
            .take()
            .unwrap()
            .read_to_end(&mut stdout)
            .unwrap();
        let output = Output {
            status: older.0.wait().unwrap(),
            stdout,
            stderr: Vec::new(),
        };
        let told = truth(act, &output).unwrap();
        let records = sandbox.records_of(tgid).unwrap();
        told.check(&records, sandbox.cgroup().unwrap().id().unwrap())
            .unwrap_or_else(|error| panic!("{act:?}: {error:#}"));
    }
}

#[test]
fn cgroups_are_named_whether_they_were_there_or_are_made() {
    if !can_run(
        "snapshot::cgroups_are_named_whether_they_were_there_or_are_made",
        Need::Kernel,
    )
    .unwrap()
    {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    let own = sandbox.cgroup().unwrap().path().to_path_buf();
    let (there, made) = (own.join("there.service"), own.join("made.service"));
    fs::create_dir(&there).unwrap();
    sandbox.start_collector().unwrap();
    fs::create_dir(&made).unwrap();
    for (kind, folder) in [("cgroup_found", &there), ("cgroup", &made)] {
        let seen = found(&sandbox, kind, |seen| seen.fields["id"] == id(folder)).unwrap();
        let path = seen.fields["path"].as_str().unwrap();
        let end = format!(
            "/{}/{}",
            own.file_name().unwrap().to_str().unwrap(),
            folder.file_name().unwrap().to_str().unwrap()
        );
        assert_eq!(path, end);
    }
    fs::remove_dir(&there).unwrap();
    fs::remove_dir(&made).unwrap();
}

fn id(folder: &Path) -> serde_json::Value {
    json!(std::os::unix::fs::MetadataExt::ino(
        &fs::metadata(folder).unwrap()
    ))
}
