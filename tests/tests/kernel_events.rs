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
    check(&sandbox, &["connect-refused"]);
    check(&sandbox, &["connect-udp"]);
    check(&sandbox, &["accept"]);
    check(&sandbox, &["bind"]);
    check(&sandbox, &["listen"]);
    check(&sandbox, &["dup-socket"]);
    check(&sandbox, &["reverse-shell"]);
}

#[test]
fn credentials_and_the_kernel() {
    let Some(sandbox) = sandbox("kernel_events::credentials_and_the_kernel").unwrap() else {
        return;
    };
    check(&sandbox, &["setuid"]);
    check(&sandbox, &["setgid"]);
    check(&sandbox, &["capset"]);
    check(&sandbox, &["ptrace-attach"]);
    check(&sandbox, &["ptrace-traceme"]);
    check(&sandbox, &["memfd"]);
    let target = sandbox.folder().join("mount");
    fs::create_dir(&target).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o755)).unwrap();
    check(&sandbox, &["mount", &target.to_string_lossy()]);
    check(&sandbox, &["module"]);
    check(&sandbox, &["bpf"]);
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
