//! The long run; `scripts/soak hours` builds and calls it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Parser;
use ravn_shared::link::random_id;
use ravn_tests::bench::stop_at_signals;
use ravn_tests::soak::{Settings, run};

/// Runs both daemons for hours under a mixed load, with faults at random times. Needs root.
#[derive(Debug, Parser)]
#[command(name = "soak", after_help = "Example: scripts/soak hours 0.4 --seed 7")]
struct Arguments {
    /// How long; fractions are fine.
    #[arg(value_name = "H")]
    hours: f64,
    /// Decides every fault and its time; another one each time without it.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Mean time between the end of a fault and the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0)]
    every: f64,
    /// Events a second, about, beside the syscalls.
    #[arg(long, value_name = "RATE", default_value_t = 3000.0)]
    events: f64,
}

fn work(arguments: &Arguments) -> Result<bool> {
    let positive = |number: f64| number > 0.0 && number < 100_000.0;
    ensure!(
        positive(arguments.hours) && positive(arguments.every) && positive(arguments.events),
        "H, --every and --events are numbers above 0; for example: scripts/soak hours 0.4"
    );
    stop_at_signals()?;
    run(Settings {
        length: Duration::from_secs_f64(arguments.hours * 3600.0),
        seed: arguments.seed.unwrap_or_else(random_id),
        every: Duration::from_secs_f64(arguments.every),
        rate: arguments.events,
    })
}

fn main() -> ExitCode {
    match work(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(ravn_shared::exit::RUN),
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::from(ravn_shared::exit::RUN)
        }
    }
}
