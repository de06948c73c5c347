//! From a finding to an alert.

use super::Judge;
use super::desk::{Draft, Standing as Now};
use super::hash::{hex, plain};
use super::ocsf::{Analytic, Scene, Subject, finding};
use crate::verdict::{Level, ProcessId};

/// What an alert is made of.
pub(super) struct Found<'a> {
    /// Who made it.
    pub(super) analytic: Analytic<'a>,
    /// The incident's name.
    pub(super) incident: &'a str,
    /// Whose incident.
    pub(super) entry: ProcessId,
    /// Who did it.
    pub(super) process: Option<ProcessId>,
    /// The incident's score.
    pub(super) score: f64,
    /// What tells this finding's first record from all others.
    pub(super) first: &'a [u8],
    /// When it happened.
    pub(super) time_ns: u64,
    /// One sentence.
    pub(super) message: &'a str,
    /// The program, for the fingerprint.
    pub(super) program: &'a str,
    /// What it is about.
    pub(super) subject: &'a Subject<'a>,
}

impl Judge {
    /// Counts with an alert that is open, or opens one if it may.
    pub(super) fn alert(&mut self, found: &Found<'_>, may_open: bool) {
        let rule = found.analytic.name;
        let subject = found.subject;
        let fingerprint = hex(
            &[
                rule.as_bytes(),
                plain(found.program).as_bytes(),
                plain(subject.file.unwrap_or_default()).as_bytes(),
            ],
            16,
        );
        let key = format!(
            "{rule} {fingerprint} {}",
            subject.peer.map_or("", |(ip, _)| ip)
        );
        let host = self.host.clone();
        let now = Now {
            time_ns: found.time_ns,
            ..self.now(&host, found.incident, found.entry, found.score)
        };
        if self.desk.again(&key, rule, &now) || !may_open {
            return;
        }
        let uid = hex(
            &[
                self.boot.as_bytes(),
                found.incident.as_bytes(),
                found.analytic.uid.as_bytes(),
                found.first,
            ],
            16,
        );
        let rules = self.rules.version();
        let scene = Scene {
            host: &self.host,
            boot: &self.boot,
            clock_offset_ns: self.clock.offset_ns,
            time_ns: found.time_ns,
            incident: found.incident,
            score: found.score,
            level: Level::of(found.score),
            mode: self.context.mode,
            model: &self.context.model,
            rules: &rules,
            lost: self.context.lost,
        };
        let process = found.process.and_then(|id| self.table.get(id));
        let subject = Subject {
            process: process.map(|process| (process, &self.table)),
            ..subject.clone()
        };
        let draft = || Draft {
            body: finding(
                &uid,
                &fingerprint,
                found.message,
                &found.analytic,
                &scene,
                &subject,
            ),
            uid: uid.clone(),
            key,
            rule: rule.to_owned(),
            fingerprint: fingerprint.clone(),
            severity_id: found.analytic.severity_id,
        };
        self.desk.create(draft, rule, &now);
    }

    /// What alerts say of an incident now.
    pub(super) fn now<'a>(
        &self,
        host: &'a str,
        incident: &'a str,
        entry: ProcessId,
        score: f64,
    ) -> Now<'a> {
        Now {
            entry,
            incident,
            score,
            host,
            time_ns: self.clock.now_ns,
            clock_offset_ns: self.clock.offset_ns,
            lost: self.context.lost,
        }
    }
}
