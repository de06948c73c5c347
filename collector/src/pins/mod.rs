//! What outlives the collector: maps and links in `/sys/fs/bpf/ravn/<instance>/`.
//!
//! The folder holds the map `meta` and one folder for each load, named by its id and the
//! digest of the header that its records follow. One load is active; others wait for their
//! rings to be drained, or were left behind by a collector that was killed amid a change.

mod bpffs;
mod lock;
mod meta;
pub mod unload;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use libbpf_rs::{MapCore, MapHandle, MapType};

use crate::programs::{ABI, map_id};

pub use lock::Held;
pub use meta::Meta;

const META: &str = "meta";

/// An instance's folder, held against a second collector.
#[derive(Debug)]
pub struct Pins {
    place: PathBuf,
    lock: File,
    meta: MapHandle,
    fresh: bool,
}

/// A load in the folder.
#[derive(Debug)]
pub struct Left {
    /// Its id.
    pub load_id: u64,
    /// Its folder.
    pub folder: PathBuf,
    /// Its records can be decoded by this program.
    pub readable: bool,
}

impl Pins {
    /// Makes the folder if need be and takes hold of it.
    ///
    /// # Errors
    /// [`Held`] when another collector has it; others when nothing can be pinned there.
    pub fn hold(place: &Path) -> Result<Self> {
        bpffs::prepare(place)?;
        let lock = lock::lock(place)?;
        let path = place.join(META);
        // A load reuses it by this name, type and size.
        let found = MapHandle::from_pinned_path(&path).ok().filter(|map| {
            map.name() == META
                && map.map_type() == MapType::Array
                && map.value_size() == meta::BYTES
        });
        let fresh = found.is_none();
        let meta = match found {
            Some(map) => map,
            None => {
                let mut map = Meta::map()?;
                remove_file(&path)?;
                map.pin(&path)
                    .with_context(|| format!("cannot pin {}", path.display()))?;
                map
            }
        };
        Ok(Self {
            place: place.to_path_buf(),
            lock,
            meta,
            fresh,
        })
    }

    /// Whether the map `meta` was not there, or was none, and is a new one.
    pub const fn meta_is_fresh(&self) -> bool {
        self.fresh
    }

    /// The map that all loads of this instance share.
    pub const fn meta(&self) -> &MapHandle {
        &self.meta
    }

    /// Makes the folder of a new load.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn make(&self, load_id: u64) -> Result<PathBuf> {
        let folder = self.folder(load_id);
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// Where a load of this program's own kind is pinned.
    pub fn folder(&self, load_id: u64) -> PathBuf {
        self.place.join(format!("{load_id:016x}_{}", abi()))
    }

    /// The loads that are there.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn left(&self) -> Result<Vec<Left>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.place)? {
            let entry = entry?;
            let name = entry.file_name();
            let parts = name.to_str().and_then(|name| name.split_once('_'));
            let Some((id, kind)) = parts else { continue };
            if let Ok(load_id) = u64::from_str_radix(id, 16) {
                all.push(Left {
                    load_id,
                    folder: entry.path(),
                    readable: kind == abi(),
                });
            }
        }
        Ok(all)
    }

    /// Removes a load's pins; what is not there is no error.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove(&self, folder: &Path) -> Result<()> {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", folder.display()))
            }
            _ => Ok(()),
        }
    }

    /// Removes everything, the instance's folder too.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn remove_all(self) -> Result<()> {
        // Killed half way, what is left names no load that is missed.
        Meta::default().write(&self.meta)?;
        self.remove(&self.place)?;
        // The folder of all instances, if this was the last.
        if let Some(above) = self.place.parent() {
            let _ = fs::remove_dir(above);
        }
        Ok(())
    }

    /// Puts back the folder and the pin of `meta` where they were removed or replaced.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn mend(&mut self) -> Result<()> {
        if !lock::holds(&self.lock, &self.place) {
            bpffs::prepare(&self.place)?;
            self.lock = lock::lock(&self.place)?;
        }
        let path = self.place.join(META);
        let own = map_id(&self.meta)?;
        let pinned = MapHandle::from_pinned_path(&path).and_then(|map| map.info());
        if pinned.map_or(true, |pinned| pinned.info.id != own) {
            remove_file(&path)?;
            self.meta
                .pin(&path)
                .with_context(|| format!("cannot pin {}", path.display()))?;
        }
        Ok(())
    }

    /// What is pinned for a load, to find later what is missing.
    ///
    /// # Errors
    /// When the folders cannot be read.
    pub fn inventory(&self, load_id: u64) -> Result<Inventory> {
        let mut files = vec![self.place.clone(), self.place.join(META)];
        for entry in fs::read_dir(self.folder(load_id))? {
            files.push(entry?.path());
        }
        let files = files
            .into_iter()
            .map(|path| Ok((fs::symlink_metadata(&path)?.ino(), path)))
            .collect::<io::Result<_>>()?;
        Ok(Inventory(files))
    }
}

/// Pins by their inodes.
#[derive(Debug, Default)]
pub struct Inventory(Vec<(u64, PathBuf)>);

impl Inventory {
    /// Looks whether each is still there.
    ///
    /// # Errors
    /// The first that is not, or is another.
    pub fn check(&self) -> Result<()> {
        for (inode, path) in &self.0 {
            match fs::symlink_metadata(path) {
                Ok(now) if now.ino() == *inode => {}
                Ok(_) => bail!("the pin {} was replaced", path.display()),
                Err(error) => bail!("the pin {} is gone: {error}", path.display()),
            }
        }
        Ok(())
    }
}

/// Removes a pin; one that is not there is no error.
///
/// # Errors
/// When the file system refuses.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The header's digest, short enough for a name.
fn abi() -> String {
    ABI[..4].iter().map(|byte| format!("{byte:02x}")).collect()
}
