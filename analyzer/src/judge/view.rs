//! What `ravn:state` shows of the judge.

use serde::Serialize;

use super::incident::{Evidence, Incident};
use super::process::Process;
use super::{Judge, ocsf, strike};
use crate::verdict::Level;

/// Most characters of a command line that is shown.
const LINE: usize = 256;

/// The host's word, and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// The word.
    pub level: Level,
    /// Score of the worst open incident, held and then halving: what the word follows.
    pub score: f64,
    /// The same as if nothing were held: how much of it is now.
    pub score_now: f64,
    /// The highest that the incident reached.
    pub peak: f64,
    /// Since when the word stands, milliseconds since 1970.
    pub since_ms: i64,
    /// One sentence for people.
    pub reason: String,
    /// The incident that the word follows.
    pub incident: Option<String>,
}

/// A process that something speaks against.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProcessView {
    /// Process id.
    pub tgid: u32,
    /// Its start.
    pub start_ns: u64,
    /// Image, or comm in brackets; escaped.
    pub exe: String,
    /// Escaped, at most 256 characters.
    pub cmdline: String,
    /// Real user.
    pub uid: u32,
    /// The systemd unit that it belongs to, if its cgroup names one.
    pub unit: Option<String>,
    /// The container that it belongs to, if its cgroup names one.
    pub container: Option<String>,
    /// Its incident's score if it gave evidence, else the model's alone.
    pub score: f64,
    /// The model's.
    pub model_score: f64,
    /// Title of what speaks against it.
    pub reason: String,
    /// The open incident that it gave evidence in.
    pub incident: Option<String>,
    /// Its part in that, if any.
    pub role: Option<Role>,
}

/// A process' part in an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It did the worst of what is known of those that live, or died lately.
    Culprit,
    /// It gave evidence too, or came of a process that did.
    Member,
}

/// An open incident.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IncidentView {
    /// Its name.
    pub id: String,
    /// Its level.
    pub level: Level,
    /// Its score, held and then halving.
    pub score: f64,
    /// The highest that it reached.
    pub peak: f64,
    /// When it was opened, milliseconds since 1970.
    pub since_ms: i64,
    /// When its last evidence came.
    pub last_ms: i64,
    /// The process that it begins at.
    pub tgid: u32,
    /// One sentence for people.
    pub reason: String,
    /// Rules by name, how often each was seen, and what it was worth when it was last news.
    pub rules: Vec<(String, u64, f64)>,
}

impl Judge {
    /// The processes that most speaks against, worst first; of an incident's the culprit first.
    pub fn processes(&self, most: usize) -> Vec<ProcessView> {
        let mut views: Vec<(Option<(f64, u64)>, ProcessView)> = self
            .table
            .iter()
            .filter(|process| process.suspect || process.model_score > 0.0)
            .map(|process| self.view(process))
            .collect();
        views.sort_by(|(own_a, a), (own_b, b)| {
            let worth = |own: &Option<(f64, u64)>| own.map_or(-1.0, |(worth, _)| worth);
            (b.score.total_cmp(&a.score))
                .then(a.incident.cmp(&b.incident))
                .then(worth(own_b).total_cmp(&worth(own_a)))
                .then(own_a.map(|own| own.1).cmp(&own_b.map(|own| own.1)))
                .then(a.start_ns.cmp(&b.start_ns))
                .then(a.tgid.cmp(&b.tgid))
        });
        let mut views: Vec<ProcessView> = views.into_iter().map(|(_, view)| view).collect();
        let mut last = None;
        for view in &mut views {
            if view.incident.is_some() {
                view.role = Some(if view.incident == last {
                    Role::Member
                } else {
                    Role::Culprit
                });
                last.clone_from(&view.incident);
            }
        }
        views.truncate(most);
        views
    }

    /// A process, and what its own worst evidence is worth and when it came first.
    fn view(&self, process: &Process) -> (Option<(f64, u64)>, ProcessView) {
        let incident = self
            .board
            .get(process.entry)
            .filter(|it| it.open && process.suspect);
        let own = incident.and_then(|it| worst_of(it, process));
        let mut cmdline = process.command_line();
        if let Some((end, _)) = cmdline.char_indices().nth(LINE) {
            cmdline.truncate(end);
        }
        let score = incident.map_or(process.model_score, |it| it.score_at(self.clock.now_ns));
        let view = ProcessView {
            tgid: process.id.tgid,
            start_ns: process.id.start_ns,
            exe: process.program(),
            cmdline,
            uid: process.uid,
            unit: self.table.cgroups.unit(process.cgroup_id),
            container: self.table.cgroups.container(process.cgroup_id),
            score: ocsf::round(score),
            model_score: ocsf::round(process.model_score),
            reason: own.map_or_else(|| process.oddity.clone(), |one| one.title.clone()),
            incident: incident.map(|it| it.id.clone()),
            role: None,
        };
        (own.map(|one| (one.worth, one.first_ns)), view)
    }

    /// Open incidents, worst first.
    pub fn incidents(&self) -> Vec<IncidentView> {
        let (now_ns, offset_ns) = (self.clock.now_ns, self.clock.offset_ns);
        let mut views: Vec<IncidentView> = self
            .board
            .opened()
            .map(|incident| {
                let score = incident.score_at(now_ns);
                IncidentView {
                    id: incident.id.clone(),
                    level: Level::of(score),
                    score: ocsf::round(score),
                    peak: ocsf::round(incident.peak),
                    since_ms: ocsf::millis(incident.opened_ns, offset_ns),
                    last_ms: ocsf::millis(incident.last_ns, offset_ns),
                    tgid: incident.entry.tgid,
                    reason: strike::sentence(incident),
                    rules: incident
                        .evidence
                        .iter()
                        .map(|(rule, one)| (rule.clone(), one.count, ocsf::round(one.worth)))
                        .collect(),
                }
            })
            .collect();
        views.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
        views
    }
}

/// Of what a process gave first, the evidence that says most; at equal worth the first.
fn worst_of<'i>(incident: &'i Incident, process: &Process) -> Option<&'i Evidence> {
    let own = incident
        .evidence
        .values()
        .filter(|one| one.process == process.id);
    own.max_by(|a, b| {
        a.worth
            .total_cmp(&b.worth)
            .then(b.first_ns.cmp(&a.first_ns))
    })
}
