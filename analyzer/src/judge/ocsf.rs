//! A finding as OCSF 1.6.0 Detection Finding (class 2004).

use ravn_shared::kind::Kind;
use ravn_shared::text::escape;
use serde_json::{Value, json};

use super::process::{Happening, Process};
use super::table::Table;
use crate::verdict::{Level, Mode, Span};

/// Version of OCSF.
pub const OCSF: &str = "1.6.0";
/// Most last events in a finding.
const EVENTS: usize = 32;
/// Most ancestors in a finding.
const ANCESTORS: usize = 16;
/// Most bytes of a command line in a finding.
const LINE: usize = 1024;

/// What a finding says of the rule, or of the model, that made it.
#[derive(Clone, Copy, Debug)]
pub struct Analytic<'a> {
    /// 1 rule, 4 learning.
    pub type_id: u8,
    /// Its id.
    pub uid: &'a str,
    /// Its short name.
    pub name: &'a str,
    /// One line for people; the finding's title.
    pub title: &'a str,
    /// Version of the rules or of the model.
    pub version: &'a str,
    /// Why it matters.
    pub description: &'a str,
    /// ATT&CK tactics as tags name them.
    pub tactics: &'a [String],
    /// ATT&CK techniques.
    pub techniques: &'a [String],
    /// What to do next.
    pub next: &'a [String],
    /// What fires it in ordinary work.
    pub false_positives: &'a [String],
    /// OCSF's severity.
    pub severity_id: u8,
}

/// Where and when.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Name of the host.
    pub host: &'a str,
    /// Boot id in hex.
    pub boot: &'a str,
    /// Added to CLOCK_BOOTTIME it is the time of day, nanoseconds.
    pub clock_offset_ns: i64,
    /// CLOCK_BOOTTIME of what happened.
    pub time_ns: u64,
    /// The incident's name.
    pub incident: &'a str,
    /// The incident's score.
    pub score: f64,
    /// The incident's level.
    pub level: Level,
    /// What takes part in judging.
    pub mode: Mode,
    /// Version of the model, empty without.
    pub model: &'a str,
    /// Version of the rules.
    pub rules: &'a str,
    /// Records and syscalls lost so far.
    pub lost: u64,
}

/// What the finding is about beside its process.
#[derive(Clone, Debug, Default)]
pub struct Subject<'a> {
    /// Who did it, and everybody else.
    pub process: Option<(&'a Process, &'a Table)>,
    /// A file, escaped.
    pub file: Option<&'a str>,
    /// Remote address and port.
    pub peer: Option<(&'a str, u16)>,
    /// The model's words.
    pub spans: &'a [Span],
}

/// Milliseconds since 1970 of a boot time.
pub fn millis(time_ns: u64, clock_offset_ns: i64) -> i64 {
    time_ns.cast_signed().wrapping_add(clock_offset_ns) / 1_000_000
}

/// The finding at its creation.
pub fn finding(
    uid: &str,
    fingerprint: &str,
    message: &str,
    analytic: &Analytic<'_>,
    scene: &Scene<'_>,
    subject: &Subject<'_>,
) -> Value {
    let time = millis(scene.time_ns, scene.clock_offset_ns);
    let mut evidence = serde_json::Map::new();
    let mut extra = json!({
        "level": scene.level.word(),
        "score": round(scene.score),
        "mode": scene.mode.word(),
        "model": scene.model,
        "rules": scene.rules,
        "lost": scene.lost,
        "next_steps": analytic.next,
        "false_positives": analytic.false_positives,
    });
    if let Some((process, table)) = subject.process {
        evidence.insert(
            "process".to_owned(),
            whole(process, table, scene.clock_offset_ns),
        );
        extra["cgroup_id"] = json!(process.cgroup_id);
        extra["unit"] = json!(table.cgroups.unit(process.cgroup_id));
        extra["container"] = json!(table.cgroups.container(process.cgroup_id));
        extra["session"] = json!(process.session);
        extra["loginuid"] = match process.loginuid {
            u32::MAX => Value::Null,
            uid => json!(uid),
        };
        extra["events"] = events(process, table, scene.clock_offset_ns);
    }
    if let Some(file) = subject.file {
        let name = file.rsplit('/').next().unwrap_or(file);
        evidence.insert(
            "file".to_owned(),
            json!({"name": name, "path": file, "type_id": 1}),
        );
    }
    if let Some((ip, port)) = subject.peer {
        evidence.insert("dst_endpoint".to_owned(), json!({"ip": ip, "port": port}));
    }
    if !subject.spans.is_empty() {
        extra["spans"] = subject
            .spans
            .iter()
            .take(5)
            .map(|span| {
                json!({
                    "seen": escape(span.seen.as_bytes()),
                    "expected": escape(span.expected.as_bytes()),
                    "probability": span.probability,
                    "time": millis(span.time_ns, scene.clock_offset_ns),
                })
            })
            .collect();
    }
    let mut info = json!({
        "uid": uid,
        "uid_alt": fingerprint,
        "title": analytic.title,
        "desc": analytic.description,
        "created_time": time,
        "first_seen_time": time,
        "last_seen_time": time,
        "analytic": {
            "type_id": analytic.type_id,
            "uid": analytic.uid,
            "name": analytic.title,
            "version": analytic.version,
        },
    });
    let attacks = attacks(analytic);
    if !attacks.is_empty() {
        info["attacks"] = Value::Array(attacks);
    }
    json!({
        "activity_id": 1,
        "category_uid": 2,
        "class_uid": 2004,
        "type_uid": 200_401,
        "time": time,
        "severity_id": analytic.severity_id,
        "status_id": 1,
        "is_alert": true,
        "count": 1,
        "risk_score": round(scene.score) as u64,
        "message": message,
        "metadata": {
            "version": OCSF,
            "product": {"name": "RAVN", "vendor_name": "RAVN", "version": env!("CARGO_PKG_VERSION")},
            "correlation_uid": scene.incident,
        },
        "device": {"type_id": 1, "hostname": scene.host, "uid": scene.boot},
        "finding_info": info,
        "evidences": [evidence],
        "unmapped": {"ravn": extra},
    })
}

