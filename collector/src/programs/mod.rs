//! One load of the BPF programs, by its descriptors: whether this process loaded it, or an
//! earlier one did and left it pinned.

mod counters;
mod hooks;
mod kernel;
mod maps;
mod object;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, bail};
use libbpf_rs::{MapCore, MapFlags, MapHandle, Program, RingBuffer, RingBufferBuilder};
use ravn_shared::kind::Reason;

use crate::coverage::Fates;

pub use counters::Counters;
pub use hooks::{HOOKS, Hook};
pub use maps::{Cut, Maps, Settings, ZERO, id as map_id};
pub use object::{ABI, DIGEST, load};

/// Programs that the collector runs itself, pinned like the hooks' links.
const FLUSH_CPU: &str = "flush_cpu";
const EXCLUDE_CALLER: &str = "exclude_caller";
/// Read once, after the hooks are attached: what is there already.
const ITERATE: &str = "iterate__processes";
/// Tries to end the runs of a CPU.
const MOST_FLUSHES: usize = 100;
/// Thirty thousand processes of long command lines; what is more shows itself when it acts.
const MOST_SNAPSHOT_BYTES: u64 = 64 << 20;

/// A load: maps, attached programs, and the programs that the collector runs itself.
#[derive(Debug)]
pub struct Programs {
    /// Names this load in batches.
    pub load_id: u64,
    /// Its maps.
    pub maps: Maps,
    /// What is attached.
    pub hooks: Vec<Hook>,
    /// Which hooks are attached, and why others are not.
    pub fates: Fates,
    flush_cpu: OwnedFd,
    exclude_caller: OwnedFd,
    /// None where this kernel does not load it; the fates say why.
    iterate: Option<OwnedFd>,
}

impl Programs {
    /// Takes over what an earlier process pinned in `folder`; `attached` has a bit for each
    /// hook that it had attached, and those that are not any more go to `missing`.
    ///
    /// # Errors
    /// When the pin of a map or of a program is missing.
    pub fn pinned(
        folder: &Path,
        load_id: u64,
        attached: u64,
        missing: &mut Vec<String>,
    ) -> Result<Self> {
        let mut fates = Fates::new();
        let mut hooks = Vec::new();
        for (number, name) in HOOKS.iter().enumerate() {
            let fate = if attached >> number & 1 == 0 {
                Err("not attached when it was loaded; the log of that time says why".to_owned())
            } else {
                let found = Hook::pinned(number, folder).map(|hook| hooks.push(hook));
                found.map_err(|error| {
                    missing.push(format!("{error:#}"));
                    format!("{error:#}")
                })
            };
            fates.insert(name, fate);
        }
        let iterate = pinned_program(folder, ITERATE);
        let fate = iterate.as_ref().map(drop);
        fates.insert(ITERATE, fate.map_err(|error| format!("{error:#}")));
        Ok(Self {
            load_id,
            iterate: iterate.ok(),
            maps: Maps::pinned(folder)?,
            hooks,
            fates,
            flush_cpu: pinned_program(folder, FLUSH_CPU)?,
            exclude_caller: pinned_program(folder, EXCLUDE_CALLER)?,
        })
    }

    /// Looks whether these are the programs and maps of one load: each pin could be opened, but
    /// may have been swapped for another of its type. Ids alone tell: each program is another,
    /// and each map, `meta` too, is used by one of them; what the programs of another load use
    /// are other maps.
    ///
    /// # Errors
    /// The first pin that does not belong to the others.
    pub fn check_whole(&mut self, meta: &MapHandle) -> Result<()> {
        let maps = self.maps.ids()?;
        let mut all = vec![
            (FLUSH_CPU, "cpu_states", self.flush_cpu.as_fd()),
            (EXCLUDE_CALLER, "excluded", self.exclude_caller.as_fd()),
        ];
        all.extend(
            self.iterate
                .iter()
                .map(|it| (ITERATE, "settings", it.as_fd())),
        );
        for hook in &self.hooks {
            // Without the right to open programs by their ids nothing is known of most maps.
            let Some(program) = hook.program() else {
                return Ok(());
            };
            all.push((hook.name(), "cpu_states", program));
        }
        let all = all
            .into_iter()
            .map(|(name, must, program)| Ok((name, must, kernel::program_and_maps(program)?)))
            .collect::<Result<Vec<_>>>()
            .context("cannot ask for the maps of a program")?;
        let used: BTreeSet<u32> = all.iter().flat_map(|one| one.2.1.iter().copied()).collect();
        for (name, id) in maps.iter().copied().chain([("meta", maps::id(meta)?)]) {
            if !used.contains(&id) {
                bail!("what is pinned as {name} is another map than the programs use");
            }
        }
        let mut programs = BTreeMap::new();
        for (name, must, (id, used)) in all {
            let belongs = maps
                .iter()
                .any(|(map, id)| *map == must && used.contains(id));
            if !belongs {
                bail!("what is pinned as {name} is another program");
            }
            if let Some(other) = programs.insert(id, name) {
                bail!("what is pinned as {other} and as {name} is one program");
            }
        }
        Ok(())
    }

    /// Bit n is set if the hook with that number is attached.
    pub fn attached(&self) -> u64 {
        self.hooks
            .iter()
            .fold(0, |bits, hook| bits | 1 << hook.number)
    }

