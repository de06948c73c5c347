//! Promise: a host that lies, hides and overflows neither breaks the sensor nor fools it: what
//! was cut is marked, and who hides is seen. Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ravn_shared::text::escape;
use ravn_tests::harness::programs::program;
use ravn_tests::harness::sandbox::{PATIENCE, truth};
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::tally::Tally;
use ravn_tests::harness::{Sandbox, wait_until};

fn sandbox(name: &str) -> Option<Sandbox> {
    if !can_run(name, Need::Kernel).unwrap() {
        return None;
    }
    let mut sandbox = Sandbox::new().unwrap();
    sandbox.start_collector().unwrap();
    Some(sandbox)
}

#[test]
fn arguments_of_two_mebibytes_are_cut_and_say_so() {
    let name = "kernel_hostile::arguments_of_two_mebibytes_are_cut_and_say_so";
    let Some(sandbox) = sandbox(name) else { return };
    // A single argument may have 128 KiB, all together a quarter of the stack's limit.
    let argument = "x".repeat(127 * 1024);
    let mut command = sandbox.command("/bin/true").unwrap();
    command.env_clear().args(vec![&argument; 16]);
    let mut child = command.spawn().unwrap();
    let tgid = child.id();
    child.wait().unwrap();
    let records = sandbox.records_of(tgid).unwrap();
    let exec = records.iter().find(|seen| seen.kind == "exec").unwrap();
    let bytes = "/bin/true".len() + 1 + 16 * (argument.len() + 1);
    assert_eq!(exec.fields["argv_bytes"], bytes, "the whole length is told");
    let shown = exec.fields["argv"].as_str().unwrap();
    assert_eq!(shown.len(), 4096, "and the first 4 KiB");
    assert!(shown.starts_with("/bin/true xxx"));
}

#[test]
fn paths_of_four_kibibytes_of_newlines_and_broken_text_arrive_as_they_are() {
    let name =
        "kernel_hostile::paths_of_four_kibibytes_of_newlines_and_broken_text_arrive_as_they_are";
    let Some(sandbox) = sandbox(name) else { return };
    let evil: &[u8] = b"a\n\xff\x1b[2J \xe2\x80\xae\\";
    let mut at = sandbox.folder().as_os_str().as_bytes().to_vec();
    // PATH_MAX counts the NUL: 4,095 bytes are the longest that a call takes.
    while at.len() + 256 < 4095 {
        at.push(b'/');
        at.extend(evil.iter().cycle().take(250));
        fs::create_dir(OsStr::from_bytes(&at)).unwrap();
    }
    at.push(b'/');
    let rest = 4095 - at.len();
    at.extend(evil.iter().cycle().take(rest));
    let output = sandbox
        .command("/bin/sh")
        .unwrap()
        .args(["-c", "echo $$; : > \"$1\"", "sh"])
        .arg(OsStr::from_bytes(&at))
        .output()
        .unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    let tgid = words.trim().parse().unwrap();
    let records = sandbox.records_of(tgid).unwrap();
    let open = records.iter().find(|seen| seen.kind == "open").unwrap();
    assert_eq!(open.fields["path"], escape(&at));
    assert_eq!(open.fields["cut"], false);
}

#[test]
fn fifty_thousand_short_processes_are_all_told_or_counted() {
    let name = "kernel_hostile::fifty_thousand_short_processes_are_all_told_or_counted";
    let Some(sandbox) = sandbox(name) else { return };
    let count = 50_000u64;
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let crowd = scope.spawn(|| sandbox.trigger(&["crowd", &count.to_string()]));
        let mut connection = sandbox.redis.admin().unwrap();
        let deadline = Instant::now() + Duration::from_secs(90);
        let kinds = |tally: &Tally, kind: &str| tally.kinds.get(kind).copied().unwrap_or(0);
        let all = |tally: &Tally| {
            let lost = tally.lost(ravn_shared::kind::Stream::Syscall);
            kinds(tally, "fork") + kinds(tally, "exit") + lost >= 2 * count
        };
        let arrived = tally.take_until(&mut connection, &sandbox.keys().raw(), deadline, all);
        crowd.join().unwrap().unwrap();
        arrived.unwrap();
        assert_eq!(tally.lost(ravn_shared::kind::Stream::Syscall), 0, "{tally}");
        assert!(kinds(&tally, "fork") >= count, "{tally}");
    });
}

