//! From a matching rule, the model's word or a notice to evidence and an alert.

use std::fmt::Write as _;

use ravn_shared::text::escape;

use super::facts::Facts;
use super::hash::hex;
use super::incident::{Evidence, Incident};
use super::notice::{Losses, Notice, NoticeKind};
use super::ocsf::{Analytic, Subject};
use super::raise::Found;
use super::rule::{Severity, Tier};
use super::rules::RuleSet;
use super::{BLIND, Judge, MODEL, SENSOR};
use crate::verdict::{Level, ProcessId, Surprise};

/// Below this the model's score is no evidence.
const MODEL_EVIDENCE: f64 = 40.0;
/// The most that surprise alone is worth, without novelty.
const MODEL_ALONE: f64 = 80.0;
/// From this distance on the set of tokens is new.
const NOVEL: f64 = 0.5;

/// A rule that matched, with all that outlives the record.
#[derive(Debug)]
pub struct Hit {
    rule: usize,
    newness: Option<u64>,
    file: Option<String>,
    peer: Option<(String, u16)>,
    /// Stream, CPU, number and time of the record: the same on a replay, but for a time that could
    /// not be true and was taken as that of arrival.
    record: [u8; 19],
    time_ns: u64,
}

impl Hit {
    /// What must be kept of a match.
    pub fn of(rule: usize, rules: &RuleSet, facts: &Facts<'_>) -> Self {
        let record = facts.record;
        let mut key = [0; 19];
        key[0] = record.event.stream() as u8;
        key[1..3].copy_from_slice(&record.cpu.to_be_bytes());
        key[3..11].copy_from_slice(&record.n.to_be_bytes());
        key[11..].copy_from_slice(&record.time_ns.to_be_bytes());
        Self {
            rule,
            newness: rules.get(rule).and_then(|rule| rule.newness(facts)),
            file: facts.file().map(|path| escape(&path)),
            peer: facts.remote().map(|(ip, port)| (ip.to_string(), port)),
            record: key,
            time_ns: record.time_ns,
        }
    }
}

/// Evidence on its way into an incident.
struct Blow<'a> {
    process: ProcessId,
    analytic: Analytic<'a>,
    worth: f64,
    low: bool,
    core: bool,
    renew: bool,
    key: &'a [u8],
    time_ns: u64,
    says: String,
    subject: Subject<'a>,
}

impl Judge {
    /// A rule matched a record of a process.
    pub(super) fn strike(&mut self, id: ProcessId, hit: Hit) {
        let rules = self.rules.clone();
        let Some(rule) = rules.get(hit.rule) else {
            return;
        };
        let Some(process) = self.table.get(id) else {
            return;
        };
        let entry = process.entry;
        let mut renew = true;
        if let Some(key) = hit.newness {
            match self.seen.get(&key) {
                Some(None) => return,
                Some(Some(_)) => {
                    renew = self.board.get(entry).is_none_or(|incident| {
                        !incident.open || !incident.evidence.contains_key(&rule.name)
                    });
                }
                None => self.seen.insert(key, Some(entry)),
            }
        }
        let version = rules.version();
        let peer = hit.peer.as_ref().map(|(ip, port)| (ip.as_str(), *port));
        let says = rule
            .says
            .replace("{file}", hit.file.as_deref().unwrap_or("a file"))
            .replace(
                "{peer}",
                &peer.map_or("a peer".to_owned(), |(ip, port)| {
                    format!("{ip} port {port}")
                }),
            );
        self.blow(&Blow {
            process: id,
            analytic: Analytic {
                type_id: 1,
                uid: &rule.id,
                name: &rule.name,
                title: &rule.title,
                version: &version,
                description: &rule.description,
                tactics: &rule.tactics,
                techniques: &rule.techniques,
                next: &rule.next,
                false_positives: &rule.false_positives,
                severity_id: rule.severity.ocsf(),
            },
            worth: rule.severity.worth(),
            low: Evidence::is_low(rule.severity),
            core: rule.tier == Tier::Core,
            renew,
            key: &hit.record,
            time_ns: hit.time_ns,
            says,
            subject: Subject {
                file: hit.file.as_deref(),
                peer,
                ..Subject::default()
            },
        });
    }

