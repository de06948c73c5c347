//! From the object to a load: opened, loaded and attached, program by program.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{MapCore, MapHandle, OpenObject};

use super::{EXCLUDE_CALLER, FLUSH_CPU, HOOKS, Hook, ITERATE, Maps, Programs};
use crate::config::Rings;
use crate::coverage::Fates;
use crate::libbpf_log;
use crate::skeleton::{RavnSkel, RavnSkelBuilder};

include!(concat!(env!("OUT_DIR"), "/digests.rs"));

/// Loads all programs and attaches them; where one does not load on this kernel, the others
/// without it. They are silent until `meta` names `load_id` as the active load.
///
/// # Errors
/// When nothing loads or attaches; with libbpf's own words.
pub fn load(rings: &Rings, hz: u32, meta: &MapHandle, load_id: u64) -> Result<Programs> {
    libbpf_log::capture();
    let mut fates = Fates::new();
    loop {
        let mut storage = MaybeUninit::uninit();
        let error = match try_load(&mut storage, rings, hz, meta, load_id, &fates) {
            Ok(skel) => return attach(&skel, load_id, fates),
            Err(error) => error,
        };
        let words = libbpf_log::take();
        let Some(name) = culprit(&words, &fates) else {
            bail!(
                "cannot load the BPF programs: {error:#}; libbpf says: {}",
                words.join(" | ")
            );
        };
        fates.insert(name, Err(last_words(&words)));
    }
}

fn try_load<'o>(
    storage: &'o mut MaybeUninit<OpenObject>,
    rings: &Rings,
    hz: u32,
    meta: &MapHandle,
    load_id: u64,
    failed: &Fates,
) -> Result<RavnSkel<'o>> {
    let mut open = RavnSkelBuilder::default().open(storage)?;
    let maps = &mut open.maps;
    maps.syscall_events.set_max_entries(rings.syscall)?;
    maps.file_events.set_max_entries(rings.file)?;
    maps.network_events.set_max_entries(rings.network)?;
    maps.security_events.set_max_entries(rings.security)?;
    maps.meta.reuse_fd(meta.as_fd())?;
    let rodata = maps
        .rodata_data
        .as_deref_mut()
        .context("the object has no constants")?;
    rodata.load_id = load_id;
    rodata.hz = u64::from(hz);
    for mut program in open.open_object_mut().progs_mut() {
        if failed.keys().any(|name| program.name() == *name) {
            program.set_autoload(false);
        }
    }
    Ok(open.load()?)
}

/// Takes hold of what was loaded; the object itself is not needed after that.
fn attach(skel: &RavnSkel<'_>, load_id: u64, mut fates: Fates) -> Result<Programs> {
    let object = skel.object();
    let program = |name: &str| {
        object
            .progs_mut()
            .find(|program| program.name() == name)
            .with_context(|| format!("the object has no program {name}"))
    };
    let own = |name: &str| -> Result<OwnedFd> {
        let held = program(name)?.as_fd().try_clone_to_owned();
        held.with_context(|| format!("cannot take hold of {name}"))
    };
    let iterate = if fates.contains_key(ITERATE) {
        None
    } else {
        fates.insert(ITERATE, Ok(()));
        Some(own(ITERATE)?)
    };
    let mut hooks = Vec::new();
    for (number, name) in HOOKS.into_iter().enumerate() {
        if fates.contains_key(name) {
            continue;
        }
        let fate = match program(name)?.attach() {
            Ok(link) => {
                hooks.push(Hook::of(number, link)?);
                Ok(())
            }
            Err(error) => Err(format!("cannot attach: {error}")),
        };
        fates.insert(name, fate);
    }
    if hooks.is_empty() {
        bail!(
            "no BPF program attaches: {fates:?}; libbpf says: {}",
            libbpf_log::take().join(" | ")
        );
    }
    let maps = Maps::find(|name| {
        let map = object
            .maps()
            .find(|map| map.name() == name)
            .with_context(|| format!("the object has no map {name}"))?;
        MapHandle::try_from(&map).with_context(|| format!("cannot take hold of the map {name}"))
    })?;
    Ok(Programs {
        load_id,
        maps,
        hooks,
        fates,
        flush_cpu: own(FLUSH_CPU)?,
        exclude_caller: own(EXCLUDE_CALLER)?,
        iterate,
    })
}

/// The hook that libbpf's words blame and that was not given up yet.
fn culprit(words: &[String], failed: &Fates) -> Option<&'static str> {
    HOOKS
        .into_iter()
        .chain([ITERATE])
        .filter(|hook| !failed.contains_key(hook))
        .find(|hook| {
            let named = format!("prog '{hook}'");
            words
                .iter()
                .any(|line| line.contains(&named) && line.contains("failed"))
        })
}

fn last_words(words: &[String]) -> String {
    let telling =
        |line: &&String| !line.contains("failed to load object") && !line.contains("processed");
    words
        .iter()
        .rev()
        .find(telling)
        .cloned()
        .unwrap_or_else(|| "does not load on this kernel".to_owned())
}
