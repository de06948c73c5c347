//! Promise: an event shows what the kernel did, not what the caller's memory says: paths that are
//! rewritten during the call, symlinks, `..`, bind mounts and `/proc/self/fd` fool nobody.
//! Needs root and BPF.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use anyhow::Result;
use ravn_tests::harness::Sandbox;
use ravn_tests::harness::skip::{Need, can_run};

fn sandbox(name: &str) -> Result<Option<Sandbox>> {
    if !can_run(name, Need::Kernel)? {
        return Ok(None);
    }
    let mut sandbox = Sandbox::new()?;
    sandbox.start_collector()?;
    Ok(Some(sandbox))
}

/// One record of that kind, with those fields, by the trigger that does this act.
fn check(sandbox: &Sandbox, args: &[&str]) {
    let truth = sandbox.trigger(args).unwrap();
    let records = sandbox.records_of(truth.tgid).unwrap();
    let own: Vec<_> = records
        .iter()
        .filter(|seen| seen.kind == truth.kind)
        .collect();
    assert_eq!(own.len(), 1, "{args:?}: {records:#?}");
    let differences = own[0].differences(&truth.fields);
    assert!(
        differences.is_empty(),
        "{args:?}: {differences:#?} in {:#?}",
        own[0]
    );
}

/// Thousands of opens while a second thread rewrites the path: each record's path must be that of
/// its inode, and each file must have been opened as often as the descriptors say.
#[test]
fn a_path_that_is_rewritten_during_the_call() {
    const ROUNDS: u64 = 5_000;
    let Some(sandbox) = sandbox("kernel_truth::a_path_that_is_rewritten").unwrap() else {
        return;
    };
    let folder = sandbox.folder().join("race");
    fs::create_dir(&folder).unwrap();
    let inode = |name: &str| {
        let path = folder.join(name);
        fs::write(&path, "x").unwrap();
        fs::metadata(path).unwrap().ino()
    };
    let (a, b) = (inode("a"), inode("b"));
    let rounds = ROUNDS.to_string();
    let truth = sandbox
        .trigger(&["race-open", &folder.to_string_lossy(), &rounds])
        .unwrap();
    let told = |name: &str| truth.fields[name].as_u64().unwrap();
    assert_eq!(told("a") + told("b"), ROUNDS);
    assert!(
        told("a") > 0 && told("b") > 0,
        "the race was never won: {:?}",
        truth.fields
    );

    let mut seen = [0_u64; 2];
    for record in sandbox.records_of(truth.tgid).unwrap() {
        if record.kind != "open" {
            continue;
        }
        let path = record.fields["path"].as_str().unwrap();
        let Some(name) = Path::new(path).strip_prefix(&folder).ok() else {
            continue;
        };
        let (expected, count) = match name.to_str() {
            Some("a") => (a, &mut seen[0]),
            Some("b") => (b, &mut seen[1]),
            other => panic!("neither file: {other:?}"),
        };
        assert_eq!(record.fields["ino"].as_u64(), Some(expected), "{path}");
        *count += 1;
    }
    assert_eq!(seen, [told("a"), told("b")], "{:?}", truth.fields);
    eprintln!(
        "{ROUNDS} opens, {} of them with another name behind than before the call",
        told("changed")
    );
}

#[test]
fn other_names_of_a_file() {
    let Some(sandbox) = sandbox("kernel_truth::other_names_of_a_file").unwrap() else {
        return;
    };
    let folder = fs::canonicalize(sandbox.folder()).unwrap();
    let real = folder.join("real");
    fs::create_dir_all(folder.join("deep/er")).unwrap();
    fs::write(&real, "x").unwrap();
    let real = real.to_string_lossy().into_owned();
    let given = |name: &str| folder.join(name).to_string_lossy().into_owned();
    symlink("../real", folder.join("deep/one")).unwrap();
    symlink("deep", folder.join("two")).unwrap();
    check(&sandbox, &["open-as", &given("two/one"), &real]);
    check(
        &sandbox,
        &["open-as", &given("deep/er/../..//./real"), &real],
    );
    check(&sandbox, &["open-as", &given("two/er/../one"), &real]);
    check(&sandbox, &["open-descriptor", &real]);

    // A program by a symlink of it: the image is what runs, the name what was asked for.
    let program = folder.join("innocent");
    symlink("/bin/true", &program).unwrap();
    let truth = sandbox
        .trigger(&["exec", &program.to_string_lossy()])
        .unwrap();
    let records = sandbox.records_of(truth.tgid).unwrap();
    let own = records.iter().rfind(|seen| seen.kind == "exec").unwrap();
    let differences = own.differences(&truth.fields);
    assert!(differences.is_empty(), "{differences:#?}");
    let image = fs::canonicalize("/bin/true").unwrap();
    assert_eq!(own.fields["path"].as_str(), image.to_str());
}

/// A file below a bind mount has the path of the mount, as everybody there sees it, and keeps
/// the file's device and inode.
#[test]
fn a_file_below_a_bind_mount() {
    let Some(sandbox) = sandbox("kernel_truth::a_file_below_a_bind_mount").unwrap() else {
        return;
    };
    let folder = fs::canonicalize(sandbox.folder()).unwrap();
    let (from, to) = (folder.join("from"), folder.join("to"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    fs::write(from.join("file"), "x").unwrap();
    let mounted = Mounted::bind(&from, &to);
    let path = to.join("file").to_string_lossy().into_owned();
    check(&sandbox, &["open-as", &path, &path]);
    drop(mounted);
}

/// A bind mount that ends with the test.
struct Mounted(CString);

impl Mounted {
    fn bind(from: &Path, to: &Path) -> Self {
        let name = |path: &Path| CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
        let (source, target) = (name(from), name(to));
        let null = std::ptr::null();
        // SAFETY: both are C strings; a bind mount takes neither a type nor data.
        let done = unsafe {
            libc::mount(
                source.as_ptr(),
                target.as_ptr(),
                null,
                libc::MS_BIND,
                null.cast(),
            )
        };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
        Self(target)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // SAFETY: a C string.
        unsafe { libc::umount2(self.0.as_ptr(), libc::MNT_DETACH) };
    }
}
