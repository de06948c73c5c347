//! `ravn-analyzer`: judges one host's events.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ravn_analyzer::config::Config;
use ravn_analyzer::handover;
use ravn_shared::config::{self, ConfigError};
use ravn_shared::{exit, log};

/// Judges a host's events out of Redis, and keeps `threat_level` true there.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example:\n  ravn-analyzer --config /etc/ravn/analyzer.toml\n\n\
    SIGTERM and SIGINT drain and stop, SIGHUP reads the rules anew.\n\
    Exit codes: 0 stopped, 1 failed at run time, 2 wrong usage or configuration."
)]
struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Configuration; `*.toml` in the folder of the same name with `.d` after it are read
    /// too [default: /etc/ravn/analyzer.toml, if it is there]
    #[arg(long, value_name = "PATH", env = "RAVN_ANALYZER_CONFIG", global = true)]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Verb {
    /// Judge until stopped (what is done without a verb).
    Run,
}

fn main() -> ExitCode {
    // clap ends wrong usage with 2, and --help and --version with 0.
    let arguments = Arguments::parse();
    let Some(Verb::Run) = arguments.verb.or(Some(Verb::Run)) else {
        return ExitCode::from(exit::USAGE);
    };
    match run(&arguments) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            eprintln!("ravn-analyzer: {error:#}");
            ExitCode::from(match error.downcast_ref::<ConfigError>() {
                Some(_) => exit::USAGE,
                None => exit::RUN,
            })
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let default = PathBuf::from("/etc/ravn/analyzer.toml");
    let path = arguments.config.as_ref().unwrap_or(&default);
    let config: Config = config::load(path, arguments.config.is_some())?;
    ravn_shared::link::check(&config.redis)?;
    log::start(&config.log)?;
    let orders = handover::from_signals()?;
    handover::run(&config, orders)
}
