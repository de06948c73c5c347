//! Sigma rules: loading, checking, and one index by kind of event.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use ravn_shared::event::Event as What;
use rsigma_parser::parse_sigma_yaml;
use sha2::{Digest as _, Sha256};

use super::builtin::BUILT_IN;
use super::category::{CATEGORIES, Category};
use super::facts::Facts;
use super::rule::{Rule, Tier};

/// Largest file of rules that is read.
const MOST_BYTES: u64 = 1024 * 1024;
/// Most rules of a folder.
const MOST_RULES: usize = 4096;
/// Deepest folder that is looked into.
const MOST_DEPTH: usize = 8;

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
