//! Promise: every act of a kind that RAVN reports arrives as exactly one record, with the
//! kernel's truth in its fields. One act per trigger run, read straight off `events:raw`.
//! Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use ravn_tests::harness::Sandbox;
use ravn_tests::harness::skip::{Need, can_run};

/// A sandbox with a collector; None where it cannot run.
fn sandbox(name: &str) -> Result<Option<Sandbox>> {
    if !can_run(name, Need::Kernel)? {
        return Ok(None);
    }
    let mut sandbox = Sandbox::new()?;
    sandbox.start_collector()?;
    Ok(Some(sandbox))
}

/// Runs an act and holds what arrived against what was done: one record of that kind by that
/// process, in the sandbox's cgroup, with those fields.
fn check(sandbox: &Sandbox, args: &[&str]) {
    let truth = sandbox.trigger(args).unwrap();
    let records = sandbox.records_of(truth.tgid).unwrap();
    let mut own: Vec<_> = records
        .iter()
        .filter(|seen| seen.kind == truth.kind)
        .collect();
    if truth.kind == "exec" {
        // Of a program that replaces itself, the second exec is the act.
        own.retain(|seen| {
            !seen.fields["argv"]
                .as_str()
                .unwrap()
                .contains("trigger exec")
        });
    }
    assert_eq!(
        own.len(),
        1,
        "{args:?}: {} records of kind {}, in all {records:#?}",
        own.len(),
        truth.kind
    );
    let differences = own[0].differences(&truth.fields);
    assert!(
        differences.is_empty(),
        "{args:?}: {differences:#?} in {:#?}",
        own[0]
    );
    assert_eq!(own[0].pid, truth.pid, "{args:?}");
    assert_eq!(
        own[0].cgroup_id,
        sandbox.cgroup().unwrap().id().unwrap(),
        "{args:?}"
    );
}

