//! Any bytes for the words of a chunk: read to the end or to what cannot be read, no syscall
//! invented, none that belongs to a thread lost, memory within a bound of the input's length.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ravn_fuzz::peak_of;
use ravn_shared::words::{Word, Words};

#[path = "../../../analyzer/src/sequence"]
mod sequence {
    pub mod chunk;
}

#[path = "../../../analyzer/src"]
#[allow(dead_code)]
mod analyzer {
    pub mod verdict;
}
use analyzer::verdict;

const ROOM_BYTES: usize = 4096;
/// A syscall of two bytes becomes one of 16, and what grows doubles.
const FOR_EACH_BYTE: usize = 24;

fuzz_target!(|data: &[u8]| {
    let ((runs, broken), peak) = peak_of(|| sequence::chunk::runs(data));
    assert!(
        peak <= ROOM_BYTES + FOR_EACH_BYTE * data.len(),
        "{peak} bytes for an input of {}",
        data.len()
    );
    let mut owned = 0;
    let mut defined = [false; 64];
    let mut current = false;
    let mut stopped = false;
    for step in Words::new(data) {
        match step {
            Ok((_, Word::Switch(slot))) => current = defined[usize::from(slot)],
            Ok((_, Word::Define(slot, _))) => {
                defined[usize::from(slot)] = true;
                current = true;
            }
            Ok((_, Word::Time(_))) => {}
            Ok((_, Word::Syscall(_))) => owned += usize::from(current),
            Err(_) => stopped = true,
        }
    }
    assert_eq!(broken, stopped);
    assert_eq!(runs.iter().map(|run| run.calls.len()).sum::<usize>(), owned);
    for run in &runs {
        assert!(!run.calls.is_empty());
        assert!(run.calls.is_sorted_by(|one, next| one.word < next.word));
    }
});
