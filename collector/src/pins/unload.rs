//! `ravn-collector unload`: takes away what an instance left pinned.

use std::path::Path;

use anyhow::{Context, Result};

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
    Ok(())
}