    /// Every process that is there, as samples without a number, one behind the other; the order
    /// is the kernel's.
    ///
    /// # Errors
    /// When the iterator was not loaded or cannot be read.
    pub fn processes(&self) -> Result<Vec<u8>> {
        let iterate = self.iterate.as_ref().with_context(|| {
            let fate = self.fates.get(ITERATE).and_then(|fate| fate.as_ref().err());
            fate.cloned().unwrap_or_default()
        })?;
        let mut samples = Vec::new();
        kernel::iterate(iterate.as_fd())
            .and_then(|file| file.take(MOST_SNAPSHOT_BYTES).read_to_end(&mut samples))
            .context("cannot read the iterator over processes")?;
        Ok(samples)
    }

    /// Leaves the collector's own syscalls out of sequences, and no earlier collector's; gives
    /// this process' start, nanoseconds since boot.
    ///
    /// # Errors
    /// When the map refuses.
    pub fn exclude_self(&self) -> Result<u64> {
        let own = std::process::id().to_ne_bytes();
        for key in self.maps.excluded.keys() {
            if key != own {
                self.maps.excluded.delete(&key)?;
            }
        }
        let result = kernel::run(self.exclude_caller.as_fd(), None)?;
        if result != 0 {
            bail!(
                "cannot exclude the collector from sequences: {}",
                std::io::Error::from_raw_os_error(result.cast_signed().wrapping_neg())
            );
        }
        self.excluded(own)?
            .context("the map excluded does not hold what was written")
    }

    /// Looks whether the collector alone is left out of sequences.
    ///
    /// # Errors
    /// When it is not.
    pub fn check_excluded(&self, start_ns: u64) -> Result<()> {
        let own = std::process::id().to_ne_bytes();
        if self.excluded(own)? != Some(start_ns) || self.maps.excluded.keys().count() != 1 {
            bail!("the map excluded holds what the collector did not write");
        }
        Ok(())
    }

    fn excluded(&self, tgid: [u8; 4]) -> Result<Option<u64>> {
        let value = self.maps.excluded.lookup(&tgid, MapFlags::ANY)?;
        Ok(value.and_then(|value| Some(u64::from_ne_bytes(value.try_into().ok()?))))
    }

    /// The four rings, each with a poller of its own, so that a flood of one neither
    /// starves the others nor keeps the thread for ever; `sample` gets every record.
    ///
    /// # Errors
    /// When a ring cannot be mapped.
    pub fn rings(
        &self,
        sample: impl Fn(&[u8]) + Clone + 'static,
    ) -> Result<Vec<RingBuffer<'static>>> {
        self.maps
            .rings()
            .into_iter()
            .map(|map| {
                let sample = sample.clone();
                let mut builder = RingBufferBuilder::new();
                builder.add(map, move |bytes: &[u8]| {
                    sample(bytes);
                    0
                })?;
                builder.build().context("cannot map the ring buffers")
            })
            .collect()
    }

    /// Reads every CPU's counters, and what the kernel counts of its own.
    ///
    /// # Errors
    /// When the map cannot be read or has another layout.
    pub fn counters(&self) -> Result<Counters> {
        let mut counters = Counters::read(&self.maps.cpu_states)?;
        for hook in &self.hooks {
            if let (Some(stream), misses @ 1..) = (hook.stream(), hook.misses()?) {
                *counters
                    .reasons
                    .entry((stream, Reason::Recursion))
                    .or_default() += misses;
            }
        }
        Ok(counters)
    }

    /// Flushes the open chunk of a CPU and ends the run on it. False: a program had the CPU
    /// at that moment.
    ///
    /// # Errors
    /// When the kernel refuses to run the program there (the CPU went offline).
    pub fn flush(&self, cpu: u32) -> Result<bool> {
        Ok(kernel::run(self.flush_cpu.as_fd(), Some(cpu))? == 0)
    }

    /// Flushes every CPU that can be reached: all threads are looked at anew.
    pub fn flush_all(&self) {
        for cpu in 0..u32::try_from(libbpf_rs::num_possible_cpus().unwrap_or(1)).unwrap_or(1) {
            // A program holds the CPU for microseconds.
            for _ in 0..MOST_FLUSHES {
                match self.flush(cpu) {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(error) => {
                        tracing::debug!("cannot flush CPU {cpu}: {error:#}; is it offline?");
                        break;
                    }
                }
            }
        }
    }

    /// Pins maps, programs and links, by their names.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn pin(&mut self, folder: &Path) -> Result<()> {
        self.maps.pin(folder)?;
        for (name, program) in [
            (FLUSH_CPU, &self.flush_cpu),
            (EXCLUDE_CALLER, &self.exclude_caller),
        ] {
            let path = folder.join(name);
            kernel::pin(program.as_fd(), &path)
                .with_context(|| format!("cannot pin {}", path.display()))?;
        }
        if let Some(program) = &self.iterate {
            let path = folder.join(ITERATE);
            kernel::pin(program.as_fd(), &path)
                .with_context(|| format!("cannot pin {}", path.display()))?;
        }
        for hook in &mut self.hooks {
            hook.pin(folder)?;
        }
        Ok(())
    }
}

fn pinned_program(folder: &Path, name: &str) -> Result<OwnedFd> {
    let path = folder.join(name);
    Program::fd_from_pinned_path(&path)
        .with_context(|| format!("cannot open the pin {}", path.display()))
}
