//! Sigma rules: loading, checking, and one index by kind of event.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use ravn_shared::event::Event as What;
use rsigma_eval::{Event, EventValue, compile_rule};
use rsigma_parser::{Level as SigmaLevel, LogSource, SigmaRule, parse_sigma_yaml};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::builtin::BUILT_IN;
use super::facts::Facts;
use super::test::Test;

/// Largest file of rules that is read.
const MOST_BYTES: u64 = 1024 * 1024;
/// Most rules of a folder.
const MOST_RULES: usize = 4096;
/// Deepest folder that is looked into.
const MOST_DEPTH: usize = 8;

/// What an event can be to a rule; the `category` of its logsource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Category {
    /// Exec.
    ProcessCreation,
    /// Open for writing or creating, and the new name of a rename.
    FileEvent,
    /// Unlink.
    FileDelete,
    /// Rename.
    FileRename,
    /// Connect and accept.
    NetworkConnection,
    /// `service: ravn` from here on.
    Chmod,
    /// Bind and listen.
    Listen,
    /// Changed credentials, and any record that shows root that nothing explains.
    Creds,
    /// ptrace.
    Ptrace,
    /// memfd_create.
    Memfd,
    /// A socket on descriptors 0 to 2.
    DupSocket,
    /// mount.
    Mount,
    /// Modules of the kernel.
    Module,
    /// bpf.
    Bpf,
}

/// Number of categories.
const CATEGORIES: usize = Category::Bpf as usize + 1;

impl Category {
    /// The categories that an event is matched as; most are one.
    pub fn of(event: &What<'_>) -> &'static [Self] {
        match event {
            What::Exec(_) => &[Self::ProcessCreation],
            What::Open(_) => &[Self::FileEvent],
            What::Unlink(_) => &[Self::FileDelete],
            What::Rename(_) => &[Self::FileRename, Self::FileEvent],
            What::Chmod(_) => &[Self::Chmod],
            What::Connect(_) | What::Accept(_) => &[Self::NetworkConnection],
            What::Bind(_) | What::Listen(_) => &[Self::Listen],
            What::Creds(_) => &[Self::Creds],
            What::Ptrace(_) => &[Self::Ptrace],
            What::Memfd(_) => &[Self::Memfd],
            What::DupSocket(_) => &[Self::DupSocket],
            What::Mount(_) => &[Self::Mount],
            What::Module(_) => &[Self::Module],
            What::Bpf(_) => &[Self::Bpf],
            What::Fork(_) | What::Exit(_) | What::Chunk(_) | What::Unknown { .. } => &[],
        }
    }

    fn of_source(source: &LogSource) -> Option<Self> {
        if source
            .product
            .as_deref()
            .is_some_and(|product| product != "linux")
        {
            return None;
        }
        let category = source.category.as_deref()?;
        match source.service.as_deref() {
            None => Some(match category {
                "process_creation" => Self::ProcessCreation,
                "file_event" => Self::FileEvent,
                "file_delete" => Self::FileDelete,
                "file_rename" => Self::FileRename,
                "network_connection" => Self::NetworkConnection,
                _ => return None,
            }),
            Some("ravn") => Some(match category {
                "chmod" => Self::Chmod,
                "listen" => Self::Listen,
                "creds" => Self::Creds,
                "ptrace" => Self::Ptrace,
                "memfd" => Self::Memfd,
                "dup_socket" => Self::DupSocket,
                "mount" => Self::Mount,
                "module" => Self::Module,
                "bpf" => Self::Bpf,
                _ => return None,
            }),
            Some(_) => None,
        }
    }
}

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
    test: Test,
}

/// Every rule, by the kind of event that it looks at.
#[derive(Clone, Debug)]
pub struct RuleSet {
    rules: Vec<Rule>,
    by_category: [Vec<usize>; CATEGORIES],
    version: String,
    skipped: usize,
}

