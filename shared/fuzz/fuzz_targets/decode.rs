//! Any bytes for a batch: no panic; memory within a bound of the input's length; an error in few
//! words; what was decoded is, written and decoded again, the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ravn_fuzz::peak_of;
use ravn_shared::wire::{self, MAX_RECORDS};

/// For the records of a batch, whatever its length.
const ROOM_BYTES: usize = 256 * 1024;
/// An error quotes a text, every byte of which may be escaped; and what grows doubles.
const FOR_EACH_BYTE: usize = 16;

fuzz_target!(|data: &[u8]| {
    let (decoded, peak) = peak_of(|| wire::decode_batch(data));
    assert!(
        peak <= ROOM_BYTES + FOR_EACH_BYTE * data.len(),
        "{peak} bytes for an input of {}",
        data.len()
    );
    let batch = match decoded {
        Ok(batch) => batch,
        Err(error) => return assert!(error.to_string().len() <= 1000),
    };
    assert!(batch.records.len() <= MAX_RECORDS);
    let records: Vec<Vec<u8>> = batch
        .records
        .iter()
        .map(|record| {
            let mut bytes = Vec::new();
            wire::encode_record(record, &mut bytes).expect("a record that was decoded");
            bytes
        })
        .collect();
    let mut again = Vec::new();
    wire::encode_batch(&batch.header, records.iter().map(Vec::as_slice), &mut again)
        .expect("a batch that was decoded");
    assert_eq!(wire::decode_batch(&again), Ok(batch));
});
