//! A sensor's hooks, attached and detached within milliseconds: so near to each other that the
//! machine is in the same mood for both sides of a pair.
//!
//! They are the real collector's: it was started with the configuration that is measured, has
//! loaded, filled and pinned everything, and is then killed, as a crash would. Its programs stay,
//! with their maps; only who attaches them is new. What the collector's own threads cost is no
//! part of this, see the benches `collector` and `workload`.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use libbpf_rs::{MapHandle, RingBuffer, RingBufferBuilder};

use super::sensor::Sensor;
use crate::harness::pins;

/// The ring buffers, by their pins.
const RINGS: [&str; 4] = [
    "syscall_events",
    "security_events",
    "network_events",
    "file_events",
];

/// The programs of a sensor whose collector is gone, and its rings.
pub struct Hooks {
    programs: Vec<OwnedFd>,
    // The reader borrows nothing, but each ring's descriptor must live as long as it.
    _rings: Vec<MapHandle>,
    reader: RingBuffer<'static>,
}

impl Hooks {
    /// Takes a sensor's programs over from its collector, which is killed for it. The links'
    /// pins go; the maps' stay until the sensor is switched off.
    ///
    /// # Errors
    /// When it is off, or pins nothing.
    pub fn take(sensor: &mut Sensor) -> Result<Self> {
        let place = &sensor.sandbox().pins;
        let load = place.load()?;
        let programs = place
            .programs()?
            .iter()
            .map(|(_, id)| Ok(libbpf_rs::Program::fd_from_id(*id)?))
            .collect::<Result<Vec<_>>>()?;
        let names: Vec<String> = place
            .programs()?
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let mut rings = Vec::new();
        for name in RINGS {
            rings.push(MapHandle::from_pinned_path(load.join(name))?);
        }
        let mut builder = RingBufferBuilder::new();
        for ring in &rings {
            builder.add(ring, |_| 0)?;
        }
        let reader = builder.build()?;
        sensor.kill()?;
        for name in names {
            std::fs::remove_file(load.join(&name)).with_context(|| format!("unpin {name}"))?;
        }
        Ok(Self {
            programs,
            _rings: rings,
            reader,
        })
    }

    /// Attaches all of them until the links are dropped.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn attach(&self) -> Result<Vec<OwnedFd>> {
        self.programs.iter().map(pins::attach).collect()
    }

    /// Empties the rings, outside of any time that is measured.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn drain(&self) -> Result<()> {
        self.reader.consume()?;
        Ok(())
    }
}
