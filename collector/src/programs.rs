//! The BPF programs: opened, loaded and attached one by one, and driven while they run.

use std::collections::BTreeMap;
use std::mem::{MaybeUninit, offset_of};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use libbpf_rs::skel::{OpenSkel, Skel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, OpenObject, ProgramInput, RingBuffer, RingBufferBuilder};
use ravn_shared::kind::{Reason, Stream};

use crate::config::{Config, Rings};
use crate::coverage::Fates;
use crate::libbpf_log;
use crate::skeleton::{RavnSkel, RavnSkelBuilder, types};

/// BPF_F_TEST_RUN_ON_CPU of include/uapi/linux/bpf.h.
const TEST_RUN_ON_CPU: u32 = 1;
/// The programs of hooks; the others are run by the collector itself.
const HOOKS: [&str; 8] = [
    "handle__sys_exit",
    "handle__sched_migrate_task",
    "handle__sched_process_fork",
    "handle__sched_process_exec",
    "handle__sched_process_exit",
    "handle__inet_sock_set_state",
    "handle__signal_generate",
    "handle__io_uring_submit_req",
];

/// Loaded programs, with their links.
pub struct Programs {
    skel: RavnSkel<'static>,
    links: Vec<Link>,
    /// Which are attached, and why others are not.
    pub fates: Fates,
    /// Jiffies per second of this kernel.
    pub hz: u32,
}

/// What one CPU's counters say, cumulative since load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Numbers taken, by stream.
    pub taken: Vec<(Stream, u16, u64)>,
    /// Losses, by stream and reason, over all CPUs.
    pub reasons: BTreeMap<(Stream, Reason), u64>,
    /// CPUs whose open chunk holds words, with the number that it began at.
    pub waiting: Vec<(u32, u64)>,
}

impl Programs {
    /// Loads all programs; where one does not load on this kernel, the others without it.
    ///
    /// # Errors
    /// When nothing loads; with libbpf's own words.
    pub fn load(config: &Config) -> Result<Self> {
        libbpf_log::capture();
        let mut fates = Fates::new();
        let skel = loop {
            match try_load(&config.rings, &fates) {
                Ok(skel) => break skel,
                Err(error) => {
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
        };
        let mut programs = Self {
            skel,
            links: Vec::new(),
            fates,
            hz: 250,
        };
        programs.hz = programs.measure_hz()?;
        if let Some(data) = programs.skel.maps.data_data.as_deref_mut() {
            data.hz = u64::from(programs.hz);
            data.chunk_ring_limit = u64::from(config.rings.syscall) / 4 * 3;
        }
        programs.narrow(&config.filter.only_cgroups)?;
        Ok(programs)
    }

    /// Attaches what was loaded, program by program.
    ///
    /// # Errors
    /// When not one of them attaches.
    pub fn attach(&mut self) -> Result<()> {
        for program in self.skel.object().progs_mut() {
            let Some(name) = HOOKS.iter().copied().find(|hook| program.name() == *hook) else {
                continue;
            };
            if self.fates.contains_key(name) {
                continue;
            }
            let fate = match program.attach() {
                Ok(link) => {
                    self.links.push(link);
                    Ok(())
                }
                Err(error) => Err(format!("cannot attach: {error}")),
            };
            self.fates.insert(name, fate);
        }
        if self.links.is_empty() {
            bail!(
                "no BPF program attaches: {:?}; libbpf says: {}",
                self.fates,
                libbpf_log::take().join(" | ")
            );
        }
        Ok(())
    }

    /// Leaves the collector's own syscalls out of sequences.
    ///
    /// # Errors
    /// When the map refuses.
    pub fn exclude_self(&self) -> Result<()> {
        let output = self
            .skel
            .progs
            .exclude_caller
            .test_run(ProgramInput::default())?;
        if output.return_value != 0 {
            bail!(
                "cannot exclude the collector from sequences: {}",
                output.return_value.cast_signed()
            );
        }
        Ok(())
    }

    /// The four rings, each with a poller of its own, so that a flood of one neither
    /// starves the others nor keeps the thread for ever; `sample` gets every record.
    ///
    /// # Errors
    /// When a ring cannot be mapped.
    pub fn rings<'cb>(&self, sample: impl Fn(&[u8]) + Clone + 'cb) -> Result<Vec<RingBuffer<'cb>>> {
        let maps = &self.skel.maps;
        [
            &maps.syscall_events,
            &maps.security_events,
            &maps.network_events,
            &maps.file_events,
        ]
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

    /// Reads every CPU's counters: one syscall, about 2 µs a CPU.
    ///
    /// # Errors
    /// When the map cannot be read or has another layout.
    pub fn counters(&self) -> Result<Counters> {
        let states = self
            .skel
            .maps
            .cpu_states
            .lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY)?
            .context("cpu_states has no element")?;
        let mut counters = Counters::default();
        for (cpu, state) in states.iter().enumerate() {
            let cpu = u16::try_from(cpu).context("more than 65536 CPUs")?;
            read_state(state, cpu, &mut counters).context("cpu_states is shorter than its type")?;
        }
        Ok(counters)
    }

