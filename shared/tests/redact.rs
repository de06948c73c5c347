//! What redaction costs: no allocation, and time that grows as the input does.

#![allow(clippy::unwrap_used, missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use ravn_shared::redact::Redactor;

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Pieces that, repeated, make the matcher look ahead, back, and twice.
const PIECES: [&str; 20] = [
    "ordinary --option=value\0",
    "--password=x\0",
    "token=",
    "a://",
    "a://b:c",
    "https://me:pw@host/ ",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN ",
    "eyJhbGciOiJI.",
    "p-a-s-s-w-o-r-d",
    "\"password\":\"",
    "token='$a\" ",
    "token=\"$a\\\" ",
    "\" ",
    "' ",
    "Authorization: Bearer ",
    "sudo\0mysql\0-px\0",
    "sh\0-c\0mysql -p\" ; ",
    "a",
    "ghp_",
];

fn argv(piece: &str, bytes: usize) -> Vec<u8> {
    piece.bytes().cycle().take(bytes).collect()
}

#[test]
fn nothing_is_allocated() {
    let patterns = ["vault_pin".to_owned(), "corp_*".to_owned()];
    let redactor = Redactor::with_patterns(&patterns).unwrap();
    let mut out = Vec::with_capacity(4096);
    let before = ALLOCATIONS.get();
    drop(black_box(Box::new(1)));
    assert_eq!(ALLOCATIONS.get(), before + 1, "allocations are counted");
    for cut in [false, true] {
        for piece in PIECES {
            // Made outside of the count.
            let bytes = argv(piece, 4096);
            let before = ALLOCATIONS.get();
            out.clear();
            black_box(redactor.redact(black_box(&bytes), cut, &mut out));
            assert_eq!(ALLOCATIONS.get(), before, "{piece:?}");
        }
    }
}

/// CPU time of this thread, ns: what others do on this machine is not counted.
fn cpu_ns() -> f64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is writable.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    assert_eq!(done, 0);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// The fastest of several runs, ns.
fn cost_ns(redactor: &Redactor, bytes: &[u8], runs: u32) -> f64 {
    let mut out = Vec::with_capacity(bytes.len());
    let once = |out: &mut Vec<u8>| {
        out.clear();
        black_box(redactor.redact(black_box(bytes), false, out));
    };
    (0..7)
        .map(|_| {
            let began = cpu_ns();
            (0..runs).for_each(|_| once(&mut out));
            (cpu_ns() - began) / f64::from(runs)
        })
        .fold(f64::MAX, f64::min)
}

/// Sixteen times the input takes about sixteen times as long, far from the square of it.
#[test]
fn time_grows_as_the_input_does() {
    let redactor = Redactor::default();
    for piece in PIECES {
        let small = cost_ns(&redactor, &argv(piece, 4096), 20);
        let large = cost_ns(&redactor, &argv(piece, 16 * 4096), 2);
        assert!(
            large < 80.0 * small,
            "{piece:?}: {small:.0} ns for 4 KiB, {large:.0} ns for 64 KiB"
        );
    }
}

/// `cargo test --release --workspace --test redact -- --ignored --nocapture`
#[test]
#[ignore = "prints figures"]
fn what_an_exec_costs() {
    let redactor = Redactor::default();
    let usual = b"/usr/bin/gcc\0-O2\0-Wall\0-I/usr/include/x\0-c\0src/main.c\0-o\0build/main.o\0-MMD\0-DNDEBUG=1\0-fPIC\0x\0";
    let secret = b"/usr/bin/curl\0-sS\0-H\0Authorization: Bearer abcdefghijklmnopqrstuvwxyz0123\0https://host.example/api\0-o\0x\0";
    for (name, bytes) in [("usual", &usual[..]), ("secret", &secret[..])] {
        let ns = cost_ns(&redactor, bytes, 10_000);
        println!("{name:<24} {:>5} B {ns:>8.0} ns", bytes.len());
    }
    for piece in PIECES {
        let ns = cost_ns(&redactor, &argv(piece, 4096), 500);
        println!("{piece:<24?}  4096 B {ns:>8.0} ns");
    }
}
