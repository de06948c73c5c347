//! Logs: to the journal under systemd, as text on standard error elsewhere.

use std::env;
use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging at `level` (`error`, `warn`, `info`, `debug`, `trace`, or a filter
/// as of `tracing`). Colours only on a terminal. Call once.
///
/// # Errors
/// A level that is none, or a second call.
pub fn start(level: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        anyhow::anyhow!("log = {level:?}: {error}; give error, warn, info, debug or trace")
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    // systemd sets JOURNAL_STREAM for the standard error that it connected to the journal.
    if env::var_os("JOURNAL_STREAM").is_some()
        && let Ok(journal) = tracing_journald::layer()
    {
        return Ok(registry.with(journal).try_init()?);
    }
    let text = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    Ok(registry.with(text).try_init()?)
}
