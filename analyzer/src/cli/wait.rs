//! `ravn wait`.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::access::Access;
use super::state::State;

/// What `ravn wait` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Give up after this long
    #[arg(long, default_value_t = 30, value_name = "N")]
    seconds: u64,
}

/// Returns as soon as both daemons work.
///
/// # Errors
/// What is missing when time is up.
pub fn run(access: &Access, args: &Args) -> Result<ExitCode> {
    let end = Instant::now() + Duration::from_secs(args.seconds);
    loop {
        let missing = match look(access) {
            Ok(None) => return Ok(ExitCode::SUCCESS),
            Ok(Some(missing)) => missing,
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() >= end {
            bail!("waited {} s; {missing}", args.seconds);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn look(access: &Access) -> Result<Option<String>> {
    let state = State::read(&mut access.reader()?, &access.keys())?;
    if state.works() {
        return Ok(None);
    }
    Ok(Some(
        match (state.collector.is_empty(), state.analyzer.is_empty()) {
            (true, true) => "neither the collector nor the analyzer works".to_owned(),
            (true, false) => "the collector does not work".to_owned(),
            _ => "the analyzer does not work".to_owned(),
        },
    ))
}
