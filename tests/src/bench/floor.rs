//! The floor: a `tp_btf/sys_exit` program that only counts. And what the kernel says of the
//! BPF programs that are loaded beside it.

use std::mem::MaybeUninit;

use anyhow::{Context, Result};
use libbpf_rs::query::ProgInfoIter;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, OpenObject, ProgramType};

use super::skeleton::{FloorSkel, FloorSkelBuilder};

/// The loaded floor program; attached while a [`Link`] of [`Floor::attach`] lives.
pub struct Floor {
    skel: FloorSkel<'static>,
}

impl std::fmt::Debug for Floor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Floor")
    }
}

impl Floor {
    /// Loads it, without attaching.
    ///
    /// # Errors
    /// When the kernel refuses: no root, no BTF.
    pub fn load() -> Result<Self> {
        // The skeleton borrows its object; one bench run loads one.
        let object: &'static mut MaybeUninit<OpenObject> =
            Box::leak(Box::new(MaybeUninit::uninit()));
        let skel = FloorSkelBuilder::default()
            .open(object)?
            .load()
            .context("load the floor program; it needs root and BTF")?;
        Ok(Self { skel })
    }

    /// Attaches it until the link is dropped.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(&self) -> Result<Link> {
        self.skel
            .progs
            .count__sys_exit
            .attach()
            .context("attach the floor program")
    }

    /// Syscalls that it counted, over all CPUs.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn counted(&self) -> Result<u64> {
        let cpus = self
            .skel
            .maps
            .calls
            .lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY)?
            .context("the floor's map has no element")?;
        Ok(cpus
            .iter()
            .filter_map(|bytes| bytes.first_chunk().copied().map(u64::from_ne_bytes))
            .sum())
    }
}

/// Loaded programs whose names say that they belong on the syscall path, by name and id: what
/// another sensor costs there is no part of ours.
pub fn on_syscall_path() -> Vec<(String, u32)> {
    ProgInfoIter::default()
        .filter(|info| matches!(info.ty, ProgramType::Tracing | ProgramType::RawTracepoint))
        .map(|info| (info.name.to_string_lossy().into_owned(), info.id))
        // The kernel keeps fifteen bytes of `handle__sys_exit`; the floor's own begins
        // otherwise.
        .filter(|(name, _)| name.contains("sys_e") && !name.starts_with("count__"))
        .collect()
}

/// Whether a program of this id is loaded.
pub fn is_loaded(id: u32) -> bool {
    ProgInfoIter::default().any(|info| info.id == id)
}
