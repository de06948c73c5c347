//! A private little world per test: Redis, cgroup, configuration, daemons.

pub mod bpf;
pub mod cgroup;
pub mod daemon;
pub mod events;
pub mod every_act;
pub mod haul;
pub mod notify;
pub mod pins;
pub mod programs;
pub mod redis_server;
pub mod sandbox;
pub mod skip;
pub mod tally;
pub mod truth;
pub mod wait;

pub use sandbox::Sandbox;
pub use wait::wait_until;
