//! What the collector and the analyzer agree on, and nothing that only one of them needs.
//!
//! [`kind`] and [`event`] say what a record is, [`wire`] how batches of them travel ([`pack`] writes them), [`words`]
//! how a chunk of a syscall sequence is read, [`tokens`] what the model calls each. [`redact`] masks secrets of command lines. [`keys`] names everything in Redis.
//! The rest is what two daemons need to be good citizens: [`config`], [`link`] and [`tls`]
//! (Redis), [`log`], [`service`] (systemd), [`clock`], [`text`], [`show`] and [`exit`].

pub mod clock;
pub mod config;
pub mod event;
pub mod exit;
pub mod kernel;
pub mod keys;
pub mod kind;
pub mod link;
pub mod log;
pub mod pack;
pub mod redact;
pub mod service;
pub mod show;
pub mod text;
pub mod tls;
pub mod tokens;
pub mod wire;
pub mod words;