/// A file of the sandbox that exists.
fn file(sandbox: &Sandbox, name: &str) -> String {
    let path = sandbox.folder().join(name);
    fs::write(&path, "x").unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn process_life() {
    let Some(sandbox) = sandbox("kernel_events::process_life").unwrap() else {
        return;
    };
    check(&sandbox, &["exec", "/bin/true", "one", "two words", ""]);
    check(&sandbox, &["fork"]);
    check(&sandbox, &["thread"]);
    check(&sandbox, &["exit", "7"]);
    check(&sandbox, &["killed", "9"]);
    check(&sandbox, &["memfd-exec"]);

    let script = file(&sandbox, "script");
    fs::write(&script, "#!/bin/sh\ntrue\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    check(&sandbox, &["exec-script", &script]);

    fs::set_permissions(sandbox.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = file(&sandbox, "setuid");
    fs::copy("/bin/true", &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    check(&sandbox, &["exec-setuid", &program]);
}

#[test]
fn files() {
    let Some(sandbox) = sandbox("kernel_events::files").unwrap() else {
        return;
    };
    let new = sandbox.folder().join("new").to_string_lossy().into_owned();
    check(&sandbox, &["open-create", &new]);
    check(&sandbox, &["open-write", &file(&sandbox, "old")]);
    check(&sandbox, &["unlink", &file(&sandbox, "gone")]);
    check(&sandbox, &["unlink-relative", &file(&sandbox, "gone too")]);
    let other = format!("{new}-name");
    check(&sandbox, &["rename", &new, &other]);
    check(&sandbox, &["chmod", &other]);
    check(&sandbox, &["fchmod", &other]);
    check(&sandbox, &["link", &other, &format!("{new}-second")]);
    check(
        &sandbox,
        &["link-descriptor", &other, &format!("{new}-third")],
    );
    check(
        &sandbox,
        &["symlink", "nowhere/at all", &format!("{new}-link")],
    );
    check(&sandbox, &["mknod", &format!("{new}-fifo")]);
    check(&sandbox, &["chown", &other]);
    check(&sandbox, &["fchown", &other]);
    check(&sandbox, &["truncate", &other]);
    check(&sandbox, &["ftruncate", &other]);
    check(&sandbox, &["setxattr", &other]);
    check(&sandbox, &["fremovexattr", &other]);
}

/// Reads of the files that the configuration names, by inode or by last name, and of no others.
#[test]
fn sensitive_files_that_are_read() {
    let name = "kernel_events::sensitive_files_that_are_read";
    if !can_run(name, Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    let (secret, open) = (file(&sandbox, "secret"), file(&sandbox, "open"));
    let by_name = file(&sandbox, "id_ravn");
    let drop_in = sandbox.folder().join("collector.toml.d");
    fs::create_dir(&drop_in).unwrap();
    fs::write(
        drop_in.join("read.toml"),
        format!("[filter]\nread_files = [\"{secret}\"]\nread_names = [\"id_ravn\"]\n"),
    )
    .unwrap();
    sandbox.start_collector().unwrap();
    let reads_of = |path: &str| {
        let truth = sandbox.trigger(&["read", path]).unwrap();
        let records = sandbox.records_of(truth.tgid).unwrap();
        records.iter().filter(|seen| seen.kind == "read").count()
    };
    check(&sandbox, &["read", &secret]);
    check(&sandbox, &["read", &by_name]);
    assert_eq!(reads_of(&open), 0);
    check(&sandbox, &["open-write", &secret]);
}

/// Names of the length that fills buffers, and of bytes that break what is naive about text.
#[test]
fn hostile_names() {
    let Some(sandbox) = sandbox("kernel_events::hostile_names").unwrap() else {
        return;
    };
    let deep = (0..12).fold(sandbox.folder().to_path_buf(), |path, level| {
        path.join(format!("{level:x}").repeat(20))
    });
    fs::create_dir_all(&deep).unwrap();
    check(
        &sandbox,
        &["open-create", &deep.join("a").to_string_lossy()],
    );
    let spaces = sandbox
        .folder()
        .join("a b  c'\"d")
        .to_string_lossy()
        .into_owned();
    check(&sandbox, &["open-create", &spaces]);
    check(&sandbox, &["unlink", &spaces]);
}

#[test]
fn sockets() {
    let Some(sandbox) = sandbox("kernel_events::sockets").unwrap() else {
        return;
    };
    let v4 = TcpListener::bind("127.0.0.1:0").unwrap();
    check(
        &sandbox,
        &["connect", &v4.local_addr().unwrap().port().to_string()],
    );
    if let Ok(v6) = TcpListener::bind("[::1]:0") {
        check(
            &sandbox,
            &["connect6", &v6.local_addr().unwrap().port().to_string()],
        );
    }
    check(
        &sandbox,
        &[
            "connect-mapped",
            &v4.local_addr().unwrap().port().to_string(),
        ],
    );
    check(&sandbox, &["connect-refused"]);
    check(&sandbox, &["connect-udp"]);
    check(&sandbox, &["accept"]);
    check(&sandbox, &["bind"]);
    check(&sandbox, &["listen"]);
    check(&sandbox, &["dup-socket"]);
    check(&sandbox, &["reverse-shell"]);
}

#[test]
fn what_is_sent() {
    let Some(sandbox) = sandbox("kernel_events::what_is_sent").unwrap() else {
        return;
    };
    check(&sandbox, &["send"]);
    for way in ["sendto", "send", "write", "sendmsg", "sendmmsg"] {
        check(&sandbox, &["dns", way]);
    }
    check(&sandbox, &["packet-socket"]);
    check(&sandbox, &["raw-socket"]);
}

/// The end of a connection comes in an interrupt: it must be told of who made it, with the bytes
/// that went each way.
#[test]
fn a_connection_ends() {
    let Some(sandbox) = sandbox("kernel_events::a_connection_ends").unwrap() else {
        return;
    };
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = far.local_addr().unwrap().port().to_string();
    let answering = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = far.accept().unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
        stream.write_all(b"answer").unwrap();
    });
    check(&sandbox, &["close", &port]);
    answering.join().unwrap();
}

#[test]
fn credentials_and_the_kernel() {
    let Some(sandbox) = sandbox("kernel_events::credentials_and_the_kernel").unwrap() else {
        return;
    };
    check(&sandbox, &["setuid"]);
    check(&sandbox, &["setgid"]);
    check(&sandbox, &["setgroups"]);
    check(&sandbox, &["capset"]);
    check(&sandbox, &["memfd"]);
    let target = sandbox.folder().join("mount");
    fs::create_dir(&target).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o755)).unwrap();
    check(&sandbox, &["mount", &target.to_string_lossy()]);
    check(&sandbox, &["module"]);
    check(&sandbox, &["bpf"]);
}

#[test]
fn one_process_upon_another() {
    let Some(sandbox) = sandbox("kernel_events::one_process_upon_another").unwrap() else {
        return;
    };
    check(&sandbox, &["ptrace-attach"]);
    check(&sandbox, &["ptrace-traceme"]);
    check(&sandbox, &["vm-write"]);
    check(&sandbox, &["vm-read"]);
    check(&sandbox, &["kill"]);
    let sensor = sandbox.collector.as_ref().unwrap().pid().to_string();
    check(&sandbox, &["signal", &sensor]);
}

#[test]
fn namespaces() {
    let Some(sandbox) = sandbox("kernel_events::namespaces").unwrap() else {
        return;
    };
    check(&sandbox, &["unshare"]);
    check(&sandbox, &["unshare-creds"]);
    check(&sandbox, &["clone"]);
    check(&sandbox, &["setns"]);
    check(&sandbox, &["setns-process"]);
    check(&sandbox, &["pivot-root", "/no mount"]);
}

#[test]
fn memory_and_doors() {
    let Some(sandbox) = sandbox("kernel_events::memory_and_doors").unwrap() else {
        return;
    };
    check(&sandbox, &["map-wx"]);
    check(&sandbox, &["write-then-execute"]);
    check(&sandbox, &["patched-file", &file(&sandbox, "text")]);
    check(&sandbox, &["keyctl"]);
    check(&sandbox, &["kexec", &file(&sandbox, "kernel")]);
    check(&sandbox, &["perf-event"]);
    check(&sandbox, &["userfaultfd"]);
    if cfg!(target_arch = "x86_64") {
        check(&sandbox, &["compat"]);
    }
}

#[test]
fn what_io_uring_carries_past_the_syscalls() {
    let name = "kernel_events::what_io_uring_carries_past_the_syscalls";
    let Some(sandbox) = sandbox(name).unwrap() else {
        return;
    };
    check(&sandbox, &["io-uring"]);
    let path = sandbox.folder().join("by ring");
    check(&sandbox, &["ring-openat", &path.to_string_lossy()]);
    check(&sandbox, &["ring-unlinkat", &path.to_string_lossy()]);
    let far = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = far.local_addr().unwrap().port().to_string();
    check(&sandbox, &["ring-connect", &port]);
}

/// Two sensors, two cgroups: neither reports the other's acts.
#[test]
fn a_narrowed_collector_sees_its_cgroup_alone() {
    let Some(here) = sandbox("kernel_events::a_narrowed_collector_sees_its_cgroup_alone").unwrap()
    else {
        return;
    };
    let there = Sandbox::new().unwrap();
    let away = there.trigger(&["bind"]).unwrap();
    check(&here, &["bind"]);
    assert!(
        here.records()
            .unwrap()
            .iter()
            .all(|seen| seen.tgid != away.tgid)
    );
}

/// A secret on a command line never reaches Redis, wherever it stands in the record.
#[test]
fn secrets_in_command_lines() {
    let Some(sandbox) = sandbox("kernel_events::secrets_in_command_lines").unwrap() else {
        return;
    };
    let secret = "hunter2Zq9";
    let run = |args: &[&str]| sandbox.trigger(&[&["exec", "/bin/true"], args].concat());
    let named = run(&["--password", secret, "-v"]).unwrap();
    let url = format!("https://me:{secret}@host/x");
    // The secret lies on the edge of the 4 KiB that a record holds.
    let long = format!("{}--token={secret}{secret}", "x ".repeat(2030));
    let cut = run(&[&url, &long]).unwrap();
    sandbox.records_of(cut.tgid).unwrap();
    let all = sandbox.records().unwrap();
    let text = format!("{all:?}");
    assert!(
        !text.contains(secret) && !text.contains("hunter2"),
        "{text}"
    );
    let argv = |tgid| {
        let mut own = all
            .iter()
            .filter(|seen| seen.tgid == tgid && seen.kind == "exec");
        let last = own.next_back().unwrap();
        assert_eq!(last.fields["redacted"], true);
        last.fields["argv"].as_str().unwrap().to_owned()
    };
    assert_eq!(argv(named.tgid), "/bin/true --password *** -v");
    assert!(argv(cut.tgid).starts_with("/bin/true https://me:***@host/x \"x x"));
}
