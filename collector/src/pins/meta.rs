//! `struct ravn_meta`: which load of an instance records, and what it was made of.

use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType, libbpf_sys::bpf_map_create_opts};

use crate::programs::ZERO;

/// Bytes of `struct ravn_meta`.
pub const BYTES: u32 = 48;

/// The one element of the map `meta`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// The load that records; 0: none.
    pub active_load: u64,
    /// Its attached hooks, a bit each.
    pub hooks: u64,
    /// Digest of the object and header that it was loaded from.
    pub digest: [u8; 32],
}

impl Meta {
    /// A map for one, with no load active.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn map() -> Result<MapHandle> {
        let opts = bpf_map_create_opts {
            sz: size_of::<bpf_map_create_opts>() as _,
            ..Default::default()
        };
        MapHandle::create(MapType::Array, Some("meta"), 4, BYTES, 1, &opts)
            .context("cannot make the map meta")
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the map is another.
    pub fn read(map: &MapHandle) -> Result<Self> {
        let bytes = map
            .lookup(&ZERO, MapFlags::ANY)?
            .context("the map meta has no element")?;
        let mut meta = Self::default();
        let word = |at: usize| Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        meta.active_load = word(0).context("the map meta is too short")?;
        meta.hooks = word(8).context("the map meta is too short")?;
        meta.digest
            .copy_from_slice(bytes.get(16..48).context("the map meta is too short")?);
        Ok(meta)
    }

    /// Writes it: the one write by which a load becomes the active one.
    ///
    /// # Errors
    /// When the map refuses.
    pub fn write(&self, map: &MapHandle) -> Result<()> {
        let mut bytes = [0; BYTES as usize];
        bytes[..8].copy_from_slice(&self.active_load.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.hooks.to_ne_bytes());
        bytes[16..].copy_from_slice(&self.digest);
        Ok(map.update(&ZERO, &bytes, MapFlags::ANY)?)
    }
}
