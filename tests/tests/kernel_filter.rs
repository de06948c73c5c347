//! Promise: what configuration leaves out is left out, nothing else is, and a reload changes it
//! while the hooks stay attached. Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use ravn_tests::harness::programs::program;
use ravn_tests::harness::sandbox::{PATIENCE, truth};
use ravn_tests::harness::skip::{Need, can_run};
use ravn_tests::harness::{Sandbox, wait_until};

/// A sandbox whose collector runs with `filter` (keys of that table).
fn sandbox(name: &str, filter: &str) -> Option<Sandbox> {
    if !can_run(name, Need::Kernel).unwrap() {
        return None;
    }
    let mut sandbox = Sandbox::new().unwrap();
    write(&sandbox, filter);
    sandbox.start_collector().unwrap();
    Some(sandbox)
}

fn write(sandbox: &Sandbox, filter: &str) {
    let folder = sandbox.folder().join("collector.toml.d");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("filter.toml"), format!("[filter]\n{filter}")).unwrap();
}

/// Kinds that a run of the trigger made.
fn kinds(sandbox: &Sandbox, trigger: &Path, args: &[&str]) -> Result<Vec<&'static str>> {
    let output = sandbox.command(trigger)?.args(args).output()?;
    let told = truth(args, &output)?;
    let records = sandbox.records_of(told.tgid)?;
    Ok(records.iter().map(|seen| seen.kind).collect())
}

fn new_file(sandbox: &Sandbox, name: &str) -> String {
    let path = sandbox.folder().join(name);
    path.to_string_lossy().into_owned()
}

#[test]
fn a_program_that_is_left_out_keeps_its_life_and_its_credentials() {
    let name = "kernel_filter::a_program_that_is_left_out_keeps_its_life_and_its_credentials";
    if !can_run(name, Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    let quiet = sandbox.folder().join("quiet");
    let plain = program("trigger").unwrap();
    // By a program of its own: while this process holds it open for writing, another test's
    // fork would keep it so, and it could not be run.
    let copied = Command::new("cp").arg(&plain).arg(&quiet).status().unwrap();
    assert!(copied.success());
    write(
        &sandbox,
        &format!("exclude_programs = [\"{}\"]\n", quiet.display()),
    );
    sandbox.start_collector().unwrap();
    let create = |trigger: &Path, file: &str| {
        let path = new_file(&sandbox, file);
        kinds(&sandbox, trigger, &["open-create", &path]).unwrap()
    };
    assert!(create(&plain, "plain").contains(&"open"));
    let seen = create(&quiet, "quiet-file");
    assert!(!seen.contains(&"open"), "{seen:?}");
    assert!(seen.contains(&"exec") && seen.contains(&"exit"), "{seen:?}");
    let seen = kinds(&sandbox, &quiet, &["setuid"]).unwrap();
    assert!(seen.contains(&"creds"), "{seen:?}");
}

#[test]
fn a_reload_switches_kinds_off_and_on_while_the_hooks_stay() {
    let name = "kernel_filter::a_reload_switches_kinds_off_and_on_while_the_hooks_stay";
    let Some(mut sandbox) = sandbox(name, "kinds_off = [\"bind\"]\n") else {
        return;
    };
    let trigger = program("trigger").unwrap();
    // The fence of the harness waits for a bind: look at what arrives before it instead.
    let bound = |sandbox: &Sandbox| -> Result<bool> {
        let output = sandbox.command(&trigger)?.args(["bind"]).output()?;
        let told = truth(&["bind"], &output)?;
        let output = sandbox.command(&trigger)?.args(["memfd"]).output()?;
        let after = truth(&["memfd"], &output)?;
        wait_until(PATIENCE, "the exit of a later process", || {
            let records = sandbox.records()?;
            let gone = |tgid| {
                records
                    .iter()
                    .any(|seen| seen.tgid == tgid && seen.kind == "exit")
            };
            let seen = records
                .iter()
                .any(|seen| seen.tgid == told.tgid && seen.kind == "bind");
            Ok((gone(told.tgid) && gone(after.tgid)).then_some(seen))
        })
    };
    let before = load(&sandbox);
    assert!(!bound(&sandbox).unwrap(), "bind is switched off");
    write(&sandbox, "kinds_off = []\n");
    sandbox
        .collector
        .as_mut()
        .unwrap()
        .signal(libc::SIGHUP)
        .unwrap();
    wait_until(PATIENCE, "the filter to apply", || {
        let log = sandbox.collector.as_ref().unwrap().log();
        Ok(log
            .contains("the filter of the configuration applies")
            .then_some(()))
    })
    .unwrap();
    wait_until(PATIENCE, "bind to be seen", || {
        Ok(bound(&sandbox)?.then_some(()))
    })
    .unwrap();
    assert_eq!(load(&sandbox), before, "the hooks stayed");

    write(&sandbox, "kinds_off = [\"exec\"]\n");
    sandbox
        .collector
        .as_mut()
        .unwrap()
        .signal(libc::SIGHUP)
        .unwrap();
    wait_until(PATIENCE, "the refusal", || {
        let log = sandbox.collector.as_ref().unwrap().log();
        Ok(log.contains("filter.kinds_off = exec").then_some(()))
    })
    .unwrap();
    assert!(
        bound(&sandbox).unwrap(),
        "a wrong configuration changes nothing"
    );
    // What takes the pins away at the end reads the same file.
    write(&sandbox, "");
}

/// The load of the programs that records, and the collector's life so far, as it says.
fn load(sandbox: &Sandbox) -> String {
    wait_until(PATIENCE, "the collector's hash", || {
        let key = sandbox.keys().collector();
        let load: Option<String> = redis::cmd("HGET")
            .arg(key)
            .arg("load_id")
            .query(&mut sandbox.redis.admin()?)?;
        Ok(load)
    })
    .unwrap()
}

#[test]
fn a_sensitive_file_is_told_when_it_is_read_and_after_it_was_replaced() {
    let name = "kernel_filter::a_sensitive_file_is_told_when_it_is_read_and_after_it_was_replaced";
    if !can_run(name, Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    let secret = new_file(&sandbox, "secret");
    let (key, plain) = (new_file(&sandbox, "id_test"), new_file(&sandbox, "plain"));
    for path in [&secret, &key, &plain] {
        fs::write(path, "x").unwrap();
    }
    write(
        &sandbox,
        &format!("read_files = [\"{secret}\"]\nread_names = [\"id_test\"]\n"),
    );
    sandbox.start_collector().unwrap();
    let read = |path: &str| -> Result<bool> {
        let child = sandbox
            .command("/bin/sh")?
            .args(["-c", "echo $$; : < \"$1\"", "sh", path])
            .output()?;
        let tgid = String::from_utf8(child.stdout)?.trim().parse()?;
        let records = sandbox.records_of(tgid)?;
        Ok(records
            .iter()
            .any(|seen| seen.kind == "read" && seen.fields["path"] == path))
    };
    assert!(read(&secret).unwrap(), "by its inode");
    assert!(read(&key).unwrap(), "by its name");
    assert!(!read(&plain).unwrap(), "and no other");
    fs::write(new_file(&sandbox, "newer"), "y").unwrap();
    fs::rename(new_file(&sandbox, "newer"), &secret).unwrap();
    wait_until(PATIENCE, "the replaced file to be known", || {
        Ok(read(&secret)?.then_some(()))
    })
    .unwrap();
}
