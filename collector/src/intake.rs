//! What the ring buffers hand over, decoded and encoded again, ready to be cut.

use std::cell::RefCell;
use std::rc::Rc;

use ravn_shared::clock;
use ravn_shared::event::{Event, Place, Record, Tampering, Task};

use crate::abi::Decoder;
use crate::batch::Batcher;
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
    /// Samples that were no record.
    pub malformed: u64,
    /// Records of the collector's own stream so far.
    pub said: u64,
    /// The records that prove that the rings live.
    pub seen: Seen,
    /// Who speaks in the collector's own records.
    own: Task<'static>,
}

impl Intake {
    /// Nothing taken yet. `prover` is the thread whose records prove; `start_ns` when this
    /// process started.
    pub fn new(batcher: Batcher, prover: u32, start_ns: u64) -> Self {
        Self(Rc::new(RefCell::new(State {
            decoder: Decoder::default(),
            batcher,
            events: 0,
            syscalls: 0,
            malformed: 0,
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

    /// Tells what is gone or changed, in the collector's own name.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn say(&self, finding: &Finding) -> Result<(), rmp_serde::encode::Error> {
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
    pub fn own(&self, record: &Record<'_>) -> Result<(), rmp_serde::encode::Error> {
        let mut state = self.0.borrow_mut();
        let numbered = Record {
            n: state.said,
            ..record.clone()
        };
        state.batcher.push(&numbered, clock::boottime_ns())?;
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
            malformed,
            seen,
            own,
            ..
        } = &mut *state;
        let Some(record) = decoder.decode(bytes) else {
            *malformed += 1;
            return;
        };
        if batcher.push(&record, clock::boottime_ns()).is_err() {
            *malformed += 1;
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
