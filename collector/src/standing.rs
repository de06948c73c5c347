//! Which load of the programs records: taken over from an earlier collector, loaded anew beside
//! it, or loaded without pins where nothing can be pinned.

use std::io;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use libbpf_rs::MapHandle;
use ravn_shared::link;

use crate::config::Config;
use crate::filter::Filter;
use crate::pins::{self, Held, Inventory, Meta, Pins};
use crate::programs::{self, DIGEST, HOOKS, Programs, Settings};

/// The active load, and what it is checked against.
#[derive(Debug)]
pub struct Standing {
    /// The active load.
    pub programs: Programs,
    /// What its maps must hold.
    pub settings: Settings,
    /// Where it is pinned.
    pub pins: Option<Pins>,
    /// Why it is not pinned.
    pub unpinned: Option<String>,
    /// What the map `meta` must hold.
    pub active: Meta,
    /// This process' start, nanoseconds since boot.
    pub start_ns: u64,
    /// Jiffies per second of this kernel.
    pub hz: u32,
    inventory: Inventory,
    meta: MapHandle,
}

/// A part of the sensor that is gone, or is not as the collector left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `program`, `pin`, `map` or `proof`.
    pub what: &'static str,
    /// Its name, and what is wrong.
    pub detail: String,
}

/// What was found beside the load that records now.
#[derive(Debug, Default)]
pub struct Found {
    /// Loads that are silent now and whose rings may hold records.
    pub earlier: Vec<Programs>,
    /// What was taken away while no collector looked.
    pub missing: Vec<String>,
    /// The active load is an earlier collector's.
    pub taken_over: bool,
}

impl Standing {
    /// Takes over the active load of the instance if it is of the same digest and whole; else
    /// loads anew. `prover` is the thread whose acts are always looked at.
    ///
    /// # Errors
    /// When nothing loads or attaches, or another collector holds the instance.
    pub fn begin(config: &Config, prover: u32) -> Result<(Self, Found)> {
        let settings = Settings::of(config, prover)?;
        let hz = hz()?;
        let mut found = Found::default();
        let (pins, unpinned) = match hold(config) {
            Ok(pins) => (pins, None),
            Err(error) if error.is::<Held>() => return Err(error),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        let meta = match &pins {
            Some(pins) => MapHandle::try_from(pins.meta())?,
            None => Meta::map()?,
        };
        let mut active = Meta::read(&meta)?;
        let (programs, hopeless) = match &pins {
            Some(pins) => survey(pins, &active, &mut found)?,
            None => (None, Vec::new()),
        };
        let same = active.digest == DIGEST && found.missing.is_empty();
        found.taken_over = same
            && programs
                .as_ref()
                .is_some_and(|load| load.maps.have_sizes(&config.rings));
        let programs = match programs {
            Some(load) if found.taken_over => load,
            other => {
                found.earlier.extend(other);
                new_load(config, hz, pins.as_ref(), &meta)?
            }
        };
        let prepared = settings
            .write(&programs.maps)
            .and_then(|()| programs.exclude_self());
        let start_ns = match prepared {
            Ok(start_ns) => start_ns,
            Err(error) => {
                if !found.taken_over {
                    discard(pins.as_ref(), programs.load_id);
                }
                return Err(error);
            }
        };
        if !found.taken_over {
            active = activate(&programs, &meta)?;
        }
        // Who was looked at or not by the old settings is asked anew.
        programs.flush_all();
        found.earlier.iter().for_each(Programs::flush_all);
        let inventory = inventory(pins.as_ref(), programs.load_id)?;
        for (pins, folder) in pins
            .iter()
            .flat_map(|pins| hopeless.iter().map(move |it| (pins, it)))
        {
            pins.remove(folder)?;
        }
        let standing = Self {
            programs,
            settings,
            pins,
            unpinned,
            active,
            start_ns,
            hz,
            inventory,
            meta,
        };
        Ok((standing, found))
    }

    /// Loads anew and makes that the active load; gives the one before, silent now.
    ///
    /// # Errors
    /// When it cannot be loaded or pinned; the load before records on.
    pub fn replace(&mut self, config: &Config) -> Result<Programs> {
        if let Some(pins) = &mut self.pins {
            pins.mend()?;
        }
        let programs = new_load(config, self.hz, self.pins.as_ref(), &self.meta)?;
        let prepared = self
            .settings
            .write(&programs.maps)
            .and_then(|()| programs.exclude_self());
        if let Err(error) = prepared {
            discard(self.pins.as_ref(), programs.load_id);
            return Err(error);
        }
        self.active = activate(&programs, &self.meta)?;
        programs.flush_all();
        let before = std::mem::replace(&mut self.programs, programs);
        before.flush_all();
        self.inventory = inventory(self.pins.as_ref(), self.programs.load_id)?;
        Ok(before)
    }

    /// Detaches a silent load: the map `meta` that silenced it may be another than the one that
    /// it goes by, if that was tampered with. Its rings stay pinned.
    ///
    /// # Errors
    /// When the pins of its links cannot be removed.
    pub fn detach(&self, load: &mut Programs) -> Result<()> {
        load.hooks.clear();
        if let Some(pins) = &self.pins {
            for hook in HOOKS {
                pins::remove_file(&pins.folder(load.load_id).join(hook))?;
            }
        }
        load.flush_all();
        Ok(())
    }

    /// Brings the maps in line with a configuration: the sensor's other settings stay.
    ///
    /// # Errors
    /// When what it names is not there, or a map is full; the maps stay as they were then.
    pub fn apply(&mut self, config: &Config) -> Result<()> {
        let settings = self.settings.renewed(config)?;
        if settings == self.settings {
            return Ok(());
        }
        if let Err(error) = settings.write(&self.programs.maps) {
            self.settings.write(&self.programs.maps)?;
            return Err(error);
        }
        self.settings = settings;
        // Who was looked at or not by the old filter is asked anew.
        self.programs.flush_all();
        Ok(())
    }

    /// The filter that applies, as it was found on this host.
    pub const fn filter(&self) -> &Filter {
        self.settings.filter()
    }

    /// Lets go of a silent load whose rings were drained.
    ///
    /// # Errors
    /// When its pins cannot be removed.
    pub fn retire(&self, load: Programs) -> Result<()> {
        match &self.pins {
            Some(pins) => pins.remove(&pins.folder(load.load_id)),
            None => Ok(()),
        }
    }

    /// Looks whether everything is as the collector left it: links, pins, maps.
    ///
    /// # Errors
    /// The first thing that is not.
    pub fn check(&self) -> Result<(), Finding> {
        let found = |what: &'static str| {
            move |error: anyhow::Error| Finding {
                what,
                detail: format!("{error:#}"),
            }
        };
        for hook in &self.programs.hooks {
            hook.check()
                .with_context(|| format!("{} is not attached", hook.name()))
                .map_err(found("program"))?;
        }
        self.inventory.check().map_err(found("pin"))?;
        self.check_maps().map_err(found("map"))
    }

