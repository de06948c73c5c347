//! What the cross-process tests stand on: a [`harness::Sandbox`] with a Redis, a cgroup and the
//! real daemons of its own, and the [`acts`] of the trigger program, each of which does one
//! thing and tells the truth about it; [`bench`] measures, [`soak`] runs for long.

pub mod acts;
pub mod bench;
pub mod harness;
pub mod soak;
