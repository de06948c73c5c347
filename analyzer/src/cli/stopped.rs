//! `ravn stopped`: what the analyzer's unit does after its end, however it ended.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use ravn_shared::keys::Keys;
use ravn_shared::{config, link};

use super::access::{connect, said};
use crate::config::Config;
use crate::verdict::UNKNOWN;

/// What `ravn stopped` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The analyzer's configuration: its Redis, its user
    #[arg(
        long,
        env = "RAVN_ANALYZER_CONFIG",
        default_value = "/etc/ravn/analyzer.toml"
    )]
    config: PathBuf,
}

/// Deletes the level and tells it, unless another analyzer judges this list by now.
///
/// # Errors
/// What Redis said; the level then expires by itself within ten seconds.
pub fn run(args: &Args) -> Result<ExitCode> {
    let config: Config = config::load(&args.config, false)?;
    let host = config::host_name(&config.host)?;
    let name = if config.name.is_empty() {
        &host
    } else {
        &config.name
    };
    let keys = Keys::new(
        &config.redis.prefix,
        config.redis.shared.then_some(host.as_str()),
    );
    let mut connection = connect(link::connection_info(&config.redis)?)?;
    let holder: Option<String> = redis::cmd("GET")
        .arg(keys.lease())
        .query(&mut connection)
        .map_err(|error| said(&error))?;
    if holder.is_some_and(|lease| !holds(&lease, name)) {
        return Ok(ExitCode::SUCCESS);
    }
    let mut pipe = redis::pipe();
    pipe.atomic();
    pipe.cmd("DEL").arg(keys.threat_level()).ignore();
    pipe.cmd("PUBLISH")
        .arg(keys.threat_updates())
        .arg(UNKNOWN)
        .ignore();
    if keys.is_shared() {
        pipe.cmd("ZREM").arg(keys.levels()).arg(&host).ignore();
    }
    pipe.query::<()>(&mut connection)
        .map_err(|error| said(&error))?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the lease `token:name` is that of `name`.
fn holds(lease: &str, name: &str) -> bool {
    lease
        .split_once(':')
        .is_some_and(|(_, holder)| holder == name)
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn only_the_own_name_counts() {
        assert!(holds("12:web-1", "web-1"));
        assert!(!holds("12:web-10", "web-1"));
        assert!(!holds("web-1", "web-1"));
    }
}
