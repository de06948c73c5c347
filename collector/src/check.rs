//! `ravn-collector check`: what this kernel lets the sensor see.

use std::io::IsTerminal;

use anyhow::Result;
use ravn_shared::link;

use crate::config::Config;
use crate::coverage::{self, Coverage};
use crate::pins::Meta;
use crate::{programs, report, standing};

/// Loads and attaches as `run` would, prints the coverage by kind, and detaches.
///
/// # Errors
/// When nothing loads or attaches.
pub fn run(config: &Config, json: bool) -> Result<()> {
    // Attached and silent: no load is the active one of this map.
    let programs = programs::load(
        &config.rings,
        standing::hz()?,
        &Meta::map()?,
        link::random_id(),
    )?;
    let coverage = coverage::report(&programs.fates, &config.filter.scope(false));
    if json {
        println!(
            "{}",
            serde_json::to_string_pretty(&report::texts(&coverage))?
        );
        return Ok(());
    }
    let colours = std::io::stdout().is_terminal();
    for (kind, coverage) in &coverage {
        let colour = match coverage {
            Coverage::Full => "32",
            Coverage::Degraded(_) => "33",
            Coverage::Absent(_) => "31",
        };
        if colours {
            println!("{kind:<12} \x1b[{colour}m{coverage}\x1b[0m");
        } else {
            println!("{kind:<12} {coverage}");
        }
    }
    Ok(())
}
