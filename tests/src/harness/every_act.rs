//! Every act that the trigger program can do, of every kind that is reported, in groups. On a quiet
//! line and under load the same list is run.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result};

use super::Sandbox;

/// Does an act and looks at what came of it; the words are the trigger program's arguments.
pub type Check<'a> = dyn FnMut(&[&str]) -> Result<()> + 'a;

/// Some acts, one after another.
pub type Group = fn(&Sandbox, &mut Check<'_>) -> Result<()>;

/// All groups.
pub const GROUPS: [Group; 12] = [
    process_life,
    files,
    sensitive_files,
    sockets,
    what_is_sent,
    a_connection_ends,
    credentials_and_the_kernel,
    one_process_upon_another,
    namespaces,
    memory_and_doors,
    other_tables,
    past_the_syscalls,
];

/// What the collector must be told before it starts: the sensitive files.
///
/// # Errors
/// When a file cannot be written.
pub fn prepare(sandbox: &Sandbox, filter: &str) -> Result<()> {
    let drop_in = sandbox.folder().join("collector.toml.d");
    fs::create_dir(&drop_in)?;
    let secret = file(sandbox, "secret")?;
    fs::write(
        drop_in.join("acts.toml"),
        format!("[filter]\nread_files = [\"{secret}\"]\nread_names = [\"id_ravn\"]\n{filter}"),
    )?;
    Ok(())
}

/// Takes away what the acts made, so that they can be done again.
///
/// # Errors
/// When the folder cannot be read, or a file cannot be removed.
pub fn clean(sandbox: &Sandbox) -> Result<()> {
    for entry in fs::read_dir(sandbox.folder())? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("new") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(fs::remove_dir(sandbox.folder().join("mount"))?)
}

/// A path in the sandbox's folder.
fn path(sandbox: &Sandbox, name: &str) -> String {
    let path = sandbox.folder().join(name);
    path.to_string_lossy().into_owned()
}

/// A file of the sandbox that exists.
///
/// # Errors
/// When it cannot be written.
pub fn file(sandbox: &Sandbox, name: &str) -> Result<String> {
    let path = path(sandbox, name);
    fs::write(&path, "x").with_context(|| path.clone())?;
    Ok(path)
}

/// Processes, threads, programs, cgroups.
///
/// # Errors
/// When an act fails, or the check of one does.
pub fn process_life(sandbox: &Sandbox, check: &mut Check<'_>) -> Result<()> {
    check(&["exec", "/bin/true", "one", "two words", ""])?;
    check(&["fork"])?;
    check(&["thread"])?;
    check(&["exit", "7"])?;
    check(&["killed", "9"])?;
    check(&["memfd-exec"])?;

    let script = file(sandbox, "script")?;
    fs::write(&script, "#!/bin/sh\ntrue\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    check(&["exec-script", &script])?;

    fs::set_permissions(sandbox.folder(), fs::Permissions::from_mode(0o755))?;
    let program = file(sandbox, "setuid")?;
    fs::copy("/bin/true", &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755))?;
    check(&["exec-setuid", &program])?;
    let cgroup = sandbox.cgroup()?.path().join("made.service");
    check(&["cgroup", &cgroup.to_string_lossy()])?;
    Ok(())
}

/// What is done to files.
///
/// # Errors
/// When an act fails, or the check of one does.
pub fn files(sandbox: &Sandbox, check: &mut Check<'_>) -> Result<()> {
    let new = sandbox.folder().join("new").to_string_lossy().into_owned();
    check(&["open-create", &new])?;
    check(&["open-write", &file(sandbox, "old")?])?;
    // A tmpfs, as a rule: that has handles, which what the sandbox lies on may not.
    let held = format!("/dev/shm/ravn-{}", std::process::id());
    fs::write(&held, "x")?;
    let opened = check(&["open-by-handle", &held]);
    fs::remove_file(&held)?;
    opened?;
    check(&["unlink", &file(sandbox, "gone")?])?;
    check(&["unlink-relative", &file(sandbox, "gone too")?])?;
    let other = format!("{new}-name");
    check(&["rename", &new, &other])?;
    check(&["chmod", &other])?;
    check(&["fchmod", &other])?;
    check(&["link", &other, &format!("{new}-second")])?;
    check(&["link-descriptor", &other, &format!("{new}-third")])?;
    check(&["symlink", "nowhere/at all", &format!("{new}-link")])?;
    check(&["mknod", &format!("{new}-fifo")])?;
    check(&["chown", &other])?;
    check(&["fchown", &other])?;
    check(&["truncate", &other])?;
    check(&["ftruncate", &other])?;
    check(&["setxattr", &other])?;
    check(&["fremovexattr", &other])?;
    Ok(())
}

/// Files whose reading [`prepare`] made an event.
///
/// # Errors
/// When an act fails, or the check of one does.
pub fn sensitive_files(sandbox: &Sandbox, check: &mut Check<'_>) -> Result<()> {
    check(&["read", &path(sandbox, "secret")])?;
    check(&["read", &file(sandbox, "id_ravn")?])?;
    check(&["open-write", &path(sandbox, "secret")])?;
    Ok(())
}

/// Sockets and their ends.
///
/// # Errors
/// When an act fails, or the check of one does.
pub fn sockets(_: &Sandbox, check: &mut Check<'_>) -> Result<()> {
    let v4 = TcpListener::bind("127.0.0.1:0")?;
    check(&["connect", &v4.local_addr()?.port().to_string()])?;
    if let Ok(v6) = TcpListener::bind("[::1]:0") {
        check(&["connect6", &v6.local_addr()?.port().to_string()])?;
    }
    check(&["connect-mapped", &v4.local_addr()?.port().to_string()])?;
    check(&["connect-refused"])?;
    check(&["connect-udp"])?;
    check(&["accept"])?;
    check(&["bind"])?;
    check(&["listen"])?;
    check(&["dup-socket"])?;
    check(&["reverse-shell"])?;
    Ok(())
}

/// Datagrams, questions to name servers, raw sockets.
///
/// # Errors
/// When an act fails, or the check of one does.
pub fn what_is_sent(_: &Sandbox, check: &mut Check<'_>) -> Result<()> {
    check(&["send"])?;
    for way in ["sendto", "send", "write", "sendmsg", "sendmmsg"] {
        check(&["dns", way])?;
    }
    check(&["packet-socket"])?;
    check(&["raw-socket"])?;
    Ok(())
}

/// The end of a connection comes in an interrupt: it must be told of who made it, with the bytes
/// that went each way.
///
/// # Errors
/// When an act fails, or the check of one does.
pub fn a_connection_ends(_: &Sandbox, check: &mut Check<'_>) -> Result<()> {
    let far = TcpListener::bind("127.0.0.1:0")?;
    let port = far.local_addr()?.port().to_string();
    let answering = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = far.accept()?;
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard)?;
        stream.write_all(b"answer")
    });
    check(&["close", &port])?;
    Ok(answering.join().ok().context("the far end panicked")??)
}

