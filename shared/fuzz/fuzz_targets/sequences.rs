//! Any batches, one after the other, for the merge of sequences: no panic, memory within a bound
//! of what came in, every chunk that was taken in is handed on once, and at the end nothing waits.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ravn_fuzz::peak_of;

#[path = "../../../analyzer/src"]
#[allow(dead_code)]
mod analyzer {
    pub mod horizon;
    pub mod verdict;
}
#[path = "../../../analyzer/src/model"]
#[allow(dead_code)]
mod model {
    pub mod rng;
}
#[path = "../../../analyzer/src/sequence"]
#[allow(dead_code)]
mod sequence {
    pub mod chunk;
    pub mod intake;
    pub mod lane;
    pub mod merge;
    pub mod ranges;
}
use analyzer::{horizon, verdict};
use sequence::intake::Intake;

/// Tables begin at some size, and an error may be long.
const ROOM_BYTES: usize = 512 * 1024;
/// A record of 20 bytes waits as one of some 300, in three tables; and what grows doubles.
const FOR_EACH_BYTE: usize = 100;

/// Batches behind a length of two bytes each.
fn batches(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first_chunk()?;
        let (batch, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        data = rest;
        Some(batch)
    })
}

fuzz_target!(|data: &[u8]| {
    let ((), peak) = peak_of(|| {
        let mut intake = Intake::default();
        for (id, batch) in (1..).zip(batches(data)) {
            if intake.batch(id, batch, horizon::Horizon::NONE).is_ok() {
                intake.release(false);
            }
        }
        intake.release(true);
        assert!(intake.merge.is_empty());
        assert_eq!(intake.give_up(), []);
    });
    assert!(
        peak <= ROOM_BYTES + FOR_EACH_BYTE * data.len(),
        "{peak} bytes for an input of {}",
        data.len()
    );
});
