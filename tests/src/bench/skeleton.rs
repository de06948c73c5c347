//! The floor object's skeleton, as `build.rs` generates it from `tests/bpf/`.

#![allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::undocumented_unsafe_blocks,
    clippy::expect_used,
    clippy::unwrap_used,
    unsafe_op_in_unsafe_fn,
    non_camel_case_types,
    dead_code
)]

include!(concat!(env!("OUT_DIR"), "/floor.skel.rs"));
