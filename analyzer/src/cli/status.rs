//! `ravn status`.

use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;

use super::access::Access;
use super::ledger;
use super::paint::{self, Paint, cut, grouped};
use super::state::{State, text};
use crate::verdict::UNKNOWN;

/// What `ravn status` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints the state once.
///
/// # Errors
/// What Redis said, and the mend.
pub fn run(access: &Access, args: &Args) -> Result<ExitCode> {
    let mut connection = access.reader()?;
    let state = State::read(&mut connection, &access.keys())?;
    if args.json {
        println!("{}", state.json());
    } else {
        let (width, _) = paint::size();
        for line in lines(&state, Paint::new(), width, 10) {
            println!("{line}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The state for people: at most `most` processes, lines at most `width` wide.
pub fn lines(state: &State, paint: Paint, width: usize, most: usize) -> Vec<String> {
    let mut out = vec![head(state, paint)];
    if state.level == UNKNOWN {
        out.push(why_unknown(state).to_owned());
    }
    let room = width.saturating_sub(12);
    for (name, field) in [("reason", "reason"), ("mode", "mode_reason")] {
        let words = state.text(field);
        if !words.is_empty() {
            out.push(format!("{}{}", label(name, paint), cut(&words, room)));
        }
    }
    out.extend(counts(state, paint));
    out.extend(
        ledger::lines(state, paint)
            .iter()
            .map(|line| cut(line, width)),
    );
    processes(state, paint, width, most, &mut out);
    incidents(state, paint, width, &mut out);
    out
}

fn head(state: &State, paint: Paint) -> String {
    let mut head = paint.level(&state.level);
    if !state.analyzer.is_empty() {
        head.push_str(&format!(
            "  score {:.0} (now {:.0}, peak {:.0})",
            state.number("score"),
            state.number("score_now"),
            state.number("peak"),
        ));
        let since = state.number("since") as u64;
        if since > 0 {
            head.push_str(&format!(" since {}", paint::time_of_day(since)));
        }
        head.push_str(&format!(
            "   {}",
            paint.dim(&format!(
                "mode {}, model {}, rules {}",
                state.text("mode"),
                state.text("model"),
                state.text("rules"),
            ))
        ));
    }
    head
}

fn why_unknown(state: &State) -> &'static str {
    if state.analyzer.is_empty() {
        "nobody judges: the analyzer does not run (systemctl status ravn-analyzer; ravn doctor)"
    } else {
        "nobody judges: the level has expired while the analyzer's state has not (ravn doctor)"
    }
}

fn counts(state: &State, paint: Paint) -> Vec<String> {
    if state.collector.is_empty() {
        return vec![
            paint.bad("the collector does not run (systemctl status ravn-collector; ravn doctor)"),
        ];
    }
    let mut seen = format!(
        "{}{} events, {} syscalls handed over",
        label("collector", paint),
        grouped(state.collected("events")),
        grouped(state.collected("syscalls")),
    );
    // The ledger holds what the collector lost; its own count is for when nobody judges.
    if state.analyzer.is_empty() {
        let lost = state.collected("lost");
        let shown = format!(", {} lost", grouped(lost));
        seen.push_str(&if lost == 0 { shown } else { paint.bad(&shown) });
    }
    if state.text_of_collector("narrowed") == "1" {
        seen.push_str(" (narrowed to some cgroups)");
    }
    let mut out = vec![seen];
    if !state.analyzer.is_empty() {
        out.push(format!(
            "{}{:.0} records/s, {:.0} syscalls/s, lag {:.0} ms, {:.0} % of tokens scored",
            label("analyzer", paint),
            state.number("events_per_s"),
            state.number("syscalls_per_s"),
            state.number("lag_ms"),
            100.0 * state.number("scored_share"),
        ));
    }
    out
}

fn processes(state: &State, paint: Paint, width: usize, most: usize, out: &mut Vec<String>) {
    let list = state.list("processes");
    if list.is_empty() {
        return;
    }
    out.push(String::new());
    out.push(paint.bold(&format!(
        "{:>5}  {:>7}  {:<28} reason",
        "score", "pid", "program"
    )));
    let room = width.saturating_sub(45);
    for process in list.iter().take(most) {
        let program = match text(process.get("cmdline")) {
            empty if empty.is_empty() => text(process.get("exe")),
            line => line,
        };
        // The score is the incident's: it stands once, at who did the worst of it.
        let score = if process["role"] == "member" {
            "\"".to_owned()
        } else {
            format!("{:.0}", process["score"].as_f64().unwrap_or_default())
        };
        out.push(format!(
            "{score:>5}  {:>7}  {:<28} {}",
            text(process.get("tgid")),
            cut(&program, 28),
            cut(&reason_of(process), room),
        ));
    }
}

/// What speaks against it; of a member also that it is one, and of whose incident.
fn reason_of(process: &Value) -> String {
    let reason = text(process.get("reason"));
    if process["role"] != "member" {
        return reason;
    }
    let incident = text(process.get("incident"));
    if reason.is_empty() {
        format!("member of incident {incident}")
    } else {
        format!("member of incident {incident}: {reason}")
    }
}

fn incidents(state: &State, paint: Paint, width: usize, out: &mut Vec<String>) {
    let list = state.list("incidents");
    if list.is_empty() {
        return;
    }
    out.push(String::new());
    out.push(paint.bold("open incidents (ravn explain ID)"));
    for incident in list.iter().take(5) {
        let words = incident_words(incident);
        out.push(format!("  {}", cut(&words, width.saturating_sub(2))));
    }
}

fn incident_words(incident: &Value) -> String {
    let name = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| incident.get(name))
            .map(|value| text(Some(value)))
            .unwrap_or_default()
    };
    let score = incident["score"].as_f64().unwrap_or_default();
    format!(
        "{score:.0}  {}  {}",
        name(&["id", "uid"]),
        name(&["title", "reason", "root"])
    )
}

fn label(name: &str, paint: Paint) -> String {
    paint.dim(&format!("{name:<11} "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    #[test]
    fn a_process_and_its_reason_are_shown_and_escapes_are_not_executed() {
        let mut analyzer = Map::new();
        analyzer.insert(
            "processes".to_owned(),
            json!([{
                "tgid": 42, "exe": "/bin/sh", "cmdline": "sh \u{1b}[2J", "score": 85.0,
                "reason": "a shell on a socket",
            }]),
        );
        let state = State {
            level: "HIGH".to_owned(),
            analyzer,
            collector: Map::new(),
        };
        let shown = lines(&state, Paint::new(), 100, 10).join("\n");
        assert!(
            shown.contains("a shell on a socket") && shown.contains("     42"),
            "{shown}"
        );
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }

    #[test]
    fn an_incidents_score_stands_once_and_its_members_say_whose_they_are() {
        let process = |tgid: u32, role: &str, reason: &str| {
            json!({
                "tgid": tgid, "exe": "/x", "score": 91.0, "role": role, "incident": "abcd",
                "reason": reason,
            })
        };
        let mut analyzer = Map::new();
        let list = [process(1, "culprit", "did it"), process(2, "member", "")];
        analyzer.insert("processes".to_owned(), json!(list));
        let state = State {
            analyzer,
            ..State::default()
        };
        let shown = lines(&state, Paint::new(), 100, 10);
        let row = |pid: &str| {
            let found = shown.iter().find(|line| line.contains(pid));
            found.cloned().unwrap_or_default()
        };
        assert!(row("      1  ").starts_with("   91 "), "{shown:?}");
        assert!(row("      2  ").starts_with("    \" "), "{shown:?}");
        assert!(
            row("      2  ").ends_with("member of incident abcd"),
            "{shown:?}"
        );
    }
}