    fn check_maps(&self) -> Result<()> {
        self.settings.check(&self.programs.maps)?;
        self.programs.check_excluded(self.start_ns)?;
        if Meta::read(&self.meta)? != self.active {
            bail!("the map meta holds what the collector did not write");
        }
        Ok(())
    }

    /// Takes the pins away: with the last descriptor the programs go.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn unpin(&mut self) -> Result<()> {
        self.inventory = Inventory::default();
        self.pins.take().map_or(Ok(()), Pins::remove_all)
    }
}

/// Opens what is pinned: gives the active load, if it is there and can be read, and the folders
/// of loads of which nothing can be had.
fn survey(
    pins: &Pins,
    active: &Meta,
    found: &mut Found,
) -> Result<(Option<Programs>, Vec<PathBuf>)> {
    let (mut programs, mut hopeless) = (None, Vec::new());
    let mut active_is_there = active.active_load == 0;
    for left in pins.left()? {
        let own = left.load_id == active.active_load;
        active_is_there |= own;
        if !left.readable {
            tracing::warn!(
                "{} is of a version whose records this one cannot read; what waits in its rings is lost",
                left.folder.display()
            );
            hopeless.push(left.folder);
            continue;
        }
        let attached = if own { active.hooks } else { 0 };
        match Programs::pinned(&left.folder, left.load_id, attached, &mut found.missing) {
            Ok(mut load) if own => {
                if let Err(error) = load.check_whole(pins.meta()) {
                    found.missing.push(format!("{error:#}"));
                }
                programs = Some(load);
            }
            Ok(load) => found.earlier.push(load),
            Err(error) => {
                if own {
                    found.missing.push(format!("{error:#}"));
                } else {
                    tracing::info!("an unfinished load is removed: {error:#}");
                }
                hopeless.push(left.folder);
            }
        }
    }
    if pins.meta_is_fresh() && (!found.earlier.is_empty() || !hopeless.is_empty()) {
        found.missing.push(
            "the pin meta, which names the load that records, is gone or was another map"
                .to_owned(),
        );
    }
    if !active_is_there {
        found.missing.push(format!(
            "the load {:016x} that the map meta names is not pinned",
            active.active_load
        ));
    }
    Ok((programs, hopeless))
}

fn hold(config: &Config) -> Result<Option<Pins>> {
    config
        .pins
        .place()
        .map(|place| Pins::hold(&place))
        .transpose()
}

/// Loads, attaches and pins; silent until [`activate`].
fn new_load(config: &Config, hz: u32, pins: Option<&Pins>, meta: &MapHandle) -> Result<Programs> {
    let load_id = link::random_id();
    let mut programs = programs::load(&config.rings, hz, meta, load_id)?;
    if let Some(pins) = pins {
        let pinned = pins.make(load_id).and_then(|folder| programs.pin(&folder));
        if let Err(error) = pinned {
            discard(Some(pins), load_id);
            return Err(error);
        }
    }
    Ok(programs)
}

/// Takes away the pins of a load that never recorded: it would stay attached.
fn discard(pins: Option<&Pins>, load_id: u64) {
    let removed = pins.map(|pins| pins.remove(&pins.folder(load_id)));
    if let Some(Err(error)) = removed {
        tracing::warn!("{error:#}; `ravn-collector unload` removes it");
    }
}

/// The one write: from now on this load records, and no other.
fn activate(programs: &Programs, meta: &MapHandle) -> Result<Meta> {
    let active = Meta {
        active_load: programs.load_id,
        hooks: programs.attached(),
        digest: DIGEST,
    };
    active.write(meta)?;
    Ok(active)
}

fn inventory(pins: Option<&Pins>, load_id: u64) -> Result<Inventory> {
    pins.map_or_else(|| Ok(Inventory::default()), |pins| pins.inventory(load_id))
}

/// Jiffies per second: the coarse clock steps once a jiffy, and tells its step.
///
/// # Errors
/// When the kernel does not tell.
pub fn hz() -> Result<u32> {
    let mut step = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `step` lives through the call, which fills it.
    if unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut step) } != 0 {
        return Err(io::Error::last_os_error()).context("cannot ask for the step of the clock");
    }
    u32::try_from(step.tv_nsec)
        .ok()
        .filter(|step| *step > 0)
        .map(|step| (1_000_000_000 + step / 2) / step)
        .context("the coarse clock has no step")
}
