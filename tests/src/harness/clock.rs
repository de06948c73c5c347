//! A time of day of a test's own, by libfaketime: for what is started with its variables.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where the library is, if it is installed: Debian puts it below the architecture's folder.
pub fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?;
    let below = folders.filter_map(|entry| Some(entry.ok()?.path()));
    below
        .chain([PathBuf::from("/usr/lib")])
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.exists())
}

/// The clock that some programs go by.
#[derive(Debug)]
pub struct Clock {
    file: PathBuf,
    library: PathBuf,
}

impl Clock {
    /// A clock that is right, kept in `folder`.
    ///
    /// # Errors
    /// Without the library.
    pub fn new(folder: &Path) -> Result<Self> {
        let clock = Self {
            file: folder.join("clock"),
            library: library().context("libfaketime is not installed")?,
        };
        clock.set(0)?;
        Ok(clock)
    }

    /// Steps it to so many seconds off the true time.
    ///
    /// # Errors
    /// When its file cannot be written.
    pub fn set(&self, seconds: i64) -> Result<()> {
        // By rename: whoever reads it reads all of it.
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{seconds:+}\n"))?;
        fs::rename(&next, &self.file).context("set the clock")
    }

    /// For the environment of who goes by it. The steady clocks stay true, as they do when a
    /// time of day is set.
    pub fn variables(&self) -> Vec<(String, String)> {
        [
            ("LD_PRELOAD", self.library.to_string_lossy()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.to_string_lossy()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
        ]
        .map(|(name, value)| (name.to_owned(), value.into_owned()))
        .into()
    }
}
