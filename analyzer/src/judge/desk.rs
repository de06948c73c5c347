//! Where alerts are made: folded, braked, numbered.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::hash::hex;
use super::ocsf::{millis, round};
use crate::checkpoint::Field;
use crate::verdict::{Level, ProcessId};

/// Version of an alert's fields.
pub const SCHEMA: u32 = 1;
/// Alerts of one rule in an hour; further ones become one summary.
const BRAKE: u32 = 20;
const HOUR_NS: u64 = 3_600_000_000_000;
/// Targets that one incident keeps apart; further ones count with the rule's first.
const TARGETS: usize = 64;
/// A score this much higher breaks a fold.
const HIGHER: f64 = 10.0;

/// One entry for `ravn:alerts`: the finding and its flat fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// The OCSF finding as JSON.
    pub body: String,
    /// The finding's uid; the same in updates.
    pub id: String,
    /// `create`, `update` or `close`.
    pub op: &'static str,
    /// The incident's name.
    pub incident: String,
    /// Name of the host.
    pub host: String,
    /// The incident's level.
    pub level: Level,
    /// OCSF's severity: low 2, medium 3, high 4, critical 5.
    pub severity_id: u8,
    /// The incident's score, 0 to 100.
    pub score: u8,
    /// Short name of the rule, `model`, or `ravn-…` for the sensor's own.
    pub rule: String,
    /// The same for the same thing on any host.
    pub fingerprint: String,
    /// [`SCHEMA`].
    pub schema: u32,
    /// Records and syscalls that were lost until then.
    pub lost: u64,
}

impl Alert {
    /// Field names and values in the order of the contract.
    pub fn fields(&self) -> [(&'static str, String); 12] {
        [
            ("body", self.body.clone()),
            ("id", self.id.clone()),
            ("op", self.op.to_owned()),
            ("incident", self.incident.clone()),
            ("host", self.host.clone()),
            ("level", self.level.word().to_owned()),
            ("severity_id", self.severity_id.to_string()),
            ("score", self.score.to_string()),
            ("rule", self.rule.clone()),
            ("fingerprint", self.fingerprint.clone()),
            ("schema", self.schema.to_string()),
            ("lost", self.lost.to_string()),
        ]
    }
}

/// What an alert says of its incident now.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Whose incident.
    pub entry: ProcessId,
    /// Its name.
    pub incident: &'a str,
    /// Its score.
    pub score: f64,
    /// Name of the host.
    pub host: &'a str,
    /// CLOCK_BOOTTIME.
    pub time_ns: u64,
    /// To the time of day.
    pub clock_offset_ns: i64,
    /// Lost so far.
    pub lost: u64,
}

/// One finding that is open, and how often it was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Fold {
    uid: String,
    entry: ProcessId,
    key: String,
    rule: String,
    fingerprint: String,
    severity_id: u8,
    count: u64,
    sent_score: f64,
    body: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Brake {
    since_ns: u64,
    made: u32,
    held: u64,
}

/// A finding to be opened.
#[derive(Debug)]
pub struct Draft {
    /// Its uid.
    pub uid: String,
    /// What tells it from others of its incident: rule and target.
    pub key: String,
    /// Short name of the rule.
    pub rule: String,
    /// See [`Alert::fingerprint`].
    pub fingerprint: String,
    /// OCSF's severity.
    pub severity_id: u8,
    /// The finding.
    pub body: Value,
}

/// Open findings, brakes, and alerts that wait to be published.
#[derive(Debug, Default)]
pub struct Desk {
    folds: BTreeMap<(ProcessId, String), Fold>,
    brakes: BTreeMap<String, Brake>,
    /// Number of the last alert.
    pub sequence: u64,
    out: Vec<Alert>,
    changed: BTreeSet<(ProcessId, String)>,
    gone: Vec<(ProcessId, String)>,
    brakes_changed: BTreeSet<String>,
}

impl Desk {
    /// Counts what was alerted on already. False if it was not: open it.
    pub fn again(&mut self, key: &str, rule: &str, now: &Standing<'_>) -> bool {
        let mut at = (now.entry, key.to_owned());
        if !self.folds.contains_key(&at) {
            let mut others = self.of(now.entry);
            if others.len() < TARGETS {
                return false;
            }
            others.retain(|other| self.folds[other].rule == rule);
            let Some(first) = others.into_iter().next() else {
                return false;
            };
            at = first;
        }
        let Some(fold) = self.folds.get_mut(&at) else {
            return false;
        };
        fold.count += 1;
        let due = matches!(fold.count, 10 | 100 | 1000) || now.score >= fold.sent_score + HIGHER;
        let fold = fold.clone();
        self.changed.insert(at.clone());
        if due {
            if let Some(kept) = self.folds.get_mut(&at) {
                kept.sent_score = now.score;
            }
            self.send(&fold, 2, now);
        }
        true
    }

    /// Opens a finding and sends it, unless its rule made too many this hour.
    pub fn create(&mut self, draft: impl FnOnce() -> Draft, rule: &str, now: &Standing<'_>) {
        let brake = self.brakes.entry(rule.to_owned()).or_default();
        if brake.made == 0 || brake.since_ns.saturating_add(HOUR_NS) <= now.time_ns {
            *brake = Brake {
                since_ns: now.time_ns,
                ..Brake::default()
            };
        }
        self.brakes_changed.insert(rule.to_owned());
        if brake.made > BRAKE {
            brake.held += 1;
            return;
        }
        brake.made += 1;
        let last = brake.made > BRAKE;
        let mut draft = draft();
        if last {
            summarise(&mut draft);
        }
        let fold = Fold {
            uid: draft.uid,
            entry: now.entry,
            key: draft.key,
            rule: draft.rule,
            fingerprint: draft.fingerprint,
            severity_id: draft.severity_id,
            count: 1,
            sent_score: now.score,
            body: draft.body.to_string(),
        };
        self.send(&fold, 1, now);
        let at = (fold.entry, fold.key.clone());
        self.changed.insert(at.clone());
        self.folds.insert(at, fold);
    }

