//! `ravn doctor`: one check after the other, each with its mend.

mod coverage;
mod host;
mod pipeline;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use ravn_shared::exit;
use serde_json::json;

use super::access::Access;
use super::paint::Paint;

/// What `ravn doctor` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The analyzer's configuration: with its rights the policy of Redis can be read
    #[arg(
        long,
        env = "RAVN_ANALYZER_CONFIG",
        value_name = "PATH",
        default_value = "/etc/ravn/analyzer.toml"
    )]
    config: PathBuf,
    /// Print one JSON object a check
    #[arg(long)]
    json: bool,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// As it should be.
    Good,
    /// Works, but worth knowing.
    Note,
    /// Must be mended.
    Bad,
}

/// One check.
#[derive(Clone, Debug)]
pub struct Check {
    /// What was looked at.
    pub what: &'static str,
    /// How it ended.
    pub finding: Finding,
    /// What was seen.
    pub seen: String,
    /// One line each: parts of what was seen.
    pub parts: Vec<String>,
    /// What to do; empty when all is good, or nothing can be done.
    pub mend: String,
}

impl Check {
    /// As it should be.
    pub fn good(what: &'static str, seen: impl Into<String>) -> Self {
        Self {
            what,
            finding: Finding::Good,
            seen: seen.into(),
            parts: Vec::new(),
            mend: String::new(),
        }
    }

    /// Works, but worth knowing.
    pub fn note(what: &'static str, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            finding: Finding::Note,
            mend: mend.into(),
            ..Self::good(what, seen)
        }
    }

    /// Must be mended.
    pub fn bad(what: &'static str, seen: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            finding: Finding::Bad,
            ..Self::note(what, seen, mend)
        }
    }
}

/// Runs every check; exit code 1 when something must be mended.
///
/// # Errors
/// None: what goes wrong is a finding.
pub fn run(access: &Access, args: &Args) -> Result<ExitCode> {
    let mut checks = host::checks();
    checks.extend(pipeline::checks(access, &args.config));
    let paint = Paint::new();
    for check in &checks {
        if args.json {
            let finding = format!("{:?}", check.finding).to_lowercase();
            println!(
                "{}",
                json!({"what": check.what, "finding": finding, "seen": check.seen, "parts": check.parts, "mend": check.mend})
            );
            continue;
        }
        let mark = match check.finding {
            Finding::Good => paint.good("ok  "),
            Finding::Note => paint.dim("note"),
            Finding::Bad => paint.bad("BAD "),
        };
        println!("{mark}  {:<18} {}", check.what, check.seen);
        for part in &check.parts {
            println!("      {:<18} {part}", "");
        }
        if !check.mend.is_empty() {
            println!(
                "      {:<18} {}",
                "",
                paint.dim(&format!("mend: {}", check.mend))
            );
        }
    }
    let bad = checks.iter().any(|check| check.finding == Finding::Bad);
    Ok(ExitCode::from(if bad { exit::RUN } else { exit::OK }))
}
