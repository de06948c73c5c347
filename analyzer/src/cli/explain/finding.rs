//! One finding, taken out of its OCSF alert.

use serde_json::{Value, json};

use crate::cli::state::text;
use crate::judge::Severity;

/// A finding as its last alert tells of it.
#[derive(Debug)]
pub struct Finding {
    /// The whole alert.
    pub body: Value,
    /// Short name of the rule, or `model`.
    pub rule: String,
    /// What it is worth, 0 to 100: by its severity, unless the state knows better.
    pub worth: f64,
    /// The incident's score when the alert was made.
    pub score: f64,
    /// First and last time, milliseconds since 1970.
    pub first_ms: u64,
    /// See `first_ms`.
    pub last_ms: u64,
}

/// Whether an alert is of this incident, or is called so itself: a finding, or one alert of it.
pub fn is_of(body: &Value, id: &str) -> bool {
    [
        &body["metadata"]["correlation_uid"],
        &body["finding_info"]["uid"],
        &body["metadata"]["uid"],
    ]
    .iter()
    .any(|name| name.as_str() == Some(id))
}

impl Finding {
    /// Of its last alert, and the rule that this names.
    pub fn of(rule: String, body: Value) -> Self {
        let info = &body["finding_info"];
        let time = |name: &str| info[name].as_u64().unwrap_or_default();
        Self {
            rule,
            worth: Severity::of_ocsf(body["severity_id"].as_u64().unwrap_or_default()).worth(),
            score: body["unmapped"]["ravn"]["score"]
                .as_f64()
                .unwrap_or_default(),
            first_ms: time("first_seen_time"),
            last_ms: time("last_seen_time"),
            body,
        }
    }

    /// The incident's name.
    pub fn incident(&self) -> String {
        text(self.body["metadata"].get("correlation_uid"))
    }

    /// Whether an alert is of this finding.
    pub fn is_same(&self, body: &Value) -> bool {
        self.body["finding_info"]["uid"] == body["finding_info"]["uid"]
    }

    /// Who did it.
    pub fn process(&self) -> &Value {
        &self.body["evidences"][0]["process"]
    }

    /// What only this product says of it.
    pub fn extra(&self) -> &Value {
        &self.body["unmapped"]["ravn"]
    }

    /// Its process below its ancestors: `systemd (1) > sshd (812) > bash (1001)`. Empty where it is
    /// of no process.
    pub fn tree(&self) -> String {
        let one = |process: &Value| {
            format!(
                "{} ({})",
                text(process.get("name")),
                text(process.get("pid"))
            )
        };
        let process = self.process();
        if process.is_null() {
            return String::new();
        }
        let ancestry = process["ancestry"].as_array();
        let above = ancestry.into_iter().flatten().rev().map(one);
        let line: Vec<String> = above.chain([one(process)]).collect();
        line.join(" > ")
    }

    /// Without the alert's frame.
    pub fn json(&self) -> Value {
        let evidence = &self.body["evidences"][0];
        json!({
            "id": self.body["finding_info"]["uid"],
            "rule": self.rule,
            "title": self.body["finding_info"]["title"],
            "message": self.body["message"],
            "worth": self.worth,
            "severity_id": self.body["severity_id"],
            "count": self.body["count"],
            "closed": self.body["activity_id"] == 3,
            "first_ms": self.first_ms,
            "last_ms": self.last_ms,
            "tree": self.tree(),
            "process": evidence["process"],
            "file": evidence["file"],
            "dst_endpoint": evidence["dst_endpoint"],
            "attacks": self.body["finding_info"]["attacks"],
            "spans": self.extra()["spans"],
            "next_steps": self.extra()["next_steps"],
            "false_positives": self.extra()["false_positives"],
        })
    }
}

/// The events of all findings, each once, in order.
pub fn events(findings: &[Finding]) -> Vec<&Value> {
    let mut all: Vec<&Value> = Vec::new();
    for found in findings {
        for event in found.extra()["events"].as_array().into_iter().flatten() {
            if !all.contains(&event) {
                all.push(event);
            }
        }
    }
    all.sort_by_key(|event| event["time"].as_u64());
    all
}
