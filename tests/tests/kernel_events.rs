//! Promise: every act of a kind that RAVN reports arrives as exactly one record, with the
//! kernel's truth in its fields. One act per trigger run, read straight off `events:raw`.
//! Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;

use anyhow::{Context, Result};
use ravn_tests::harness::Sandbox;
use ravn_tests::harness::every_act::{self, Group};
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

/// Runs an act and holds what arrived against what was done.
fn check(sandbox: &Sandbox, args: &[&str]) -> Result<()> {
    let truth = sandbox.trigger(args)?;
    let records = sandbox.records_of(truth.tgid)?;
    truth.check(&records, sandbox.cgroup()?.id()?)
}

/// Runs a group of acts on a quiet line.
fn run(name: &str, group: Group) {
    if !can_run(&format!("kernel_events::{name}"), Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    every_act::prepare(&sandbox, "").unwrap();
    sandbox.start_collector().unwrap();
    group(&sandbox, &mut |args| {
        check(&sandbox, args).with_context(|| format!("{args:?}"))
    })
    .unwrap_or_else(|error| panic!("{error:#}"));
}

#[test]
fn process_life() {
    run("process_life", every_act::process_life);
}

#[test]
fn files() {
    run("files", every_act::files);
}

/// Reads of the files that the configuration names, by inode or by last name.
#[test]
fn sensitive_files_that_are_read() {
    run("sensitive_files_that_are_read", every_act::sensitive_files);
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
    )
    .unwrap();
    let spaces = sandbox
        .folder()
        .join("a b  c'\"d")
        .to_string_lossy()
        .into_owned();
    check(&sandbox, &["open-create", &spaces]).unwrap();
    check(&sandbox, &["unlink", &spaces]).unwrap();
}

#[test]
fn sockets() {
    run("sockets", every_act::sockets);
}

#[test]
fn what_is_sent() {
    run("what_is_sent", every_act::what_is_sent);
}

#[test]
fn a_connection_ends() {
    run("a_connection_ends", every_act::a_connection_ends);
}

#[test]
fn credentials_and_the_kernel() {
    run(
        "credentials_and_the_kernel",
        every_act::credentials_and_the_kernel,
    );
}

#[test]
fn one_process_upon_another() {
    run(
        "one_process_upon_another",
        every_act::one_process_upon_another,
    );
}

#[test]
fn namespaces() {
    run("namespaces", every_act::namespaces);
}

#[test]
fn memory_and_doors() {
    run("memory_and_doors", every_act::memory_and_doors);
}

#[test]
fn other_tables() {
    run("other_tables", every_act::other_tables);
}

#[test]
fn what_io_uring_carries_past_the_syscalls() {
    run(
        "what_io_uring_carries_past_the_syscalls",
        every_act::past_the_syscalls,
    );
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
    check(&here, &["bind"]).unwrap();
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
