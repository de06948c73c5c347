//! The maps of one load that the collector reads, writes or keeps.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use libbpf_rs::{MapCore, MapFlags, MapHandle};
use ravn_shared::kind::Kind;

use crate::config::{Config, Rings};
use crate::filter::Filter;

/// Maps by their names in `bpf/`. `meta` is not among them: all loads share it.
#[derive(Debug)]
pub struct Maps {
    /// Process life and sequences.
    pub syscall_events: MapHandle,
    /// Security.
    pub security_events: MapHandle,
    /// Network.
    pub network_events: MapHandle,
    /// Files.
    pub file_events: MapHandle,
    /// Counters and open chunks.
    pub cpu_states: MapHandle,
    /// `struct ravn_settings`.
    pub settings: MapHandle,
    /// Ids of the cgroups that the sensor is narrowed to.
    pub only_cgroups: MapHandle,
    /// Processes without sequences: id to start.
    pub excluded: MapHandle,
    /// `struct ravn_filter`.
    pub filter: MapHandle,
    /// Images that are left out.
    pub excluded_programs: MapHandle,
    /// Cgroups that are left out.
    pub excluded_cgroups: MapHandle,
    /// `struct sensitive`.
    pub sensitive: MapHandle,
    /// Files whose reading is reported.
    pub sensitive_files: MapHandle,
    /// Last components of paths whose reading is reported.
    pub sensitive_names: MapHandle,
    /// Records that the budget cut, by process and kind.
    pub cuts: MapHandle,
}

impl Maps {
    /// Takes each from `find`, which is given its name.
    ///
    /// # Errors
    /// The first of `find`.
    pub fn find(mut find: impl FnMut(&'static str) -> Result<MapHandle>) -> Result<Self> {
        Ok(Self {
            syscall_events: find("syscall_events")?,
            security_events: find("security_events")?,
            network_events: find("network_events")?,
            file_events: find("file_events")?,
            cpu_states: find("cpu_states")?,
            settings: find("settings")?,
            only_cgroups: find("only_cgroups")?,
            excluded: find("excluded")?,
            filter: find("filter")?,
            excluded_programs: find("excluded_programs")?,
            excluded_cgroups: find("excluded_cgroups")?,
            sensitive: find("sensitive")?,
            sensitive_files: find("sensitive_files")?,
            sensitive_names: find("sensitive_names")?,
            cuts: find("cuts")?,
        })
    }

    /// Takes each from its pin.
    ///
    /// # Errors
    /// When one is missing.
    pub fn pinned(folder: &Path) -> Result<Self> {
        Self::find(|name| {
            let path = folder.join(name);
            MapHandle::from_pinned_path(&path)
                .with_context(|| format!("cannot open the pin {}", path.display()))
        })
    }

    /// Pins each by its name.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn pin(&mut self, folder: &Path) -> Result<()> {
        for (name, map) in self.all_mut() {
            let path = folder.join(name);
            map.pin(&path)
                .with_context(|| format!("cannot pin {}", path.display()))?;
        }
        Ok(())
    }

    /// The id of each, by its name.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn ids(&mut self) -> Result<Vec<(&'static str, u32)>> {
        self.all_mut()
            .into_iter()
            .map(|(name, map)| Ok((name, id(map)?)))
            .collect()
    }

    const fn all_mut(&mut self) -> [(&'static str, &mut MapHandle); 15] {
        [
            ("syscall_events", &mut self.syscall_events),
            ("security_events", &mut self.security_events),
            ("network_events", &mut self.network_events),
            ("file_events", &mut self.file_events),
            ("cpu_states", &mut self.cpu_states),
            ("settings", &mut self.settings),
            ("only_cgroups", &mut self.only_cgroups),
            ("excluded", &mut self.excluded),
            ("filter", &mut self.filter),
            ("excluded_programs", &mut self.excluded_programs),
            ("excluded_cgroups", &mut self.excluded_cgroups),
            ("sensitive", &mut self.sensitive),
            ("sensitive_files", &mut self.sensitive_files),
            ("sensitive_names", &mut self.sensitive_names),
            ("cuts", &mut self.cuts),
        ]
    }

    /// What the budget cut since the load, the most first.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn cuts(&self) -> Result<Vec<Cut>> {
        let mut cuts = Vec::new();
        for key in self.cuts.keys() {
            let word = |at: usize| Some(u32::from_ne_bytes(key.get(at..at + 4)?.try_into().ok()?));
            // The least recently used may go while this looks.
            let count = self.cuts.lookup(&key, MapFlags::ANY)?;
            let count = count.and_then(|count| Some(u64::from_ne_bytes(count.try_into().ok()?)));
            let kind = word(4)
                .and_then(|kind| u16::try_from(kind).ok())
                .and_then(Kind::from_wire);
            if let (Some(tgid), Some(kind), Some(count)) = (word(0), kind, count) {
                cuts.push(Cut {
                    tgid,
                    kind: kind.name(),
                    count,
                });
            }
        }
        cuts.sort_by_key(|cut| std::cmp::Reverse(cut.count));
        cuts.truncate(MOST_CUTS);
        Ok(cuts)
    }

    /// The ring buffers, in the order in which they are drained.
    pub const fn rings(&self) -> [&MapHandle; 4] {
        [
            &self.syscall_events,
            &self.security_events,
            &self.network_events,
            &self.file_events,
        ]
    }

    /// Whether the ring buffers have these sizes.
    pub fn have_sizes(&self, rings: &Rings) -> bool {
        self.syscall_events.max_entries() == rings.syscall
            && self.security_events.max_entries() == rings.security
            && self.network_events.max_entries() == rings.network
            && self.file_events.max_entries() == rings.file
    }
}