    /// Flushes the open chunk of a CPU. False: a program had it at that moment.
    ///
    /// # Errors
    /// When the kernel refuses to run the program there (the CPU went offline).
    pub fn flush(&self, cpu: u32) -> Result<bool> {
        let input = ProgramInput {
            cpu,
            flags: TEST_RUN_ON_CPU,
            ..ProgramInput::default()
        };
        Ok(self.skel.progs.flush_cpu.test_run(input)?.return_value == 0)
    }

    /// Programs that are attached.
    pub fn attached(&self) -> usize {
        self.links.len()
    }

    fn measure_hz(&self) -> Result<u32> {
        let read = || -> Result<u32> {
            Ok(self
                .skel
                .progs
                .read_jiffies
                .test_run(ProgramInput::default())?
                .return_value)
        };
        let (start, first) = (Instant::now(), read()?);
        std::thread::sleep(Duration::from_millis(100));
        let (elapsed, last) = (start.elapsed(), read()?);
        let rate = f64::from(last.wrapping_sub(first)) / elapsed.as_secs_f64();
        // The only values that kernel/Kconfig.hz offers on x86 and arm64.
        let nearest = [100u32, 250, 300, 1000].into_iter().min_by(|a, b| {
            let off = |hz: u32| (f64::from(hz) - rate).abs();
            off(*a).total_cmp(&off(*b))
        });
        Ok(nearest.unwrap_or(250))
    }

    fn narrow(&mut self, folders: &[PathBuf]) -> Result<()> {
        for folder in folders {
            // A cgroup's id is the inode number of its folder.
            let id = std::fs::metadata(folder)
                .with_context(|| format!("filter.only_cgroups: cannot read {}", folder.display()))?
                .ino();
            self.skel
                .maps
                .only_cgroups
                .update(&id.to_ne_bytes(), &[1], MapFlags::ANY)?;
        }
        if let (false, Some(bss)) = (folders.is_empty(), self.skel.maps.bss_data.as_deref_mut()) {
            bss.narrowed = 1;
        }
        Ok(())
    }
}

fn try_load(rings: &Rings, failed: &Fates) -> Result<RavnSkel<'static>> {
    // The skeleton borrows its object; both live until the process ends.
    let object: &'static mut MaybeUninit<OpenObject> = Box::leak(Box::new(MaybeUninit::uninit()));
    let mut open = RavnSkelBuilder::default().open(object)?;
    let maps = &mut open.maps;
    maps.syscall_events.set_max_entries(rings.syscall)?;
    maps.file_events.set_max_entries(rings.file)?;
    maps.network_events.set_max_entries(rings.network)?;
    maps.security_events.set_max_entries(rings.security)?;
    for mut program in open.open_object_mut().progs_mut() {
        if failed.keys().any(|name| program.name() == *name) {
            program.set_autoload(false);
        }
    }
    Ok(open.load()?)
}

/// The hook that libbpf's words blame and that was not given up yet.
fn culprit(words: &[String], failed: &Fates) -> Option<&'static str> {
    HOOKS
        .into_iter()
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

/// Reads one CPU's element: `struct cpu_state` as the skeleton has it.
fn read_state(state: &[u8], cpu: u16, counters: &mut Counters) -> Option<()> {
    let word = |at: usize| Some(u64::from_ne_bytes(state.get(at..at + 8)?.try_into().ok()?));
    let kernel_streams = [
        Stream::Syscall,
        Stream::Sequence,
        Stream::File,
        Stream::Network,
        Stream::Security,
    ];
    let kernel_reasons = [
        Reason::RingFull,
        Reason::ScratchFull,
        Reason::Recursion,
        Reason::Budget,
    ];
    for (index, stream) in kernel_streams.into_iter().enumerate() {
        let taken = word(offset_of!(types::cpu_state, taken) + 8 * index)?;
        if taken > 0 {
            counters.taken.push((stream, cpu, taken));
        }
        for (column, reason) in kernel_reasons.into_iter().enumerate() {
            let at =
                offset_of!(types::cpu_state, lost) + 8 * (index * kernel_reasons.len() + column);
            let lost = word(at)?;
            if lost > 0 {
                *counters.reasons.entry((stream, reason)).or_default() += lost;
            }
        }
    }
    // `pos` and `busy` share the word.
    if word(offset_of!(types::cpu_state, pos))? & 0xffff_ffff != 0 {
        counters
            .waiting
            .push((u32::from(cpu), word(offset_of!(types::cpu_state, first_n))?));
    }
    Some(())
}
