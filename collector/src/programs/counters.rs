//! What each CPU's `struct cpu_state` counts.

use std::collections::BTreeMap;
use std::mem::offset_of;

use anyhow::{Context, Result};
use libbpf_rs::{MapCore, MapFlags};
use ravn_shared::kind::{Reason, Stream};

use super::hooks::HOOKS;
use crate::skeleton::types;

/// What all CPUs' counters say, cumulative since load.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Numbers taken, by stream and CPU.
    pub taken: Vec<(Stream, u16, u64)>,
    /// Losses, by stream and reason, over all CPUs.
    pub reasons: BTreeMap<(Stream, Reason), u64>,
    /// CPUs whose open chunk holds words, with the number that it began at.
    pub waiting: Vec<(u32, u64)>,
    /// How often each of [`HOOKS`] ran, over all CPUs.
    pub hits: [u64; HOOKS.len()],
}

impl Counters {
    /// Reads the map `cpu_states`: one syscall, about 2 µs a CPU.
    ///
    /// # Errors
    /// When it cannot be read or has another layout.
    pub fn read(cpu_states: &impl MapCore) -> Result<Self> {
        let states = cpu_states
            .lookup_percpu(&0u32.to_ne_bytes(), MapFlags::ANY)?
            .context("cpu_states has no element")?;
        let mut counters = Self::default();
        for (cpu, state) in states.iter().enumerate() {
            let cpu = u16::try_from(cpu).context("more than 65536 CPUs")?;
            counters
                .add(state, cpu)
                .context("cpu_states is shorter than its type")?;
        }
        Ok(counters)
    }

    /// Adds one CPU's element: `struct cpu_state` as the skeleton has it.
    fn add(&mut self, state: &[u8], cpu: u16) -> Option<()> {
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
                self.taken.push((stream, cpu, taken));
            }
            for (column, reason) in kernel_reasons.into_iter().enumerate() {
                let at = offset_of!(types::cpu_state, lost)
                    + 8 * (index * kernel_reasons.len() + column);
                let lost = word(at)?;
                if lost > 0 {
                    *self.reasons.entry((stream, reason)).or_default() += lost;
                }
            }
        }
        for (index, hits) in self.hits.iter_mut().enumerate() {
            *hits += word(offset_of!(types::cpu_state, hits) + 8 * index)?;
        }
        // `pos` and `busy` share the word.
        if word(offset_of!(types::cpu_state, pos))? & 0xffff_ffff != 0 {
            self.waiting
                .push((u32::from(cpu), word(offset_of!(types::cpu_state, first_n))?));
        }
        Some(())
    }
}
