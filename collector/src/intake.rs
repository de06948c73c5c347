//! What the ring buffers hand over, decoded and encoded again, ready to be cut.

use std::cell::RefCell;
use std::rc::Rc;

use ravn_shared::clock;
use ravn_shared::event::Event;
use ravn_shared::redact::Redactor;

use crate::abi::Decoder;
use crate::batch::Batcher;

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
}

impl Intake {
    /// Nothing taken yet; `redactor` masks secrets of command lines.
    pub fn new(batcher: Batcher, redactor: Redactor) -> Self {
        Self(Rc::new(RefCell::new(State {
            decoder: Decoder::new(redactor),
            batcher,
            events: 0,
            syscalls: 0,
            malformed: 0,
        })))
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
        } = &mut *state;
        let Some(record) = decoder.decode(bytes) else {
            *malformed += 1;
            return;
        };
        if batcher.push(&record, clock::boottime_ns()).is_err() {
            *malformed += 1;
            return;
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
