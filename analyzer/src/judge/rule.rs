//! One rule.

use anyhow::Context as _;
use rsigma_eval::{Event, EventValue, compile_rule};
use rsigma_parser::{Level as SigmaLevel, SigmaRule};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::facts::Facts;
use super::test::Test;

/// What a rule may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Alerts alone.
    Core,
    /// Adds to a score; alerts where it lifts the incident to another level.
    Context,
    /// Off.
    Hunt,
}

/// A rule's level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, Deserialize)]
pub enum Severity {
    /// Worth 0.
    Informational,
    /// Worth 15; all lows of an incident together at most 50.
    Low,
    /// Worth 40.
    Medium,
    /// Worth 85.
    High,
    /// Worth 95.
    Critical,
}

impl Severity {
    /// What it adds to an incident's score, 0 to 100.
    pub const fn worth(self) -> f64 {
        match self {
            Self::Informational => 0.0,
            Self::Low => 15.0,
            Self::Medium => 40.0,
            Self::High => 85.0,
            Self::Critical => 95.0,
        }
    }

    /// OCSF's `severity_id`.
    pub const fn ocsf(self) -> u8 {
        match self {
            Self::Informational => 1,
            Self::Low => 2,
            Self::Medium => 3,
            Self::High => 4,
            Self::Critical => 5,
        }
    }

    /// Of OCSF's `severity_id`; what is none is taken for the least.
    pub const fn of_ocsf(id: u64) -> Self {
        match id {
            2 => Self::Low,
            3 => Self::Medium,
            4 => Self::High,
            5 => Self::Critical,
            _ => Self::Informational,
        }
    }
}

/// RAVN's part of a rule, under `ravn:`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extension {
    tier: Tier,
    /// What the process did, after its name: "ran a program out of memory".
    #[serde(default)]
    says: String,
    /// What to do next.
    #[serde(default)]
    next: Vec<String>,
    /// Fields whose values together must be new on this host.
    #[serde(default)]
    first_seen: Vec<String>,
}

/// A rule that is ready to judge.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its short name: `name`, or the id, or the title.
    pub name: String,
    /// `id`, or its name.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// Why it is worth an alert.
    pub description: String,
    /// What it adds.
    pub severity: Severity,
    /// What it may do.
    pub tier: Tier,
    /// ATT&CK tactics as in its tags (`privilege-escalation`); the first counts in scores.
    pub tactics: Vec<String>,
    /// ATT&CK techniques (`T1059.004`).
    pub techniques: Vec<String>,
    /// What the process did, after its name.
    pub says: String,
    /// What to do next.
    pub next: Vec<String>,
    /// What fires it in ordinary work.
    pub false_positives: Vec<String>,
    first_seen: Vec<String>,
    pub(super) test: Test,
}

impl Rule {
    /// Takes a parsed rule apart.
    ///
    /// # Errors
    /// When its `ravn:` part is wrong or it cannot be compiled.
    pub(super) fn of(rule: &SigmaRule) -> anyhow::Result<Self> {
        let extension = match rule.custom_attributes.get("ravn") {
            // By way of JSON: the YAML crate is the parser's own affair.
            Some(value) => {
                serde_json::from_value(serde_json::to_value(value)?).context("its ravn: part")?
            }
            None => Extension {
                tier: Tier::Context,
                says: String::new(),
                next: Vec::new(),
                first_seen: Vec::new(),
            },
        };
        let id = rule.id.clone().unwrap_or_default();
        let name = [
            rule.name.clone().unwrap_or_default(),
            id.clone(),
            rule.title.clone(),
        ]
        .into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or_default();
        let (techniques, tactics) = rule
            .tags
            .iter()
            .filter_map(|tag| tag.strip_prefix("attack."))
            .partition::<Vec<&str>, _>(|tag| {
                tag.strip_prefix('t')
                    .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            });
        Ok(Self {
            id: if id.is_empty() { name.clone() } else { id },
            name,
            title: rule.title.clone(),
            description: rule.description.clone().unwrap_or_default(),
            severity: match rule.level {
                Some(SigmaLevel::Low) => Severity::Low,
                Some(SigmaLevel::Medium) => Severity::Medium,
                Some(SigmaLevel::High) => Severity::High,
                Some(SigmaLevel::Critical) => Severity::Critical,
                Some(SigmaLevel::Informational) | None => Severity::Informational,
            },
            tier: extension.tier,
            tactics: tactics.into_iter().map(str::to_owned).collect(),
            techniques: techniques.into_iter().map(str::to_uppercase).collect(),
            says: if extension.says.is_empty() {
                format!("matched \u{201c}{}\u{201d}", rule.title)
            } else {
                extension.says
            },
            next: extension.next,
            false_positives: rule.falsepositives.clone(),
            first_seen: extension.first_seen,
            test: Test::of(&compile_rule(rule)?),
        })
    }

    /// For a rule that wants something new: a digest of what must be new.
    pub(super) fn newness(&self, facts: &Facts<'_>) -> Option<u64> {
        if self.first_seen.is_empty() {
            return None;
        }
        let mut digest = Sha256::new();
        digest.update(self.name.as_bytes());
        for field in &self.first_seen {
            let value = facts.get_field(field);
            let value = value
                .as_ref()
                .and_then(EventValue::as_str)
                .unwrap_or_default();
            digest.update([0]);
            digest.update(value.as_bytes());
        }
        let mut key = [0; 8];
        key.copy_from_slice(&digest.finalize()[..8]);
        Some(u64::from_be_bytes(key))
    }
}
