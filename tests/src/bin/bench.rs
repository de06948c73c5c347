//! Runs one bench by name; `scripts/bench` builds and calls it.

use std::process::ExitCode;

use anyhow::{Result, bail};
use ravn_tests::bench::{pipeline, report};

fn run(name: &str) -> Result<bool> {
    let figures = match name {
        "pipeline" => pipeline::run()?,
        _ => bail!("no bench {name:?}; there are: pipeline"),
    };
    report(name, &figures)?;
    Ok(figures.iter().all(|figure| figure.met() != Some(false)))
}

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    match run(&name) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("bench {name}: a target is not met");
            ExitCode::from(ravn_shared::exit::RUN)
        }
        Err(error) => {
            eprintln!("bench {name}: {error:#}");
            ExitCode::from(ravn_shared::exit::RUN)
        }
    }
}
