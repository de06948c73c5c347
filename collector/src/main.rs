//! `ravn-collector`: the privileged half of RAVN. Ring buffers to Redis, and nothing else.

mod abi;
mod backlog;
mod batch;
mod check;
mod config;
mod coverage;
mod cursor;
mod filter;
mod host;
mod intake;
mod libbpf_log;
mod line;
mod mounts;
mod outbox;
mod path;
mod pins;
mod programs;
mod proof;
mod report;
mod resp;
mod run;
mod send;
mod skeleton;
mod snapshot;
mod standing;
mod sweep;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use ravn_shared::config::ConfigError;
use ravn_shared::{exit, log};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

const DEFAULT_CONFIG: &str = "/etc/ravn/collector.toml";

/// Watches the host through eBPF and hands every event to Redis.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Example: ravn-collector --config /etc/ravn/collector.toml run"
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Configuration file, with drop-ins in the folder of the same name and `.d`.
    #[arg(
        long,
        global = true,
        env = "RAVN_COLLECTOR_CONFIG",
        value_name = "FILE"
    )]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Load, attach and collect until SIGTERM (the default).
    Run,
    /// Load and attach, print what this kernel lets the sensor see, and leave.
    #[command(after_help = "Example: ravn-collector check --json | jq .connect")]
    Check {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take away the programs and rings that an instance left pinned.
    #[command(
        after_help = "Example: systemctl stop ravn-collector && ravn-collector unload --instance default"
    )]
    Unload {
        /// The instance; by default the configured one.
        #[arg(long, value_name = "NAME")]
        instance: Option<String>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match act(arguments) {
        Ok(()) => ExitCode::from(exit::OK),
        Err(error) => {
            eprintln!("ravn-collector: {error:#}");
            ExitCode::from(code(&error))
        }
    }
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<ConfigError>() {
        exit::USAGE
    } else if error.is::<host::HostError>() {
        exit::HOST
    } else {
        exit::RUN
    }
}

fn act(arguments: Arguments) -> Result<()> {
    let named = arguments.config.is_some();
    let path = arguments
        .config
        .unwrap_or_else(|| Path::new(DEFAULT_CONFIG).to_path_buf());
    let mut config: config::Config = ravn_shared::config::load(&path, named)?;
    if let Some(Command::Unload {
        instance: Some(name),
    }) = &arguments.command
    {
        config.pins.instance.clone_from(name);
    }
    config.validate()?;
    ravn_shared::config::host_name(&config.host)?;
    ravn_shared::link::check(&config.redis)?;
    if let Some(Command::Unload { .. }) = arguments.command {
        return pins::unload::run(config.pins.place().as_deref());
    }
    host::check()?;
    match arguments.command.unwrap_or(Command::Run) {
        Command::Check { json } => check::run(&config, json),
        Command::Unload { .. } => Ok(()),
        Command::Run => {
            log::start(&config.log)?;
            let signals = run::Signals::default();
            for (signal, flag) in [
                (SIGTERM, &signals.stop),
                (SIGINT, &signals.stop),
                (SIGHUP, &signals.reload),
            ] {
                signal_hook::flag::register(signal, Arc::clone(flag))
                    .context("cannot catch signals")?;
            }
            let read = || -> Result<config::Config> {
                let config: config::Config = ravn_shared::config::load(&path, named)?;
                config.validate()?;
                Ok(config)
            };
            run::run(&config, &signals, &read)
        }
    }
}