    /// Closes every finding of an incident.
    pub fn close(&mut self, now: &Standing<'_>) {
        for at in self.of(now.entry) {
            if let Some(fold) = self.folds.remove(&at) {
                self.send(&fold, 3, now);
                self.changed.remove(&at);
                self.gone.push((at.0, fold.uid));
            }
        }
    }

    /// Alerts since the last call.
    pub fn take(&mut self) -> Vec<Alert> {
        std::mem::take(&mut self.out)
    }

    /// Alerts that were held back in the hour of a rule's last first alert, by rule.
    pub fn held(&self) -> impl Iterator<Item = (&str, u64)> {
        self.brakes
            .iter()
            .filter(|(_, brake)| brake.held > 0)
            .map(|(rule, brake)| (rule.as_str(), brake.held))
    }

    /// Makes [`Self::changed`] give everything.
    pub fn all_changed(&mut self) {
        self.changed.extend(self.folds.keys().cloned());
        self.brakes_changed.extend(self.brakes.keys().cloned());
    }

    /// Fields that changed since the last call.
    pub fn changed(&mut self, fields: &mut Vec<Field>) {
        let name =
            |entry: ProcessId, uid: &str| format!("i:{}:{}:{uid}", entry.tgid, entry.start_ns);
        for (entry, uid) in std::mem::take(&mut self.gone) {
            fields.push((name(entry, &uid), None));
        }
        for at in std::mem::take(&mut self.changed) {
            if let Some(fold) = self.folds.get(&at) {
                fields.push((name(at.0, &fold.uid), rmp_serde::to_vec(fold).ok()));
            }
        }
        for rule in std::mem::take(&mut self.brakes_changed) {
            let value = self
                .brakes
                .get(&rule)
                .and_then(|brake| rmp_serde::to_vec(brake).ok());
            fields.push((format!("j:b:{rule}"), value));
        }
    }

    /// Puts a finding back.
    ///
    /// # Errors
    /// When the value is none.
    pub fn restore_fold(&mut self, value: &[u8]) -> Result<(), String> {
        let fold: Fold = rmp_serde::from_slice(value).map_err(|error| error.to_string())?;
        self.folds.insert((fold.entry, fold.key.clone()), fold);
        Ok(())
    }

    /// Puts a rule's brake back.
    ///
    /// # Errors
    /// When the value is none.
    pub fn restore_brake(&mut self, rule: &str, value: &[u8]) -> Result<(), String> {
        let brake = rmp_serde::from_slice(value).map_err(|error| error.to_string())?;
        self.brakes.insert(rule.to_owned(), brake);
        Ok(())
    }

    fn of(&self, entry: ProcessId) -> Vec<(ProcessId, String)> {
        self.folds
            .range((entry, String::new())..)
            .take_while(|((whose, _), _)| *whose == entry)
            .map(|(at, _)| at.clone())
            .collect()
    }

    fn send(&mut self, fold: &Fold, activity: u64, now: &Standing<'_>) {
        self.sequence += 1;
        let level = Level::of(now.score);
        // What cannot be read back was our own JSON once: an alert without details beats none.
        let mut body: Value = serde_json::from_str(&fold.body).unwrap_or_else(|_| json!({}));
        let time = millis(now.time_ns, now.clock_offset_ns);
        body["activity_id"] = json!(activity);
        body["type_uid"] = json!(200_400 + activity);
        body["status_id"] = json!(if activity == 3 { 4 } else { 1 });
        body["count"] = json!(fold.count);
        body["time"] = json!(time);
        body["risk_score"] = json!(round(now.score) as u64);
        body["metadata"]["uid"] = json!(hex(
            &[
                b"alert",
                fold.uid.as_bytes(),
                &activity.to_be_bytes(),
                &fold.count.to_be_bytes(),
                &now.time_ns.to_be_bytes()
            ],
            16
        ));
        body["metadata"]["sequence"] = json!(self.sequence);
        body["finding_info"]["last_seen_time"] = json!(time);
        body["unmapped"]["ravn"]["level"] = json!(level.word());
        body["unmapped"]["ravn"]["score"] = json!(round(now.score));
        self.out.push(Alert {
            body: body.to_string(),
            id: fold.uid.clone(),
            op: match activity {
                1 => "create",
                2 => "update",
                _ => "close",
            },
            incident: now.incident.to_owned(),
            host: now.host.to_owned(),
            level,
            severity_id: fold.severity_id,
            score: now.score.clamp(0.0, 100.0).round() as u8,
            rule: fold.rule.clone(),
            fingerprint: fold.fingerprint.clone(),
            schema: SCHEMA,
            lost: now.lost,
        });
    }
}

/// The alert after which a rule is quiet for the rest of its hour says so.
fn summarise(draft: &mut Draft) {
    let message = draft.body["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    draft.body["message"] = json!(format!(
        "{message}. This rule made {BRAKE} alerts within the hour; further ones are counted only, the level still follows them"
    ));
    draft.body["unmapped"]["ravn"]["storm"] = json!(true);
}
