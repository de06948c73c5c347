//! `ravn-collector check`: what this kernel lets the sensor see.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

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
    let mut text = String::new();
    if json {
        text = serde_json::to_string_pretty(&report::texts(&coverage))?;
        text.push('\n');
    } else {
        lines(&coverage, &mut text);
    }
    // A reader that has seen enough (`| head`) is no failure.
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// A line for each kind, coloured on a terminal.
fn lines(coverage: &BTreeMap<&'static str, Coverage>, out: &mut String) {
    let colours = std::io::stdout().is_terminal();
    for (kind, coverage) in coverage {
        let colour = match coverage {
            Coverage::Full => "32",
            Coverage::Degraded(_) => "33",
            Coverage::Absent(_) => "31",
        };
        out.push_str(&if colours {
            format!("{kind:<12} \x1b[{colour}m{coverage}\x1b[0m\n")
        } else {
            format!("{kind:<12} {coverage}\n")
        });
    }
}