/// One decimal.
pub fn round(score: f64) -> f64 {
    (score * 10.0).round() / 10.0
}

fn brief(process: &Process, clock_offset_ns: i64) -> Value {
    let mut line = process.command_line();
    if let Some((end, _)) = line.char_indices().nth(LINE) {
        line.truncate(end);
    }
    let program = process.program();
    json!({
        "pid": process.id.tgid,
        "uid": format!("{}:{}", process.id.tgid, process.id.start_ns),
        "name": program.rsplit('/').next().unwrap_or(&program),
        "path": escape(&process.exe),
        "cmd_line": line,
        "created_time": millis(process.id.start_ns, clock_offset_ns),
    })
}

fn whole(process: &Process, table: &Table, clock_offset_ns: i64) -> Value {
    let mut value = brief(process, clock_offset_ns);
    value["user"] =
        json!({"uid": process.uid.to_string(), "type_id": if process.uid == 0 { 2 } else { 1 }});
    value["working_directory"] = json!(escape(&process.cwd));
    let ancestry: Vec<Value> = table
        .ancestors(process, ANCESTORS)
        .map(|ancestor| brief(ancestor, clock_offset_ns))
        .collect();
    if let Some(parent) = ancestry.first() {
        value["parent_process"] = parent.clone();
    }
    value["ancestry"] = Value::Array(ancestry);
    value
}

/// The last events of the process and of its ancestors up to where the incident begins.
fn events(process: &Process, table: &Table, clock_offset_ns: i64) -> Value {
    let mut all: Vec<(&Happening, u32)> = Vec::new();
    let mut at = Some(process);
    let mut ancestors = table.ancestors(process, ANCESTORS);
    while let Some(one) = at {
        all.extend(
            one.happened
                .iter()
                .map(|happening| (happening, one.id.tgid)),
        );
        if one.id == process.entry {
            break;
        }
        at = ancestors.next();
    }
    all.sort_by_key(|(happening, pid)| (happening.time_ns, *pid));
    let from = all.len().saturating_sub(EVENTS);
    all[from..]
        .iter()
        .map(|(happening, pid)| {
            json!({
                "time": millis(happening.time_ns, clock_offset_ns),
                "pid": pid,
                "event": Kind::from_wire(happening.kind).map_or("unknown", Kind::name),
                "text": escape(&happening.text),
            })
        })
        .collect()
}

fn attacks(analytic: &Analytic<'_>) -> Vec<Value> {
    let tactics: Vec<Value> = analytic
        .tactics
        .iter()
        .filter_map(|name| tactic(name).map(|(uid, title)| json!({"uid": uid, "name": title})))
        .collect();
    if analytic.techniques.is_empty() {
        return tactics
            .into_iter()
            .map(|tactic| json!({"tactic": tactic, "version": "16.1"}))
            .collect();
    }
    analytic
        .techniques
        .iter()
        .map(|technique| {
            let key = if technique.contains('.') {
                "sub_technique"
            } else {
                "technique"
            };
            let mut attack = json!({"version": "16.1"});
            attack[key] = json!({"uid": technique});
            if let Some((parent, _)) = technique.split_once('.') {
                attack["technique"] = json!({"uid": parent});
            }
            if let Some(first) = tactics.first() {
                attack["tactic"] = first.clone();
            }
            attack
        })
        .collect()
}

fn tactic(tag: &str) -> Option<(&'static str, &'static str)> {
    Some(match tag.replace('_', "-").as_str() {
        "initial-access" => ("TA0001", "Initial Access"),
        "execution" => ("TA0002", "Execution"),
        "persistence" => ("TA0003", "Persistence"),
        "privilege-escalation" => ("TA0004", "Privilege Escalation"),
        "defense-evasion" => ("TA0005", "Defense Evasion"),
        "credential-access" => ("TA0006", "Credential Access"),
        "discovery" => ("TA0007", "Discovery"),
        "lateral-movement" => ("TA0008", "Lateral Movement"),
        "collection" => ("TA0009", "Collection"),
        "exfiltration" => ("TA0010", "Exfiltration"),
        "command-and-control" => ("TA0011", "Command and Control"),
        "impact" => ("TA0040", "Impact"),
        _ => return None,
    })
}
