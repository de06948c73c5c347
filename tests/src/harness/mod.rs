//! A private little world per test: Redis, cgroup, configuration, daemons.

pub mod authority;
pub mod bpf;
pub mod cgroup;
pub mod clock;
pub mod daemon;
pub mod events;
pub mod every_act;
pub mod haul;
pub mod ledger;
pub mod line;
pub mod netns;
pub mod notify;
pub mod pins;
pub mod programs;
pub mod proxy;
pub mod redis_server;
pub mod sandbox;
pub mod skip;
pub mod tally;
pub mod truth;
pub mod wait;

pub use line::Line;
pub use sandbox::Sandbox;
pub use wait::wait_until;
