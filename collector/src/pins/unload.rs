//! `ravn-collector unload`: takes away what an instance left pinned.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result};
use ravn_shared::text::escape;

use super::{Pins, bpffs};

/// Removes all pins of the instance in `place`, and with them its programs; says what.
///
/// # Errors
/// When a collector holds the instance, or the file system refuses.
pub fn run(place: Option<&Path>) -> Result<()> {
    let Some(place) = place else {
        println!("pins.folder is empty: nothing is ever pinned");
        return Ok(());
    };
    if !place.exists() || !bpffs::is_bpffs(place)? {
        println!("nothing is pinned in {}", place.display());
        name_others(place);
        return Ok(());
    }
    let pins = Pins::hold(place)?;
    for left in pins.left()? {
        let mut names: Vec<String> = std::fs::read_dir(&left.folder)
            .with_context(|| format!("cannot read {}", left.folder.display()))?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<std::io::Result<_>>()?;
        names.sort();
        println!("removed load {:016x}: {}", left.load_id, names.join(" "));
    }
    pins.remove_all()?;
    println!("removed {}", place.display());
    name_others(place);
    Ok(())
}

/// Each weighs on every syscall of the host, so who wanted to be rid of the sensor must know.
fn name_others(place: &Path) {
    for name in others(place) {
        println!("left: instance {name}; ravn-collector unload --instance {name}");
    }
}

/// The other instances in the folder of this one, by name. A folder that cannot be read has none
/// that could be removed.
fn others(place: &Path) -> Vec<String> {
    let folder = place.parent().map(std::fs::read_dir);
    let mut names: Vec<String> = folder
        .and_then(Result::ok)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path() != place && entry.path().is_dir())
        .map(|entry| escape(entry.file_name().as_bytes()))
        .collect();
    names.sort();
    names
}
