//! Runs benches by name; `scripts/bench` builds and calls it.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use ravn_tests::bench::{BENCHES, Settings, names, run, stop_at_signals};

/// Measures RAVN on this machine: a table each, and target/bench/NAME.json. Needs root.
#[derive(Debug, Parser)]
#[command(
    name = "bench",
    after_help = "Example: scripts/bench --pairs 40 syscalls peer"
)]
struct Arguments {
    /// Benches to run; all without a name.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// A short look with an eighth of the pairs; its figures are marked.
    #[arg(long)]
    quick: bool,
    /// End with status 1 when a target is missed.
    #[arg(long)]
    strict: bool,
    /// So many interleaved pairs (or runs) instead of the bench's own number, 20 to 40.
    #[arg(long, value_name = "N")]
    pairs: Option<usize>,
}

/// Runs them all; false when a target was missed.
fn work(arguments: &Arguments) -> Result<bool> {
    let known: Vec<&str> = BENCHES.iter().map(|(name, _)| *name).collect();
    let wanted: Vec<&str> = arguments.names.iter().map(String::as_str).collect();
    for name in &wanted {
        ensure!(
            known.contains(name),
            "no bench {name:?}; there are: {}",
            names()
        );
    }
    let settings = Settings {
        quick: arguments.quick,
        pairs: arguments.pairs,
    };
    stop_at_signals()?;
    let mut met = true;
    for name in if wanted.is_empty() { &known } else { &wanted } {
        eprintln!("bench {name}");
        let report = run(name, &settings).with_context(|| format!("bench {name}"))?;
        report.publish(name, settings.quick || settings.pairs.is_some())?;
        met &= report.met();
    }
    Ok(met)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match work(&arguments) {
        Ok(met) if met || !arguments.strict => ExitCode::SUCCESS,
        Ok(_) => {
            eprintln!("bench: a target is not met");
            ExitCode::from(ravn_shared::exit::RUN)
        }
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(ravn_shared::exit::RUN)
        }
    }
}
