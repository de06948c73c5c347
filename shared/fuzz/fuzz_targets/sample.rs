//! Any bytes for a sample of a ring buffer: no panic, and what the collector makes of it goes
//! over the wire as it is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ravn_shared::event::Event;
use ravn_shared::kind::Class;
use ravn_shared::redact::Redactor;
use ravn_shared::wire::{self, Header, Lost};

#[path = "../../../collector/src"]
#[allow(dead_code, unused_imports)]
mod collector {
    pub mod abi;
    pub mod cursor;
    pub mod path;
}
use collector::{abi, cursor, path};

fuzz_target!(|data: &[u8]| {
    let counted = abi::numbers_of(data);
    let mut decoder = abi::Decoder::new(Redactor::default());
    let Some(record) = decoder.decode(data) else {
        return;
    };
    let event = &record.event;
    assert_eq!(counted.map(|(stream, _)| stream), Some(event.stream()));
    if let Event::Exec(exec) | Event::Process(exec) = event {
        assert!(exec.argv.len() <= data.len());
    }
    let mut bytes = Vec::new();
    wire::encode_record(&record, &mut bytes).expect("a record of a sample");
    let header = Header {
        schema: wire::SCHEMA,
        host: "host",
        boot_id: &[0; 16],
        run_id: 0,
        batch_no: 0,
        clock_offset_ns: 0,
        class: Class::Essential,
        source: ("x86_64", 250),
        lost: Lost::default(),
    };
    let mut batch = Vec::new();
    wire::encode_batch(&header, std::iter::once(bytes.as_slice()), &mut batch)
        .expect("a batch of one record");
    let mut expected = record.clone();
    if let Event::Chunk(_) = expected.event {
        expected.task = Default::default();
    }
    let read = wire::decode_batch(&batch).expect("what the collector wrote");
    assert_eq!(read.records, [expected]);
});
