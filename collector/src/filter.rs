//! What configuration leaves out, looked up on this host and written into the programs' maps.
//!
//! Paths become what the kernel compares: a file its device and inode, a program these and its
//! last change, a cgroup its id. [`Filter::of`] looks them up, [`Filter::write`] brings the maps in line without a
//! program being detached: at the start, at SIGHUP, and whenever a file was replaced.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use ravn_shared::kind::{Class, Kind};

use crate::config::Filter as Wanted;
use crate::mounts::Mounts;
use crate::programs::{Maps, ZERO};

/// Longest last component that `sensitive_names` takes; its keys end with a NUL.
pub const MOST_NAME: usize = 31;

/// Contents of the maps. Keys are as `bpf/` lays them out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    kinds_off: [u64; 2],
    budget: u32,
    programs: BTreeSet<[u8; 24]>,
    cgroups: BTreeSet<[u8; 8]>,
    files: BTreeSet<[u8; 16]>,
    names: BTreeSet<[u8; 32]>,
    /// What the configuration names and could not be looked up, and why.
    missing: BTreeSet<String>,
    /// Programs that the configuration names and that are none to the kernel.
    scripts: BTreeSet<String>,
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: u32 = self.kinds_off.iter().map(|word| word.count_ones()).sum();
        let out = self.missing.len() + self.scripts.len();
        write!(
            f,
            "{kinds} kinds off, {} programs and {} cgroups left out, {} files and {} names watched, \
             budget {}, {out} entries without effect",
            self.programs.len(),
            self.cgroups.len(),
            self.files.len(),
            self.names.len(),
            self.budget,
        )
    }
}

impl Filter {
    /// Looks up what the configuration names. What is not there is left out alone, and said when
    /// the filter is written: a unit that stopped takes its cgroup along, and comes again.
    pub fn of(wanted: &Wanted) -> Self {
        let mut filter = Self {
            budget: wanted.budget,
            ..Self::default()
        };
        for name in &wanted.kinds_off {
            if let Some(kind) = kind(name) {
                let number = kind as usize;
                filter.kinds_off[number / 64] |= 1 << (number % 64);
            }
        }
        let mounts = Mounts::read();
        for path in &wanted.exclude_programs {
            match mounts.find(path) {
                Ok(_) if is_script(path) => filter.scripts.insert(format!(
                    "filter.exclude_programs: {} is a script: the kernel runs the interpreter that \
                     its first line names, so this leaves nothing out; name that one, and with it \
                     go all its scripts, or put the script into a cgroup for \
                     filter.exclude_cgroups",
                    path.display()
                )),
                Ok(file) => filter.programs.insert(file.program()),
                Err(error) => filter.missed("exclude_programs", path, &error),
            };
        }
        for path in &wanted.exclude_cgroups {
            match fs::metadata(path) {
                Ok(metadata) => filter.cgroups.insert(metadata.ino().to_ne_bytes()),
                Err(error) => filter.missed("exclude_cgroups", path, &error),
            };
        }
        for path in &wanted.read_files {
            match mounts.find(path) {
                Ok(file) => filter.files.insert(file.file()),
                Err(error) => filter.missed("read_files", path, &error),
            };
        }
        for name in &wanted.read_names {
            let mut key = [0; MOST_NAME + 1];
            if let Some(room) = key.get_mut(..name.len()) {
                room.copy_from_slice(name.as_bytes());
                filter.names.insert(key);
            }
        }
        filter
    }

    fn missed(&mut self, key: &str, path: &Path, error: &std::io::Error) -> bool {
        let words = format!("filter.{key}: cannot look up {}: {error}", path.display());
        self.missing.insert(words)
    }

    /// Writes what is not in the maps yet, takes out what no longer belongs there, and says what
    /// could not be looked up.
    ///
    /// # Errors
    /// When a map refuses: it is full.
    pub fn write(&self, maps: &Maps) -> Result<()> {
        for words in &self.missing {
            tracing::warn!("{words}; it is looked up again every 5 s");
        }
        for words in &self.scripts {
            tracing::warn!("{words}");
        }
        sync(&maps.excluded_programs, &self.programs).context("filter.exclude_programs")?;
        sync(&maps.excluded_cgroups, &self.cgroups).context("filter.exclude_cgroups")?;
        sync(&maps.sensitive_files, &self.files).context("filter.read_files")?;
        sync(&maps.sensitive_names, &self.names).context("filter.read_names")?;
        maps.sensitive
            .update(&ZERO, &self.in_use(), MapFlags::ANY)?;
        maps.filter.update(&ZERO, &self.bytes(), MapFlags::ANY)?;
        Ok(())
    }

    /// Whether the maps still hold it.
    ///
    /// # Errors
    /// When a map cannot be read.
    pub fn holds(&self, maps: &Maps) -> Result<bool> {
        let same = |map: &MapHandle, bytes: &[u8]| -> Result<bool> {
            Ok(map.lookup(&ZERO, MapFlags::ANY)?.as_deref() == Some(bytes))
        };
        Ok(same(&maps.filter, &self.bytes())?
            && same(&maps.sensitive, &self.in_use())?
            && keys(&maps.excluded_programs) == self.programs
            && keys(&maps.excluded_cgroups) == self.cgroups
            && keys(&maps.sensitive_files) == self.files
            && keys(&maps.sensitive_names) == self.names)
    }

    /// `struct ravn_filter`.
    fn bytes(&self) -> Vec<u8> {
        let words = [
            u32::from(!self.programs.is_empty()),
            u32::from(!self.cgroups.is_empty()),
            self.budget,
            0,
        ];
        let mut bytes = Vec::with_capacity(32);
        bytes.extend(self.kinds_off.iter().flat_map(|word| word.to_ne_bytes()));
        bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        bytes
    }

