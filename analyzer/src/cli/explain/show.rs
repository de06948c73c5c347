//! An explained incident, for people.

use serde_json::Value;

use super::Explained;
use super::finding::{self, Finding};
use crate::cli::paint::{Paint, cut, time_of_day};
use crate::cli::state::text;
use crate::verdict::Level;

/// Most lines of what to do.
const STEPS: usize = 12;

/// The whole of it, lines at most `width` wide.
pub fn lines(explained: &Explained, paint: Paint, width: usize) -> Vec<String> {
    let mut out = head(explained, paint);
    out.push(String::new());
    out.push(paint.bold("worth  finding"));
    for found in &explained.findings {
        out.extend(of_finding(found, paint));
    }
    for (rule, count, worth) in &explained.silent {
        let times = times(*count);
        out.push(format!(
            "{worth:>5.0}  {rule}{times}, in the score without an alert of its own"
        ));
    }
    let events = finding::events(&explained.findings);
    if !events.is_empty() {
        out.push(String::new());
        out.push(paint.bold("events, in their order"));
        out.extend(events.into_iter().map(of_event));
    }
    let steps = steps(&explained.findings);
    if !steps.is_empty() {
        out.push(String::new());
        out.push(paint.bold("what to do"));
        out.extend(steps.into_iter().map(|step| format!("  {step}")));
    }
    out.iter().map(|line| cut(line, width)).collect()
}

fn head(explained: &Explained, paint: Paint) -> Vec<String> {
    let score = explained.score();
    let mut head = format!(
        "{}  incident {}  score {score:.0}",
        paint.level(Level::of(score).word()),
        explained.incident
    );
    let Some(open) = &explained.open else {
        head.push_str(" at its last alert; it is closed, or its analyzer is away");
        return vec![head];
    };
    let time = |name: &str| time_of_day(open[name].as_u64().unwrap_or_default());
    head.push_str(&format!(
        " (peak {:.0})  open since {}, last evidence {}",
        open["peak"].as_f64().unwrap_or_default(),
        time("since_ms"),
        time("last_ms"),
    ));
    vec![head, text(open.get("reason"))]
}

fn of_finding(found: &Finding, paint: Paint) -> Vec<String> {
    let count = found.body["count"].as_u64().unwrap_or(1);
    let mut out = vec![format!(
        "{:>5.0}  {}: {}{}  {}",
        found.worth,
        found.rule,
        text(found.body["finding_info"].get("title")),
        times(count),
        paint.dim(&span(found)),
    )];
    let mut row = |words: String| {
        if !words.is_empty() {
            out.push(format!("       {words}"));
        }
    };
    row(text(found.body.get("message")));
    row(found.tree());
    let line = text(found.process().get("cmd_line"));
    if !line.is_empty() {
        row(format!("command: {line}"));
    }
    for span in found.extra()["spans"].as_array().into_iter().flatten() {
        row(format!(
            "seen {}, expected {} (probability of what was seen {:.4})",
            text(span.get("seen")),
            text(span.get("expected")),
            span["probability"].as_f64().unwrap_or_default(),
        ));
    }
    row(format!(
        "alert {}",
        text(found.body["finding_info"].get("uid"))
    ));
    out
}

fn times(count: u64) -> String {
    match count {
        0 | 1 => String::new(),
        many => format!(", {many} times"),
    }
}

fn span(found: &Finding) -> String {
    if found.first_ms == found.last_ms {
        time_of_day(found.first_ms)
    } else {
        format!(
            "{} to {}",
            time_of_day(found.first_ms),
            time_of_day(found.last_ms)
        )
    }
}

fn of_event(event: &Value) -> String {
    let time = event["time"].as_u64().unwrap_or_default();
    format!(
        "  {}.{:03}  {:>7}  {:<12} {}",
        time_of_day(time),
        time % 1000,
        text(event.get("pid")),
        text(event.get("event")),
        text(event.get("text")),
    )
}

/// Each once, those of the worst finding first.
fn steps(findings: &[Finding]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for found in findings {
        let next = found.extra()["next_steps"].as_array();
        for step in next.into_iter().flatten().map(|step| text(Some(step))) {
            if out.len() < STEPS && !step.is_empty() && !out.contains(&step) {
                out.push(step);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn alert(uid: &str, severity: u64, first: u64, step: &str) -> Finding {
        let event =
            |time: u64, text: &str| json!({"time": time, "pid": 7, "event": "exec", "text": text});
        Finding::of(
            "rule".to_owned(),
            json!({
                "severity_id": severity, "count": 3, "activity_id": 2,
                "message": "/bin/sh (pid 7, user root) \u{1b}[2J",
                "metadata": {"correlation_uid": "i1"},
                "finding_info": {
                    "uid": uid, "title": "T", "first_seen_time": first, "last_seen_time": first,
                },
                "evidences": [{"process": {
                    "name": "sh", "pid": 7, "cmd_line": "sh -c x",
                    "ancestry": [{"name": "sshd", "pid": 5}, {"name": "systemd", "pid": 1}],
                }}],
                "unmapped": {"ravn": {
                    "score": 91.0, "next_steps": [step],
                    "events": [event(first + 1, "later"), event(1000, "first")],
                }},
            }),
        )
    }

    #[test]
    fn an_incident_is_told_worst_first_and_each_event_once() {
        let explained = Explained {
            incident: "i1".to_owned(),
            open: None,
            silent: vec![("bpf-load".to_owned(), 1, 40.0)],
            findings: vec![alert("a", 4, 2000, "look"), alert("b", 3, 3000, "look")],
        };
        let shown = lines(&explained, Paint::new(), 200);
        let all = shown.join("\n");
        assert!(shown[0].starts_with("HIGH  incident i1  score 91"), "{all}");
        assert!(all.contains("   85  rule: T, 3 times"), "{all}");
        assert!(all.contains("systemd (1) > sshd (5) > sh (7)"), "{all}");
        assert!(all.contains("   40  bpf-load"), "{all}");
        assert!(!all.contains('\u{1b}'), "{all}");
        let at = |word: &str| all.find(word).unwrap_or(usize::MAX);
        assert!(at("  first") < at("  later"), "{all}");
        assert_eq!(all.matches("  first").count(), 1, "{all}");
        assert_eq!(all.matches("  look").count(), 1, "{all}");
    }
}
