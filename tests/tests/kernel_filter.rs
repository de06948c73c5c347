//! Promise: what configuration leaves out is left out, nothing else is, and a reload changes it
//! while the hooks stay attached. Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
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
    copy(&quiet);
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

/// A copy of the trigger at `path`. By a program of its own: while this process holds it open for
/// writing, another test's fork would keep it so, and it could not be run.
fn copy(path: &Path) {
    let plain = program("trigger").unwrap();
    let copied = Command::new("cp").arg(plain).arg(path).status().unwrap();
    assert!(copied.success());
}

/// Whoever is left out is asked by another table's numbers too.
#[test]
fn a_program_that_is_left_out_is_seen_by_whatever_table_it_calls() {
    let name = "kernel_filter::a_program_that_is_left_out_is_seen_by_whatever_table_it_calls";
    if !cfg!(target_arch = "x86_64") || !can_run(name, Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    let quiet = sandbox.folder().join("quiet");
    copy(&quiet);
    write(
        &sandbox,
        &format!("exclude_programs = [\"{}\"]\n", quiet.display()),
    );
    sandbox.start_collector().unwrap();
    for (act, expected) in [
        ("setuid32", ["creds", "compat"].as_slice()),
        ("compat", &["compat"]),
        ("setuid-x32", &["creds"]),
    ] {
        let seen = kinds(&sandbox, &quiet, &[act]).unwrap();
        for kind in expected {
            assert!(seen.contains(kind), "{act}: {seen:?}");
        }
    }
    let seen = kinds(&sandbox, &quiet, &["socketcall"]).unwrap();
    assert!(!seen.contains(&"bind"), "{seen:?}");
}

/// What takes the inode of an excluded program that was removed is another program.
#[test]
fn an_inode_that_is_used_again_is_not_left_out() {
    let name = "kernel_filter::an_inode_that_is_used_again_is_not_left_out";
    if !can_run(name, Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    let quiet = sandbox.folder().join("quiet");
    copy(&quiet);
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let old = inode(&quiet);
    write(
        &sandbox,
        &format!("exclude_programs = [\"{}\"]\n", quiet.display()),
    );
    sandbox.start_collector().unwrap();
    let path = new_file(&sandbox, "first");
    let seen = kinds(&sandbox, &quiet, &["open-create", &path]).unwrap();
    assert!(!seen.contains(&"open"), "{seen:?}");
    fs::remove_file(&quiet).unwrap();
    // ext4 gives the lowest free number; others may never give one again.
    let again = (0..64)
        .map(|number| sandbox.folder().join(format!("other-{number}")))
        .find(|other| {
            copy(other);
            inode(other) == old
        });
    let Some(other) = again else {
        eprintln!("{name}: this file system gives no inode number again soon");
        return;
    };
    let path = new_file(&sandbox, "second");
    let seen = kinds(&sandbox, &other, &["open-create", &path]).unwrap();
    assert!(seen.contains(&"open"), "{seen:?}");
}

/// As many programs as the map takes, then as many others.
#[test]
fn a_full_list_can_be_changed_for_another() {
    let name = "kernel_filter::a_full_list_can_be_changed_for_another";
    if !can_run(name, Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    let folder = sandbox.folder().join("many");
    fs::create_dir(&folder).unwrap();
    let some = |numbers: std::ops::Range<u32>| {
        let mut list = String::new();
        for number in numbers {
            let path = folder.join(number.to_string());
            fs::write(&path, "").unwrap();
            list += &format!("\"{}\",", path.display());
        }
        format!("exclude_programs = [{list}]\n")
    };
    write(&sandbox, &some(0..1024));
    sandbox.start_collector().unwrap();
    write(&sandbox, &some(1024..2048));
    let collector = sandbox.collector.as_mut().unwrap();
    collector.signal(libc::SIGHUP).unwrap();
    wait_until(PATIENCE, "the other list", || {
        let log = sandbox.collector.as_ref().unwrap().log();
        assert!(!log.contains("stays as it was"), "{log}");
        Ok(log
            .contains("the filter of the configuration applies")
            .then_some(()))
    })
    .unwrap();
}

/// A mount that ends with the test.
struct Mounted(PathBuf);

impl Mounted {
    /// By mount(8); None where it cannot be done.
    fn new(at: PathBuf, args: &[&str]) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        let status = Command::new("mount").args(args).arg(&at).status().unwrap();
        status.success().then_some(Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Where `stat` shows another device than the kernel compares, what configuration names is found
/// all the same.
fn named_files_are_found_on(sandbox: &mut Sandbox, folder: &Path) {
    let (quiet, secret) = (folder.join("quiet"), folder.join("secret"));
    copy(&quiet);
    fs::write(&secret, "x").unwrap();
    write(
        sandbox,
        &format!(
            "exclude_programs = [\"{}\"]\nread_files = [\"{}\"]\n",
            quiet.display(),
            secret.display()
        ),
    );
    sandbox.start_collector().unwrap();
    let path = new_file(sandbox, "made");
    let seen = kinds(sandbox, &quiet, &["open-create", &path]).unwrap();
    assert!(!seen.contains(&"open"), "{seen:?}");
    let plain = program("trigger").unwrap();
    let seen = kinds(sandbox, &plain, &["read", &secret.to_string_lossy()]).unwrap();
    assert!(seen.contains(&"read"), "{seen:?}");
}

/// Layers on two file systems: a file's device is the layer's to `stat`, the mount's to the kernel.
#[test]
fn files_of_an_overlay_are_found() {
    let name = "kernel_filter::files_of_an_overlay_are_found";
    if !can_run(name, Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    let folder = sandbox.folder().to_path_buf();
    let lower = folder.join("lower");
    fs::create_dir(&lower).unwrap();
    copy(&lower.join("quiet"));
    let tmpfs = Mounted::new(folder.join("upper"), &["-t", "tmpfs", "tmpfs"]).unwrap();
    let (upper, work) = (tmpfs.0.join("files"), tmpfs.0.join("work"));
    fs::create_dir(&upper).unwrap();
    fs::create_dir(&work).unwrap();
    let layers = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    let args = ["-t", "overlay", "overlay", "-o", &layers];
    let Some(mounted) = Mounted::new(folder.join("merged"), &args) else {
        eprintln!("{name}: no overlay can be mounted here");
        return;
    };
    named_files_are_found_on(&mut sandbox, &mounted.0);
}

/// A subvolume has a device of its own to `stat` alone.
#[test]
fn files_of_a_btrfs_subvolume_are_found() {
    let name = "kernel_filter::files_of_a_btrfs_subvolume_are_found";
    if !can_run(name, Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    let image = sandbox.folder().join("image");
    fs::File::create(&image)
        .unwrap()
        .set_len(256 << 20)
        .unwrap();
    let made = Command::new("mkfs.btrfs").arg("-q").arg(&image).status();
    if !made.is_ok_and(|made| made.success()) {
        eprintln!("{name}: no mkfs.btrfs here; the overlay's test shows the same");
        return;
    }
    let at = sandbox.folder().join("btrfs");
    let image = image.to_string_lossy().into_owned();
    let Some(mounted) = Mounted::new(at, &["-o", "loop", &image]) else {
        eprintln!("{name}: no btrfs can be mounted here");
        return;
    };
    named_files_are_found_on(&mut sandbox, &mounted.0);
    sandbox.collector = None;
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
    wait_until(PATIENCE, "the filter to apply, and what it is", || {
        let log = sandbox.collector.as_ref().unwrap().log();
        Ok(log
            .contains("the filter of the configuration applies: 0 kinds off, 0 programs and 0 cgroups left out, ")
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

/// A CPU that a process leaves keeps no budget from it.
#[test]
fn a_small_budget_is_enough_on_every_cpu() {
    let name = "kernel_filter::a_small_budget_is_enough_on_every_cpu";
    if !can_run(name, Need::Kernel).unwrap() {
        return;
    }
    let mut sandbox = Sandbox::new().unwrap();
    write(&sandbox, "budget = 50\n");
    sandbox.start_collector().unwrap();
    let folder = sandbox.folder().to_str().unwrap().to_owned();
    let truth = sandbox.trigger(&["hopping-opens", &folder, "40"]).unwrap();
    let seen = sandbox.records_of(truth.tgid).unwrap();
    let opens = seen.iter().filter(|seen| seen.kind == "open").count();
    // The trigger's own start opens nothing to write.
    assert_eq!(opens, 40);
}
