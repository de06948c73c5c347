//! Exit codes of every RAVN program.

/// It did what was asked.
pub const OK: u8 = 0;
/// It failed at run time.
pub const RUN: u8 = 1;
/// Wrong usage or configuration.
pub const USAGE: u8 = 2;
/// This host cannot do it: no BTF, no privilege.
pub const HOST: u8 = 77;
