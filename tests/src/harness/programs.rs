//! Where the built programs are: in the folder of this test's own executable, or above it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The path of a program of this workspace, built beside the running test.
///
/// # Errors
/// When it was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("find the test's own executable")?;
    for folder in own.ancestors().skip(1).take(2) {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!(
        "{name} is not beside {}; run cargo build --release --workspace first",
        own.display()
    )
}

/// `program` where every user may execute it: itself, or a copy in `folder` when a directory
/// above it is closed (a checkout under /root).
///
/// # Errors
/// When it cannot be copied.
pub fn for_everyone(program: &Path, folder: &Path) -> Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let open = program.ancestors().skip(1).all(|above| {
        above
            .metadata()
            .is_ok_and(|data| data.permissions().mode() & 0o001 != 0)
    });
    if open {
        return Ok(program.to_path_buf());
    }
    let name = program.file_name().context("a program without a name")?;
    let copy = folder.join(name);
    if !copy.exists() {
        // By another process: a descriptor open for writing here would be inherited by what
        // other tests start meanwhile, and the copy could not be executed (ETXTBSY).
        let status = std::process::Command::new("cp")
            .args([program, &copy])
            .status()?;
        anyhow::ensure!(
            status.success(),
            "cannot copy {} to {}: cp ended with {status}",
            program.display(),
            copy.display()
        );
    }
    Ok(copy)
}