    /// `struct sensitive`.
    fn in_use(&self) -> Vec<u8> {
        let words = [
            u32::from(!self.files.is_empty()),
            u32::from(!self.names.is_empty()),
        ];
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let bits = [
            bits(self.files.iter().map(|key| first_word(key))),
            bits(self.names.iter().map(|key| {
                let len = key.iter().position(|byte| *byte == 0);
                first_word(key).wrapping_add(len.unwrap_or(MOST_NAME) as u64)
            })),
        ];
        bytes.extend(bits.iter().flatten().flat_map(|word| word.to_ne_bytes()));
        bytes
    }
}

/// Whether the kernel hands a file to an interpreter (execve(2)).
fn is_script(path: &Path) -> bool {
    let mut first = [0; 2];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut first));
    read.is_ok() && first == *b"#!"
}

/// The first 8 bytes of a key: all zero when it is shorter.
fn first_word(key: &[u8]) -> u64 {
    key.first_chunk().copied().map_or(0, u64::from_ne_bytes)
}

/// A table of bits in which those of `keys` are set: `bit__set` of bpf/file_monitor.bpf.c.
fn bits(keys: impl Iterator<Item = u64>) -> [u64; 16] {
    let mut bits = [0; 16];
    for key in keys {
        let bit = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 54;
        if let Some(word) = bits.get_mut((bit >> 6) as usize) {
            *word |= 1 << (bit & 63);
        }
    }
    bits
}

/// The kind of a name in the configuration, if it may be switched off.
pub fn kind(name: &str) -> Option<Kind> {
    Kind::ALL
        .iter()
        .copied()
        .find(|kind| kind.name() == name)
        .filter(|kind| kind.class() != Class::Essential)
}

fn keys<const N: usize>(map: &impl MapCore) -> BTreeSet<[u8; N]> {
    map.keys().filter_map(|key| key.try_into().ok()).collect()
}

fn sync<const N: usize>(map: &impl MapCore, wanted: &BTreeSet<[u8; N]>) -> Result<()> {
    let there = keys(map);
    // First what goes: a full map may be given all others.
    for key in there.difference(wanted) {
        map.delete(key)?;
    }
    for key in wanted.difference(&there) {
        map.update(key, &[1], MapFlags::ANY)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_kinds_of_little_value_may_be_switched_off() {
        assert_eq!(kind("open"), Some(Kind::Open));
        assert_eq!(kind("sequence"), Some(Kind::Chunk));
        for name in ["exec", "creds", "ptrace", "exit", "nothing"] {
            assert_eq!(kind(name), None, "{name}");
        }
    }

    #[test]
    fn paths_become_what_the_kernel_compares() {
        let wanted = Wanted {
            kinds_off: vec!["bind".to_owned()],
            exclude_programs: vec!["/proc/self/exe".into()],
            read_files: vec!["/proc/self/exe".into(), "/nonexistent/key".into()],
            read_names: vec!["id_rsa".to_owned()],
            budget: 7,
            ..Wanted::default()
        };
        let filter = Filter::of(&wanted);
        assert_eq!(filter.kinds_off, [1 << (Kind::Bind as u64), 0]);
        let metadata = fs::metadata("/proc/self/exe").unwrap();
        let (program, file) = (filter.programs.first(), filter.files.first());
        let (program, file) = (program.unwrap(), file.unwrap());
        assert_eq!(program[..8], metadata.ino().to_ne_bytes());
        assert_eq!(program[8..16], metadata.ctime().to_ne_bytes());
        assert_eq!((&file[..8], &file[8..12]), (&program[..8], &program[20..]));
        assert_eq!(filter.names.first().unwrap()[..8], *b"id_rsa\0\0");
        assert_eq!(filter.bytes()[16..28], [1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0]);
        let in_use = filter.in_use();
        assert_eq!(in_use[..8], [1, 0, 0, 0, 1, 0, 0, 0]);
        let set = |table: &[u8]| table.iter().map(|byte| byte.count_ones()).sum::<u32>();
        assert_eq!((set(&in_use[8..136]), set(&in_use[136..])), (1, 1));
    }

    #[test]
    fn what_is_not_there_is_named_and_the_rest_stands() {
        let wanted = Wanted {
            exclude_programs: vec!["/nonexistent/program".into(), "/proc/self/exe".into()],
            read_files: Vec::new(),
            ..Wanted::default()
        };
        let filter = Filter::of(&wanted);
        assert_eq!(filter.programs.len(), 1);
        let missing = filter.missing.first().map(String::as_str);
        let start = "filter.exclude_programs: cannot look up /nonexistent/program: ";
        assert!(missing.is_some_and(|words| words.starts_with(start)));
        assert_eq!(
            filter.to_string(),
            "0 kinds off, 1 programs and 0 cgroups left out, 0 files and 4 names watched, \
             budget 20000, 1 entries without effect"
        );
    }

    #[test]
    fn a_script_is_no_program_and_that_is_said() {
        let path = std::env::temp_dir().join(format!("ravn-filter-{}", std::process::id()));
        fs::write(&path, "#!/bin/sh\n").unwrap();
        let wanted = Wanted {
            exclude_programs: vec![path.clone()],
            ..Wanted::default()
        };
        let filter = Filter::of(&wanted);
        fs::remove_file(&path).unwrap();
        assert!(filter.programs.is_empty());
        let said = filter.scripts.first().unwrap();
        assert!(said.contains("interpreter") && said.contains(path.to_str().unwrap()));
    }
}