/// Neither its name nor its cgroup is what leaves the collector's own sequences out.
#[test]
fn who_takes_the_collectors_name_and_cgroup_is_seen_all_the_same() {
    let name = "kernel_hostile::who_takes_the_collectors_name_and_cgroup_is_seen_all_the_same";
    let Some(sandbox) = sandbox(name) else { return };
    let collector = sandbox.collector.as_ref().unwrap().pid();
    let procs = sandbox.cgroup().unwrap().path().join("cgroup.procs");
    fs::write(&procs, collector.to_string()).unwrap();
    let impostor = sandbox.folder().join("ravn-collector");
    copy(&program("trigger").unwrap(), &impostor);
    let output = sandbox
        .command(&impostor)
        .unwrap()
        .args(["bind"])
        .output()
        .unwrap();
    let told = truth(&["bind"], &output).unwrap();
    let records = sandbox.records_of(told.tgid).unwrap();
    let bind = records.iter().find(|seen| seen.kind == "bind").unwrap();
    assert_eq!(bind.comm, "ravn-collector");
    assert!(bind.differences(&told.fields).is_empty(), "{bind:#?}");
    wait_until(PATIENCE, "its sequence", || {
        Ok(threads(&sandbox)?.contains(&told.tgid).then_some(()))
    })
    .unwrap();
    assert!(
        !threads(&sandbox).unwrap().contains(&collector),
        "the collector itself stays out of sequences"
    );
}

/// By a program of its own: while this process holds it open for writing, another test's fork
/// would keep it so, and it could not be run.
fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// Threads that chunks define.
fn threads(sandbox: &Sandbox) -> anyhow::Result<Vec<u32>> {
    use ravn_shared::event::Event;
    use ravn_shared::wire::decode_batch;
    use ravn_shared::words::{Word, Words};

    let batches: Vec<Vec<u8>> = redis::cmd("LRANGE")
        .arg(sandbox.keys().raw())
        .arg(0)
        .arg(-1)
        .query(&mut sandbox.redis.admin()?)?;
    let mut threads = Vec::new();
    for bytes in &batches {
        for record in decode_batch(bytes)?.records {
            if let Event::Chunk(chunk) = record.event {
                threads.extend(Words::new(chunk.words).filter_map(|step| match step {
                    Ok((_, Word::Define(_, thread))) => Some(thread.pid),
                    _ => None,
                }));
            }
        }
    }
    Ok(threads)
}

/// In mount and pid namespaces of its own a process has another id for itself and another root:
/// records have the host's id, and the path that it sees.
#[test]
fn namespaces_of_its_own_hide_nothing() {
    let name = "kernel_hostile::namespaces_of_its_own_hide_nothing";
    let Some(sandbox) = sandbox(name) else { return };
    let hidden = sandbox.folder().join("hidden");
    fs::create_dir(&hidden).unwrap();
    let file = hidden.join("file");
    let script = "mount -t tmpfs tmpfs \"$1\" && exec \"$2\" open-create \"$1/file\"";
    let output = sandbox
        .command("unshare")
        .unwrap()
        .args(["--mount", "--pid", "--fork", "sh", "-c", script, "sh"])
        .arg(&hidden)
        .arg(program("trigger").unwrap())
        .output()
        .unwrap();
    let told = truth(&["open-create"], &output).unwrap();
    assert_eq!(told.tgid, 1, "the first of its namespace");
    assert!(!file.exists(), "outside nothing is to be seen");
    let open = wait_until(PATIENCE, "the hidden file's record", || {
        let path = file.to_string_lossy();
        Ok(sandbox
            .records()?
            .into_iter()
            .find(|seen| seen.kind == "open" && seen.fields["path"] == *path))
    })
    .unwrap();
    assert!(open.tgid > 1, "{open:#?}");
    assert_eq!(open.fields["ino"], told.fields["ino"], "{open:#?}");
}
