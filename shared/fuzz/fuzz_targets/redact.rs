//! Any bytes for a command line: no panic, never more bytes than were given, as many arguments
//! as before, and a secret that stands whole behind its name is gone.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ravn_shared::redact::Redactor;

const SECRET: &[u8] = b"Zq9hunter2Zq9";

fn redacted(argv: &[u8], cut: bool) -> Vec<u8> {
    let mut out = Vec::new();
    if !Redactor::default().redact(argv, cut, &mut out) {
        assert!(out.is_empty());
        return argv.to_vec();
    }
    assert!(out.len() <= argv.len());
    let arguments = |bytes: &[u8]| bytes.split(|byte| *byte == 0).count();
    assert_eq!(arguments(&out), arguments(argv));
    out
}

fuzz_target!(|data: &[u8]| {
    let Some((at, bytes)) = data.split_first() else {
        return;
    };
    let cut = at & 1 == 1;
    redacted(bytes, cut);
    let (before, after) = bytes.split_at(usize::from(*at).min(bytes.len()));
    let argv = [before, b"\0--password=", SECRET, b"\0", after].concat();
    let left = redacted(&argv, cut);
    // What came before may hold the very word: then it is not this argument that leaks.
    let held = |bytes: &[u8]| {
        bytes
            .windows(SECRET.len())
            .filter(|word| *word == SECRET)
            .count()
    };
    assert!(held(&left) <= held(before) + held(after));
});