/// Who a process is, mounts, modules, programs in the kernel.
///
/// # Errors
/// When an act fails, or the check of one does.
pub fn credentials_and_the_kernel(sandbox: &Sandbox, check: &mut Check<'_>) -> Result<()> {
    check(&["setuid"])?;
    check(&["setgid"])?;
    check(&["setgroups"])?;
    check(&["capset"])?;
    check(&["memfd"])?;
    let target = sandbox.folder().join("mount");
    fs::create_dir(&target)?;
    fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
    check(&["mount", &target.to_string_lossy()])?;
    check(&["module"])?;
    check(&["bpf"])?;
    Ok(())
}

/// Debuggers, foreign memory, signals.
///
/// # Errors
/// When an act fails, or the check of one does.
pub fn one_process_upon_another(sandbox: &Sandbox, check: &mut Check<'_>) -> Result<()> {
    check(&["ptrace-attach"])?;
    check(&["ptrace-traceme"])?;
    check(&["vm-write"])?;
    check(&["vm-read"])?;
    check(&["kill"])?;
    let sensor = sandbox
        .collector
        .as_ref()
        .context("no collector")?
        .pid()
        .to_string();
    check(&["signal", &sensor])?;
    Ok(())
}

/// Namespaces and roots.
///
/// # Errors
/// When an act fails, or the check of one does.
pub fn namespaces(_: &Sandbox, check: &mut Check<'_>) -> Result<()> {
    check(&["unshare"])?;
    check(&["unshare-creds"])?;
    check(&["clone"])?;
    check(&["setns"])?;
    check(&["setns-process"])?;
    check(&["pivot-root", "/no mount"])?;
    Ok(())
}

/// Memory that is executed, and doors into the kernel.
///
/// # Errors
/// When an act fails, or the check of one does.
pub fn memory_and_doors(sandbox: &Sandbox, check: &mut Check<'_>) -> Result<()> {
    check(&["map-wx"])?;
    check(&["write-then-execute"])?;
    check(&["patched-file", &file(sandbox, "text")?])?;
    check(&["keyctl"])?;
    check(&["kexec", &file(sandbox, "kernel")?])?;
    check(&["perf-event"])?;
    check(&["userfaultfd"])?;
    Ok(())
}

/// The same acts by the 32-bit table and by x32 numbers.
///
/// # Errors
/// When an act fails, or the check of one does.
pub fn other_tables(sandbox: &Sandbox, check: &mut Check<'_>) -> Result<()> {
    if cfg!(target_arch = "x86_64") {
        let path = file(sandbox, "by 32 bits")?;
        check(&["compat"])?;
        check(&["socketcall"])?;
        check(&["truncate64", &path])?;
        fs::write(&path, "x")?;
        check(&["ftruncate64", &path])?;
        check(&["setuid32"])?;
        check(&["setuid-x32"])?;
    }
    Ok(())
}

/// What io_uring carries past the syscalls.
///
/// # Errors
/// When an act fails, or the check of one does.
pub fn past_the_syscalls(sandbox: &Sandbox, check: &mut Check<'_>) -> Result<()> {
    check(&["io-uring"])?;
    let path = path(sandbox, "by ring");
    check(&["ring-openat", &path])?;
    check(&["ring-unlinkat", &path])?;
    let far = TcpListener::bind("127.0.0.1:0")?;
    let port = far.local_addr()?.port().to_string();
    check(&["ring-connect", &port])?;
    Ok(())
}
