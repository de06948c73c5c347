//! Scripted hosts: attacks that must alert, ordinary work that must not.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cost;
mod finding;
mod levels;
mod ordinary;
mod restore;
mod rules;
mod script;
mod table;
