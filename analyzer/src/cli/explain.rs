//! `ravn explain`: everything that stands in Redis about one incident, in the order in which a
//! person asks for it.

mod finding;
mod show;

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use redis::Connection;
use serde_json::{Value, json};

use super::access::Access;
use super::alerts;
use super::paint::{self, Paint};
use super::state::{State, text};
use finding::Finding;

/// What `ravn explain` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An incident or an alert; without it, the incident that the level follows
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// An incident as the state and the alerts tell of it.
#[derive(Debug)]
struct Explained {
    /// Its name.
    incident: String,
    /// What `ravn:state` has of it while it is open.
    open: Option<Value>,
    /// Rules that are in its score and have no alert of their own: name, times, worth.
    silent: Vec<(String, u64, f64)>,
    /// Its findings, what is worth most first.
    findings: Vec<Finding>,
}

/// Prints why.
///
/// # Errors
/// What Redis said, and the mend; or that nothing of that name is known.
pub fn run(access: &Access, args: &Args) -> Result<ExitCode> {
    let mut connection = access.reader()?;
    let state = State::read(&mut connection, &access.keys())?;
    let id = match &args.id {
        Some(id) => id.clone(),
        None => state.text("incident"),
    };
    if id.is_empty() {
        if args.json {
            println!("null");
        } else {
            println!("nothing speaks against any process; ravn alerts lists what was");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let explained = look_up(&mut connection, access, &state, &id)?;
    if args.json {
        println!("{}", explained.json());
    } else {
        let (width, _) = paint::size();
        for line in show::lines(&explained, Paint::new(), width) {
            println!("{line}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn look_up(
    connection: &mut Connection,
    access: &Access,
    state: &State,
    id: &str,
) -> Result<Explained> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut looked_at = 0;
    // The newest first: of a finding's alerts the last one tells how it stands.
    alerts::each(connection, &access.keys(), |entry| {
        looked_at += 1;
        if finding::is_of(&entry.body, id) {
            let known = findings.iter().any(|found| found.is_same(&entry.body));
            if !known {
                findings.push(Finding::of(entry.rule, entry.body));
            }
        }
    })?;
    let incident = findings
        .first()
        .map_or_else(|| id.to_owned(), Finding::incident);
    let open = state
        .list("incidents")
        .iter()
        .find(|open| text(open.get("id")) == incident)
        .cloned();
    if findings.is_empty() && open.is_none() {
        return Err(anyhow!(
            "nothing is called {}: neither an open incident nor any of the last {looked_at} alerts; \
             ravn status and ravn alerts show their names",
            ravn_shared::text::escape(id.as_bytes())
        ));
    }
    findings.sort_by(|a, b| {
        b.worth
            .total_cmp(&a.worth)
            .then(a.first_ms.cmp(&b.first_ms))
    });
    let one_alert = incident != id;
    let mut silent = Vec::new();
    for rule in open
        .iter()
        .flat_map(|open| open["rules"].as_array())
        .flatten()
    {
        let (name, worth) = (text(rule.get(0)), rule[2].as_f64().unwrap_or_default());
        match findings.iter_mut().find(|found| found.rule == name) {
            Some(found) => found.worth = worth,
            None if one_alert => {}
            None => silent.push((name, rule[1].as_u64().unwrap_or_default(), worth)),
        }
    }
    Ok(Explained {
        incident,
        open,
        silent,
        findings,
    })
}

impl Explained {
    /// The score now, or at the last alert of an incident that is over.
    fn score(&self) -> f64 {
        let last = || self.findings.iter().map(|found| found.score);
        self.open.as_ref().map_or_else(
            || last().fold(0.0, f64::max),
            |open| open["score"].as_f64().unwrap_or_default(),
        )
    }

    fn json(&self) -> Value {
        let silent: Vec<Value> = self
            .silent
            .iter()
            .map(|(rule, count, worth)| json!({"rule": rule, "count": count, "worth": worth}))
            .collect();
        json!({
            "incident": self.incident,
            "open": self.open.is_some(),
            "score": self.score(),
            "state": self.open,
            "findings": self.findings.iter().map(Finding::json).collect::<Vec<_>>(),
            "without_alert": silent,
            "events": finding::events(&self.findings),
        })
    }
}