/// Records that one process made too many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Cut {
    /// Process id.
    pub tgid: u32,
    /// Kind, as users see it.
    pub kind: &'static str,
    /// How many were cut since the load.
    pub count: u64,
}

/// Most cuts that are shown.
const MOST_CUTS: usize = 16;

/// What the maps that a restart may change must hold: `struct ravn_settings`, and the sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    chunk_ring_limit: u64,
    cgroups: Vec<u64>,
    prover: u32,
    filter: Filter,
}

impl Settings {
    /// From the configuration; `prover` is the thread whose acts are always looked at.
    ///
    /// # Errors
    /// When a cgroup that the sensor is narrowed to is not there.
    pub fn of(config: &Config, prover: u32) -> Result<Self> {
        let mut cgroups = config
            .filter
            .only_cgroups
            .iter()
            .map(cgroup_id)
            .collect::<Result<Vec<u64>>>()?;
        cgroups.sort_unstable();
        cgroups.dedup();
        Ok(Self {
            // The last quarter of the ring is left to process life.
            chunk_ring_limit: u64::from(config.rings.syscall) / 4 * 3,
            cgroups,
            prover,
            filter: Filter::of(&config.filter),
        })
    }

    /// The same with what another configuration filters.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn renewed(&self, config: &Config) -> Result<Self> {
        Ok(Self {
            chunk_ring_limit: self.chunk_ring_limit,
            ..Self::of(config, self.prover)?
        })
    }

    /// What configuration leaves out.
    pub const fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Writes them. What is wanted comes before what is not goes: nothing is missed between.
    ///
    /// # Errors
    /// When a map refuses.
    pub fn write(&self, maps: &Maps) -> Result<()> {
        for id in &self.cgroups {
            maps.only_cgroups
                .update(&id.to_ne_bytes(), &[1], MapFlags::ANY)?;
        }
        maps.settings.update(&ZERO, &self.bytes(), MapFlags::ANY)?;
        for key in maps.only_cgroups.keys() {
            if !self.cgroups.iter().any(|id| id.to_ne_bytes()[..] == key) {
                maps.only_cgroups.delete(&key)?;
            }
        }
        self.filter.write(maps)
    }

    /// Compares the maps with what was written.
    ///
    /// # Errors
    /// The map that holds something else.
    pub fn check(&self, maps: &Maps) -> Result<()> {
        if maps.settings.lookup(&ZERO, MapFlags::ANY)?.as_deref() != Some(&self.bytes()[..]) {
            bail!("the map settings holds what the collector did not write");
        }
        let mut cgroups: Vec<u64> = maps
            .only_cgroups
            .keys()
            .filter_map(|key| Some(u64::from_ne_bytes(key.try_into().ok()?)))
            .collect();
        cgroups.sort_unstable();
        if cgroups != self.cgroups {
            bail!("the map only_cgroups holds what the collector did not write");
        }
        if !self.filter.holds(maps)? {
            bail!("a map of the filter holds what the collector did not write");
        }
        Ok(())
    }

    fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.chunk_ring_limit.to_ne_bytes());
        bytes[8..12].copy_from_slice(&u32::from(!self.cgroups.is_empty()).to_ne_bytes());
        bytes[12..].copy_from_slice(&self.prover.to_ne_bytes());
        bytes
    }
}

/// The id of a map.
///
/// # Errors
/// When the kernel does not tell.
pub fn id(map: &MapHandle) -> Result<u32> {
    let info = map.info().context("cannot ask for a map's id")?;
    Ok(info.info.id)
}

/// The one key of an array of one element.
pub const ZERO: [u8; 4] = [0; 4];

/// A cgroup's id is the inode number of its folder.
fn cgroup_id(folder: &PathBuf) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata(folder)
        .with_context(|| format!("filter.only_cgroups: cannot read {}", folder.display()))?
        .ino())
}
