//! The analyzer's binary on a private Redis, fed with batches that are encoded by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod batches;
mod bench;
mod crash;
mod lease;
mod outage;
mod word;
