//! What `ravn:state` shows of the judge.

use serde::Serialize;

use crate::verdict::Level;

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
    /// Rules by name, and how often each was seen.
    pub rules: Vec<(String, u64)>,
}
