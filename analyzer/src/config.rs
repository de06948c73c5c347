//! `/etc/ravn/analyzer.toml`.

use std::path::PathBuf;

use ravn_shared::config::RedisConfig;
use serde::Deserialize;

/// Everything that the analyzer can be told. Unknown keys are errors.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of this host; empty for the kernel's. Must be the collector's.
    pub host: String,
    /// Name of this analyzer among those that share a list; empty for the host's.
    pub name: String,
    /// `error`, `warn`, `info`, `debug`, `trace`.
    pub log: String,
    /// Where Redis is.
    pub redis: RedisConfig,
    /// Folder of Sigma rules; empty for those built in.
    pub rules: PathBuf,
    /// File of the model; empty for the one built in, `none` to judge by rules alone.
    pub model: PathBuf,
    /// Where alerts are written too, one JSON a line; empty for nowhere.
    pub alerts_file: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: String::new(),
            name: String::new(),
            log: "info".to_owned(),
            redis: RedisConfig::default(),
            rules: PathBuf::new(),
            model: PathBuf::new(),
            alerts_file: PathBuf::from("/var/log/ravn/alerts.jsonl"),
        }
    }
}