    /// The model spoke.
    pub(super) fn surprised(&mut self, surprise: &Surprise) {
        let id = surprise.process;
        if let Some(span) = surprise.spans.first() {
            let words = format!(
                "rare for it: {} where {} was likeliest",
                escape(span.seen.as_bytes()),
                escape(span.expected.as_bytes())
            );
            self.table.note_oddity(id, words);
        }
        self.table.suspect(id, Some(surprise.score));
        if self.table.get(id).is_none()
            || surprise.score.is_nan()
            || surprise.score < MODEL_EVIDENCE
        {
            return;
        }
        let most = if surprise.novelty >= NOVEL {
            100.0
        } else {
            MODEL_ALONE
        };
        let worth = surprise.score.min(most);
        let severity = match Level::of(worth) {
            Level::High => Severity::High,
            _ => Severity::Medium,
        };
        let next = [
            "Look at the spans: what was seen, and what this program does there otherwise"
                .to_owned(),
            "Compare with the process' ancestry and its last events, both in this alert".to_owned(),
        ];
        let model = self.context.model.clone();
        let mut key = Vec::from(id.tgid.to_be_bytes());
        key.extend(id.start_ns.to_be_bytes());
        let first = surprise.spans.first().map_or_else(String::new, |span| {
            format!(
                ": {} where {} was likeliest",
                escape(span.seen.as_bytes()),
                escape(span.expected.as_bytes())
            )
        });
        self.blow(&Blow {
            process: id,
            analytic: Analytic {
                type_id: 4,
                uid: "ravn-sequence-model",
                name: MODEL,
                title: "A program behaves as it never did",
                version: &model,
                description: "The sequence of its system calls is rare among the recordings that the model knows.",
                tactics: &[],
                techniques: &[],
                next: &next,
                false_positives: &[],
                severity_id: severity.ocsf(),
            },
            worth,
            low: false,
            core: false,
            renew: true,
            key: &key,
            time_ns: self.clock.now_ns,
            says: format!("does what is rare for it{first}"),
            subject: Subject {
                spans: &surprise.spans,
                ..Subject::default()
            },
        });
    }

    /// Something about the sensor itself.
    pub(super) fn noticed(&mut self, notice: &Notice) {
        let mut next = [String::new()];
        let tactics = [notice.kind.tactic().to_owned()];
        let tactics = if tactics[0].is_empty() {
            &[][..]
        } else {
            &tactics[..]
        };
        let severity = notice.kind.severity();
        self.blow(&Blow {
            process: SENSOR,
            analytic: notice.kind.analytic(&mut next, tactics),
            worth: severity.worth(),
            low: Evidence::is_low(severity),
            core: true,
            renew: true,
            key: &notice.key.to_be_bytes(),
            time_ns: self.clock.now_ns,
            says: escape(notice.detail.as_bytes()),
            subject: Subject::default(),
        });
    }

    /// Losses set or lift `blind`: an alert of its own, but no evidence against anybody.
    pub(super) fn blinded(&mut self, losses: Losses) {
        let was = self.clock.losses.blind().is_some();
        self.clock.losses = losses;
        let incident = hex(&[b"blind", self.boot.as_bytes()], 8);
        match losses.blind() {
            Some(why) if !was => {
                let mut next = [String::new()];
                let found = Found {
                    analytic: NoticeKind::Blind.analytic(&mut next, &[]),
                    incident: &incident,
                    entry: BLIND,
                    process: None,
                    score: NoticeKind::Blind.severity().worth(),
                    first: &self.clock.now_ns.to_be_bytes(),
                    time_ns: self.clock.now_ns,
                    message: &why,
                    program: "",
                    subject: &Subject::default(),
                };
                self.alert(&found, true);
            }
            None if was => {
                let host = self.host.clone();
                let now = self.now(&host, &incident, BLIND, 0.0);
                self.desk.close(&now);
            }
            _ => {}
        }
    }

