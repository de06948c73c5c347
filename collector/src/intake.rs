//! What the ring buffers hand over, decoded and encoded again, ready to be cut.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ravn_shared::clock;
use ravn_shared::event::{Event, Place, Record, Tampering, Task};
use ravn_shared::kind::Stream;
use ravn_shared::pack::PackError;
use ravn_shared::redact::Redactor;

use crate::abi::{self, Decoder};
use crate::batch::{Batcher, Counts};
use crate::proof::Seen;
use crate::standing::Finding;

/// Takes samples; cheap to clone, for one thread.
#[derive(Clone, Debug)]
pub struct Intake(Rc<RefCell<State>>);

/// What was taken so far.
#[derive(Debug)]
pub struct State {
    decoder: Decoder,
    /// Where records wait for their batch.
    pub batcher: Batcher,
    /// Records taken, chunks apart.
    pub events: u64,
    /// Syscalls in the chunks taken.
    pub syscalls: u64,
    /// The load that what is taken comes from.
    load_id: u64,
    /// Numbers of samples that were no record, by load, on the stream that took them.
    malformed: BTreeMap<u64, Counts>,
    /// Samples of which not even the stream can be read.
    unreadable: u64,
    /// Records of the collector's own stream so far.
    pub said: u64,
    /// The records that prove that the rings live.
    pub seen: Seen,
    /// Who speaks in the collector's own records.
    own: Task<'static>,
}

impl Intake {
    /// Nothing taken yet; `redactor` masks secrets of command lines. `prover` is the thread whose
    /// records prove; `start_ns` when this process started.
    pub fn new(batcher: Batcher, redactor: Redactor, prover: u32, start_ns: u64) -> Self {
        let load_id = batcher.load_id();
        Self(Rc::new(RefCell::new(State {
            decoder: Decoder::new(redactor),
            batcher,
            events: 0,
            syscalls: 0,
            load_id,
            malformed: BTreeMap::new(),
            unreadable: 0,
            said: 0,
            seen: Seen::of(prover),
            own: Task {
                tgid: std::process::id(),
                pid: std::process::id(),
                start_ns,
                comm: b"ravn-collector",
                ..Task::default()
            },
        })))
    }

    /// Whether a record speaks of this very process, by its start as the kernel has it.
    pub fn is_own(&self, task: &Task<'_>) -> bool {
        let own = self.0.borrow().own;
        (own.tgid, own.start_ns) == (task.tgid, task.start_ns)
    }

    /// Tells what is gone or changed, in the collector's own name.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn say(&self, finding: &Finding) -> Result<(), PackError> {
        let task = self.0.borrow().own;
        self.own(&Record {
            cpu: 0,
            n: 0,
            time_ns: clock::boottime_ns(),
            task,
            place: Place::default(),
            event: Event::Tampering(Tampering {
                what: finding.what.as_bytes(),
                detail: finding.detail.as_bytes(),
            }),
        })
    }

    /// Adds a record of the collector's own stream, whose load is this run and whose one CPU
    /// is 0, and gives it its number.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn own(&self, record: &Record<'_>) -> Result<(), PackError> {
        let mut state = self.0.borrow_mut();
        let numbered = Record {
            n: state.said,
            ..record.clone()
        };
        state.batcher.push(&numbered, clock::boottime_ns)?;
        state.said += 1;
        state.events += 1;
        Ok(())
    }

    /// Takes one sample. Runs inside libbpf's callback, where a panic would abort: a sample
    /// that is no record is counted and left.
    pub fn sample(&self, bytes: &[u8]) {
        let Ok(mut state) = self.0.try_borrow_mut() else {
            return;
        };
        let State {
            decoder,
            batcher,
            events,
            syscalls,
            load_id,
            malformed,
            unreadable,
            seen,
            own,
            ..
        } = &mut *state;
        let mut lost =
            |stream, numbers| malformed.entry(*load_id).or_default().add(stream, numbers);
        let Some(record) = decoder.decode(bytes) else {
            match abi::numbers_of(bytes) {
                Some((stream, numbers)) => lost(stream, numbers),
                None => *unreadable += 1,
            }
            return;
        };
        if batcher.push(&record, clock::boottime_ns).is_err() {
            lost(record.event.stream(), record.event.numbers());
            return;
        }
        if seen.note(&record) {
            // As the kernel shows this process: parent, cgroup.
            let comm = own.comm;
            *own = Task {
                comm,
                pid: own.pid,
                ..record.task
            };
        }
        match &record.event {
            Event::Chunk(chunk) => *syscalls += u64::from(chunk.count),
            _ => *events += 1,
        }
    }

    /// What was taken, between two drains.
    pub fn state(&self) -> std::cell::RefMut<'_, State> {
        self.0.borrow_mut()
    }
}

impl State {
    /// What is taken from now on comes from this load. Nothing of another may wait for its batch.
    pub fn set_load(&mut self, load_id: u64) {
        self.batcher.set_load(load_id);
        self.load_id = load_id;
    }

    /// Numbers of a load's samples that were no record; on the collector's own stream, whose load
    /// is this run, the samples of which nothing can be read.
    pub fn malformed(&self, load_id: u64) -> Counts {
        let mut counts = self.malformed.get(&load_id).copied().unwrap_or_default();
        counts.add(Stream::Collector, self.unreadable);
        counts
    }
}

#[cfg(test)]
mod tests {
    use ravn_shared::kind::Kind;

    use super::*;
    use crate::batch::Origin;

    /// A header of `kind` that says `len` bytes, and `payload`.
    fn sample(kind: u16, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(96 + payload.len()).unwrap_or(0);
        let mut bytes = vec![0; 96];
        bytes[72..74].copy_from_slice(&kind.to_le_bytes());
        bytes[76..80].copy_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn what_cannot_be_read_is_counted_where_its_number_is_missing() {
        let intake = Intake::new(
            Batcher::new(Origin {
                host: "h".to_owned(),
                boot_id: [1; 16],
                run_id: 2,
                load_id: 3,
                hz: 250,
            }),
            Redactor::default(),
            0,
            0,
        );
        for bytes in [
            sample(Kind::Open as u16, b"short"),
            sample(Kind::Open as u16, b"short"),
            sample(Kind::Creds as u16, b""),
            // 7 syscalls, and no ticks.
            sample(Kind::Chunk as u16, &7u32.to_le_bytes()),
            sample(9999, b""),
            b"no header".to_vec(),
        ] {
            intake.sample(&bytes);
        }
        intake.state().set_load(4);
        intake.sample(&sample(Kind::Open as u16, b"short"));
        intake.sample(b"no header");
        let state = intake.state();
        let counts = |load_id| state.malformed(load_id).iter().collect::<Vec<_>>();
        assert_eq!(
            counts(4),
            [(Stream::File, 1), (Stream::Collector, 3)],
            "of this load, and of the run"
        );
        assert_eq!(
            counts(3),
            [
                (Stream::Sequence, 7),
                (Stream::File, 2),
                (Stream::Security, 1),
                (Stream::Collector, 3)
            ]
        );
        assert_eq!((state.events, state.syscalls), (0, 0));
    }
}