impl RuleSet {
    /// The rules of a folder and the folders in it, or those built in.
    ///
    /// Rules of another product or log source are skipped and counted.
    ///
    /// # Errors
    /// Names the file and what is wrong in it: no rule is used unless all are sound.
    pub fn load(dir: Option<&Path>) -> anyhow::Result<Self> {
        let Some(dir) = dir else {
            return Self::of(
                BUILT_IN.iter().map(|(name, text)| (*name, *text)),
                "built-in",
            );
        };
        let mut files = Vec::new();
        collect(dir, MOST_DEPTH, &mut files)?;
        files.sort();
        let mut texts = Vec::new();
        for file in files {
            let size = fs::metadata(&file)?.len();
            ensure!(
                size <= MOST_BYTES,
                "{}: {size} bytes, at most {MOST_BYTES}",
                file.display()
            );
            let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            texts.push((file.display().to_string(), text));
        }
        Self::of(
            texts
                .iter()
                .map(|(name, text)| (name.as_str(), text.as_str())),
            "folder",
        )
    }

    /// What the rules are and a digest of their text: `built-in 21 3f2a9c01d4e5`.
    pub fn version(&self) -> String {
        self.version.clone()
    }

    /// Number of rules in use.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// No rule in use.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Number of rules left out: another log source, or tier hunt.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// Every rule in use.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// A rule by its place.
    pub(super) fn get(&self, at: usize) -> Option<&Rule> {
        self.rules.get(at)
    }

    /// Calls `hit` with the place of each rule that matches.
    pub(super) fn judge(&self, facts: &Facts<'_>, mut hit: impl FnMut(usize)) {
        let gained: &[Category] = match facts.record.event {
            What::Creds(_) => &[],
            _ if facts.change.gained_root => &[Category::Creds],
            _ => &[],
        };
        for category in Category::of(&facts.record.event).iter().chain(gained) {
            for at in &self.by_category[*category as usize] {
                if self.rules[*at].test.holds(facts) {
                    hit(*at);
                }
            }
        }
    }

    fn of<'t>(
        texts: impl Iterator<Item = (&'t str, &'t str)>,
        origin: &str,
    ) -> anyhow::Result<Self> {
        let mut set = Self {
            rules: Vec::new(),
            by_category: std::array::from_fn(|_| Vec::new()),
            version: String::new(),
            skipped: 0,
        };
        let mut digest = Sha256::new();
        for (name, text) in texts {
            digest.update(text.as_bytes());
            set.add_file(text)
                .with_context(|| format!("rules in {name}"))?;
        }
        ensure!(
            !set.rules.is_empty(),
            "no rule for Linux in it; leave `rules` empty for those built in"
        );
        let mut hex = String::new();
        for byte in &digest.finalize()[..6] {
            let _ = write!(hex, "{byte:02x}");
        }
        set.version = format!("{origin} {} {hex}", set.rules.len());
        Ok(set)
    }

    fn add_file(&mut self, text: &str) -> anyhow::Result<()> {
        let parsed = parse_sigma_yaml(text)?;
        if let Some(error) = parsed.errors.first() {
            bail!("{error}");
        }
        if !parsed.correlations.is_empty() || !parsed.filters.is_empty() {
            bail!("correlations and filters are not supported");
        }
        for rule in &parsed.rules {
            let Some(category) = Category::of_source(&rule.logsource) else {
                self.skipped += 1;
                continue;
            };
            let rule = Rule::of(rule).with_context(|| rule.title.clone())?;
            if rule.tier == Tier::Hunt {
                self.skipped += 1;
                continue;
            }
            if self.rules.iter().any(|other| other.name == rule.name) {
                bail!("{}: a second rule of this name", rule.name);
            }
            ensure!(
                self.rules.len() < MOST_RULES,
                "more than {MOST_RULES} rules"
            );
            self.by_category[category as usize].push(self.rules.len());
            self.rules.push(rule);
        }
        Ok(())
    }
}

impl Rule {
    fn of(rule: &SigmaRule) -> anyhow::Result<Self> {
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

fn collect(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("rules folder {}", dir.display()))?;
    for entry in entries {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() && depth > 0 {
            collect(&path, depth - 1, files)?;
        } else if kind.is_file()
            && path
                .extension()
                .is_some_and(|end| end == "yml" || end == "yaml")
        {
            files.push(path);
        }
    }
    Ok(())
}
