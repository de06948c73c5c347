//! Handover: batches out of Redis, and what became of them back into it.
//!
//! [`intake`] moves batches to an in-flight list, [`judging`] owns the judge, the
//! [`ledger`] and the batches that are [`waiting`], and [`commit`] writes everything that
//! changed in one transaction, fenced by the [`lease`]. [`turn`] is the loop around them, [`engine`]
//! what surrounds that: connections, take-overs, outages, and [`room`] a Redis that is full.
//! Only this folder knows Redis and tokio; `ledger`, `waiting` and `judging` are pure.

mod alerts;
mod boots;
mod commit;
mod connect;
mod engine;
mod facing;
mod intake;
mod judging;
mod lease;
mod ledger;
mod levels;
mod orders;
mod outage;
mod pending;
mod policy;
mod rates;
mod restore;
mod room;
mod sequence_word;
mod state;
mod tap;
mod turn;
mod waiting;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ravn_shared::config::{ConfigError, host_name};
use ravn_shared::link;
use tokio::sync::mpsc::UnboundedReceiver;

pub use ledger::{Account, Side};
pub use orders::{Order, from_signals};

use crate::config::Config;
use crate::sequence::ModelSource;

/// Judges until it is ordered to stop.
///
/// # Errors
/// A [`ConfigError`] or rules that cannot be read; failures of Redis are waited out.
pub fn run(config: &Config, orders: UnboundedReceiver<Order>) -> anyhow::Result<()> {
    let host = host_name(&config.host)?;
    let name = match config.name.as_str() {
        "" => host.clone(),
        name => host_name(name).map_err(|_| ConfigError::Value {
            key: "name",
            value: format!("{name:?}"),
            mend: "give 1 to 64 characters of A-Z a-z 0-9 . _ -".to_owned(),
        })?,
    };
    link::check(&config.redis)?;
    if let Some(warning) = link::in_the_clear(&config.redis) {
        tracing::warn!("{warning}");
    }
    let recipe = judging::Recipe {
        host,
        rules: some(&config.rules),
        model: model(&config.model),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("redis")
        .enable_io()
        .enable_time()
        .build()
        .context("cannot start the runtime")?;
    let file = alerts::AlertsFile::new(&config.alerts_file);
    runtime.block_on(engine::Engine::new(config.redis.clone(), name, recipe, file, orders).run())
}

fn some(path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| path.to_path_buf())
}

fn model(path: &Path) -> ModelSource {
    match path.to_str() {
        Some("") => ModelSource::BuiltIn,
        Some("none") => ModelSource::None,
        _ => ModelSource::File(path.to_path_buf()),
    }
}
