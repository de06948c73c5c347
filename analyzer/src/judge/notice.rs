//! What the judge is told that no record of the kernel says.

use serde::{Deserialize, Serialize};

use super::ocsf::Analytic;
use super::rule::Severity;
use crate::verdict::Mode;

/// Losses of the last 60 seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// Exec, credential and security records that were lost.
    pub essential: u64,
    /// Share of all records that were lost, 0 to 1.
    pub records: f64,
    /// Share of all syscalls that were lost, 0 to 1; thinning and budgets do not count.
    pub syscalls: f64,
}

/// From this share on the host is judged blind.
const BLIND: f64 = 0.01;

impl Losses {
    /// Why the host cannot be called quiet, if so.
    pub fn blind(&self) -> Option<String> {
        let percent = |share: f64| format!("{:.1} %", share * 100.0);
        if self.essential > 0 {
            Some(format!(
                "blind: {} exec, credential or security records were lost in the last 60 s",
                self.essential
            ))
        } else if self.records >= BLIND {
            Some(format!(
                "blind: {} of all records were lost in the last 60 s",
                percent(self.records)
            ))
        } else if self.syscalls >= BLIND {
            Some(format!(
                "blind: {} of all syscalls were lost in the last 60 s",
                percent(self.syscalls)
            ))
        } else {
            None
        }
    }
}

/// Something about the sensor itself that must be alerted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What.
    pub kind: NoticeKind,
    /// A sentence's end: whose batch, which file. It is escaped before it is shown.
    pub detail: String,
    /// Tells one from another and is the same on a replay, a batch's number say.
    pub key: u64,
}

/// Kinds of [`Notice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// A batch that this host's collector cannot have sent.
    ForgedBatch,
    /// A batch that cannot be decoded.
    Undecodable,
    /// A record that broke a scorer and went to `events:dead`.
    DeadLetter,
    /// Two boot ids alternate under one host's name.
    TwoBoots,
    /// The sensor's programs, maps or pins were changed.
    Tampering,
    /// Too much was lost for the word to be trusted.
    Blind,
}

impl NoticeKind {
    /// Short name, as rules have one.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForgedBatch => "ravn-forged-batch",
            Self::Undecodable => "ravn-undecodable",
            Self::DeadLetter => "ravn-dead-letter",
            Self::TwoBoots => "ravn-two-boots",
            Self::Tampering => "ravn-tampering",
            Self::Blind => "ravn-blind",
        }
    }

    /// One line for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::ForgedBatch => "A batch of events was forged",
            Self::Undecodable => "A batch of events cannot be decoded",
            Self::DeadLetter => "A record broke its scorer and was set aside",
            Self::TwoBoots => "Two machines report under one host name",
            Self::Tampering => "The sensor was tampered with",
            Self::Blind => "The sensor loses too many events to judge",
        }
    }

    /// What it adds to the score of the sensor's own incident.
    pub const fn severity(self) -> Severity {
        match self {
            Self::ForgedBatch | Self::Tampering => Severity::High,
            Self::TwoBoots | Self::Blind => Severity::Medium,
            Self::Undecodable | Self::DeadLetter => Severity::Low,
        }
    }

    const fn next(self) -> &'static str {
        match self {
            Self::ForgedBatch | Self::TwoBoots => {
                "Find who else holds the collector's Redis password; change it, and give each host its own user"
            }
            Self::Undecodable | Self::DeadLetter => {
                "Keep events:dead (LRANGE events:dead 0 -1) and report it with both versions"
            }
            Self::Tampering => {
                "See what ran as root in the minute before: ravn alerts, ravn events"
            }
            Self::Blind => {
                "Run ravn status for what is lost where; raise [rings] or find the process that floods"
            }
        }
    }

    /// As the maker of a finding.
    pub(super) fn analytic<'a>(
        self,
        next: &'a mut [String; 1],
        tactics: &'a [String],
    ) -> Analytic<'a> {
        next[0] = self.next().to_owned();
        Analytic {
            type_id: 1,
            uid: self.name(),
            name: self.name(),
            title: self.title(),
            version: env!("CARGO_PKG_VERSION"),
            description: "",
            tactics,
            techniques: &[],
            next,
            false_positives: &[],
            severity_id: self.severity().ocsf(),
        }
    }

    /// Tampering is an attack on defences; the rest is no tactic.
    pub(super) const fn tactic(self) -> &'static str {
        match self {
            Self::ForgedBatch | Self::Tampering => "defense-evasion",
            _ => "",
        }
    }
}

/// What takes part in judging, for alerts to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Rules and model, or rules alone.
    pub mode: Mode,
    /// Version of the model, empty without.
    pub model: String,
    /// Records and syscalls lost since the load.
    pub lost: u64,
}

#[cfg(test)]
mod tests {
    use super::Losses;

    #[test]
    fn blind_begins_at_one_essential_record_or_one_percent() {
        let losses = |essential, records, syscalls| Losses {
            essential,
            records,
            syscalls,
        };
        assert_eq!(losses(0, 0.009, 0.009).blind(), None);
        for found in [
            losses(1, 0.0, 0.0),
            losses(0, 0.01, 0.0),
            losses(0, 0.0, 0.01),
        ] {
            assert!(
                found.blind().is_some_and(|why| why.starts_with("blind: ")),
                "{found:?}"
            );
        }
    }
}