    /// An incident closed: its alerts too. What was new in it alone is known from now on; what
    /// came with other evidence is not learned.
    pub(super) fn closed(&mut self, entry: ProcessId) {
        let now_ns = self.clock.now_ns;
        let (name, score, alone) = match self.board.get(entry) {
            Some(it) => (it.id.clone(), it.score_at(now_ns), it.evidence.len() == 1),
            None => (String::new(), 0.0, false),
        };
        let host = self.host.clone();
        let now = self.now(&host, &name, entry, score);
        self.desk.close(&now);
        let keys: Vec<u64> = self
            .seen
            .iter()
            .filter(|(_, whose)| **whose == Some(entry))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            if alone {
                self.seen.update(&key, |whose| *whose = None);
            } else {
                self.seen.remove(&key);
            }
        }
    }

    fn blow(&mut self, blow: &Blow<'_>) {
        let process = self.table.get(blow.process);
        let (entry, uid, program) = process.map_or_else(
            || (SENSOR, 0, "ravn".to_owned()),
            |process| (process.entry, process.uid, process.program()),
        );
        let now_ns = self.clock.now_ns;
        let boot = self.boot.clone();
        let before = self
            .board
            .get(entry)
            .filter(|it| it.open)
            .map_or(0.0, |it| it.score_at(now_ns));
        let incident = self.board.open(entry, now_ns, || {
            let start = entry.start_ns.to_be_bytes();
            hex(
                &[
                    b"incident",
                    boot.as_bytes(),
                    &entry.tgid.to_be_bytes(),
                    &start,
                    blow.key,
                ],
                8,
            )
        });
        let evidence = Evidence {
            title: blow.analytic.title.to_owned(),
            tactic: blow.analytic.tactics.first().cloned().unwrap_or_default(),
            worth: blow.worth,
            low: blow.low,
            first_ns: now_ns,
            last_ns: now_ns,
            count: 1,
            process: blow.process,
            program: program.clone(),
            uid,
            news_ns: now_ns,
        };
        incident.add(blow.analytic.name, evidence, blow.renew);
        let (name, score) = (incident.id.clone(), incident.score_at(now_ns));
        if blow.analytic.name != MODEL {
            self.table.suspect(blow.process, None);
        }
        let found = Found {
            analytic: blow.analytic,
            incident: &name,
            entry,
            process: Some(blow.process),
            score,
            first: blow.key,
            time_ns: blow.time_ns,
            message: &match self.table.get(blow.process) {
                Some(process) => {
                    format!(
                        "{program} (pid {}, user {}) {}",
                        process.id.tgid,
                        who(uid),
                        blow.says
                    )
                }
                None => format!("{}: {}", blow.analytic.title, blow.says),
            },
            program: &program,
            subject: &blow.subject,
        };
        // Behind every rise stands an alert, of whatever tier.
        let may_open = blow.core || Level::of(score) > Level::of(before);
        self.alert(&found, may_open);
    }
}

/// An incident in one sentence: who did the worst of it, what that is, and how much more.
pub fn sentence(incident: &Incident) -> String {
    let Some(worst) = incident.worst() else {
        return String::new();
    };
    let mut text = if worst.process == SENSOR {
        worst.title.clone()
    } else {
        format!(
            "{} (pid {}, user {}): {}",
            worst.program,
            worst.process.tgid,
            who(worst.uid),
            worst.title
        )
    };
    match incident.evidence.len() {
        0 | 1 => {}
        2 => text.push_str("; and one more finding in the same process tree"),
        all => {
            let _ = write!(
                text,
                "; and {} more findings in the same process tree",
                all - 1
            );
        }
    }
    text
}

fn who(uid: u32) -> String {
    if uid == 0 {
        "root".to_owned()
    } else {
        uid.to_string()
    }
}
