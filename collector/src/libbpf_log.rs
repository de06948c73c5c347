//! libbpf's own words: they come through a callback alone, and say why a program failed.

use std::sync::Mutex;

use libbpf_rs::PrintLevel;

/// Most lines that are kept; a verifier's log can have a million.
const MOST_LINES: usize = 40;

static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// From now on libbpf's warnings are kept instead of printed.
pub fn capture() {
    libbpf_rs::set_print(Some((PrintLevel::Warn, keep)));
}

/// Takes what was kept, oldest first.
pub fn take() -> Vec<String> {
    LINES
        .lock()
        .map(|mut lines| std::mem::take(&mut *lines))
        .unwrap_or_default()
}

fn keep(_: PrintLevel, text: String) {
    let Ok(mut lines) = LINES.lock() else { return };
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if lines.len() == MOST_LINES {
            lines.remove(0);
        }
        lines.push(line.to_owned());
    }
}
