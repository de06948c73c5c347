//! The unprivileged half of RAVN: batches in, one judged word out.
//!
//! [`handover`] takes batches from Redis and commits what became of them, [`judge`] keeps the
//! process table, applies the rules and keeps incidents, [`sequence`] rebuilds every thread's
//! syscalls and [`model`] scores them. [`cli`] is the operator's tool, `ravn`.

pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod handover;
pub mod horizon;
pub mod judge;
pub mod model;
#[cfg(test)]
mod scratch;
pub mod sequence;
pub mod verdict;
